/*
 * config_problem.cpp: wording and keeping problems.
 */
#include "core/config_problem.hpp"

#include "core/characters.hpp"
#include "core/config.hpp"

#include <utility>

namespace skene
{

namespace
{

constexpr size_t max_quoted = 64; /* bytes of a name shown in a message */

} // namespace

void
Warnings::add(Position where, std::string message, std::string hint)
{
    if (kept.size() < static_cast<size_t>(max_config_warnings))
        kept.push_back({where, std::move(message), std::move(hint)});
}

void
refuse(Position where, std::string message, std::string hint)
{
    throw Problem{where, std::move(message), std::move(hint)};
}

std::string
describe(Position where)
{
    return "line " + std::to_string(where.line) + ", column " + std::to_string(where.column);
}

std::string
in_quotes(std::string_view name)
{
    std::string shown(name.substr(0, max_quoted));
    if (shown.size() < name.size()) {
        while (!shown.empty() && is_continuation(name[shown.size()]))
            shown.pop_back();
        shown += "…";
    }
    for (char &c : shown) {
        if (is_control(c))
            c = ' ';
    }
    return '"' + shown + '"';
}

} // namespace skene
