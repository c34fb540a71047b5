/*
 * json_values.hpp: JSON in tests. The library's reader and writer are templates, which each
 * test that used them would compile anew, for ten seconds under a sanitizer.
 */
#pragma once

#include <nlohmann/json.hpp>

#include <iosfwd>
#include <string>
#include <string_view>

namespace skene::test
{

/* Throws when the text is not JSON. */
nlohmann::json read_value(std::string_view text);

/* Compact, keys sorted; throws when a string is not UTF-8. */
std::string write_value(const nlohmann::json &value);

} // namespace skene::test

namespace nlohmann
{

/* For GoogleTest's messages. */
void PrintTo(const json &value, std::ostream *out);

} // namespace nlohmann
