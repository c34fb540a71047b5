/*
 * config_parsing.hpp: parse_config() in a form that tests can compare.
 */
#pragma once

#include "core/config.hpp"
#include "json_values.hpp"

#include <memory>
#include <string>
#include <vector>

namespace skene::test
{

/* A problem as "line:column message". */
inline std::string
in_short(const ConfigProblem &problem)
{
    return std::to_string(problem.line) + ":" + std::to_string(problem.column) + " " +
           problem.message;
}

struct Parsed {
    std::string bytes;       /* the canonical document; empty when refused */
    nlohmann::json document; /* the same, read back */
    std::string problem;     /* empty when accepted */
    std::string hint;
    std::vector<std::string> warnings;
};

inline Parsed
parse(std::string_view text)
{
    auto result = std::make_unique<ConfigResult>();
    Parsed parsed;

    parse_config(text, result.get());
    if (result->ok) {
        parsed.bytes = view(result->document);
        parsed.document = read_value(parsed.bytes);
    } else {
        parsed.problem = in_short(result->problem);
        parsed.hint = result->problem.hint;
    }
    for (int i = 0; i < result->warning_count; i++)
        parsed.warnings.push_back(in_short(result->warnings[i]));
    free_bytes(&result->document);
    return parsed;
}

} // namespace skene::test
