/*
 * plain_text.cpp: one walk over the characters each.
 */
#include "core/plain_text.hpp"

#include "core/characters.hpp"

namespace skene
{

namespace
{

/* C0, DEL and C1. */
bool
is_control_character(char32_t c)
{
    return c < 0x20 || (c >= 0x7F && c <= 0x9F);
}

/* Does a line end here for any reader: LF, VT, FF, CR, NEL, U+2028, U+2029? */
bool
is_line_break(char32_t c)
{
    return (c >= 0x0A && c <= 0x0D) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

/* Take the next character off text; false when a malformed one was skipped. */
bool
next_character(std::string_view *text, char32_t *code, std::string_view *bytes)
{
    size_t length = decode_utf8(*text, code);
    *bytes = text->substr(0, length);
    text->remove_prefix(length ? length : 1);
    return length > 0;
}

} // namespace

std::string_view
trim(std::string_view text)
{
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

bool
valid_utf8(std::string_view text)
{
    char32_t code;
    std::string_view bytes;
    while (!text.empty())
        if (!next_character(&text, &code, &bytes))
            return false;
    return true;
}

bool
has_controls(std::string_view text)
{
    char32_t code;
    std::string_view bytes;
    while (!text.empty())
        if (next_character(&text, &code, &bytes) &&
            (is_control_character(code) || is_line_break(code)))
            return true;
    return false;
}

std::string
remove_controls(std::string_view text)
{
    std::string clean;
    char32_t code;
    std::string_view bytes;
    while (!text.empty())
        if (next_character(&text, &code, &bytes) &&
            (code == '\n' || code == '\t' || !is_control_character(code)))
            clean += bytes;
    return clean;
}

std::string
blank_controls(std::string_view text)
{
    std::string shown;
    char32_t code;
    std::string_view bytes;
    while (!text.empty())
        if (next_character(&text, &code, &bytes))
            shown += is_control_character(code) || is_line_break(code) ? " " : bytes;
    return shown;
}

std::string
make_line(std::string_view text)
{
    std::string line;
    bool space = false; /* seen, not yet written */
    char32_t code;
    std::string_view bytes;
    while (!text.empty()) {
        if (!next_character(&text, &code, &bytes))
            continue;
        if (code == ' ' || code == '\t' || is_line_break(code)) {
            space = true;
        } else if (!is_control_character(code)) {
            if (space && !line.empty())
                line += ' ';
            space = false;
            line += bytes;
        }
    }
    return line;
}

std::string_view
cut(std::string_view text, size_t bytes)
{
    if (text.size() <= bytes)
        return text;
    while (bytes > 0 && is_continuation(text[bytes]))
        bytes--;
    return text.substr(0, bytes);
}

} // namespace skene
