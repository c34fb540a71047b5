/*
 * json_text.cpp: what the JSON library does not check, before it reads.
 */
#include "core/json_text.hpp"

#include <nlohmann/json.hpp>

namespace skene
{

namespace
{

/* Does the text open more than max_json_depth brackets at once, outside strings? */
bool
nested_too_deeply(std::string_view text)
{
    bool in_string = false;
    int depth = 0;
    for (size_t i = 0; i < text.size(); i++) {
        char c = text[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else if (c == '[' || c == '{')
            depth++;
        else if (c == ']' || c == '}')
            depth--;
        if (depth > max_json_depth)
            return true;
    }
    return false;
}

} // namespace

JsonVerdict
read_json(std::string_view text, nlohmann::json *value)
{
    /* the library takes a NUL for the end of the text and would ignore what follows */
    if (text.find('\0') != text.npos)
        return JsonVerdict::not_json;
    if (nested_too_deeply(text))
        return JsonVerdict::too_deep;
    *value = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
    return value->is_discarded() ? JsonVerdict::not_json : JsonVerdict::ok;
}

} // namespace skene
