/*
 * config_problem.cpp: wording and keeping problems.
 */
#include "core/config_problem.hpp"

#include "core/config.hpp"
#include "core/plain_text.hpp"

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
    /* spaces stay, they may be what is wrong with the name */
    return '"' + blank_controls(cut(name, max_quoted)) + (name.size() > max_quoted ? "…\"" : "\"");
}

} // namespace skene
