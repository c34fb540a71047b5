/*
 * characters.hpp: kinds of characters, and UTF-8, without regard to any locale.
 */
#pragma once

#include <string>
#include <string_view>

namespace skene
{

inline bool
is_ascii_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

inline bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* White space of one byte. */
inline bool
is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

inline bool
is_control(char c)
{
    return static_cast<unsigned char>(c) < ' ' || c == 0x7F;
}

/* Is this a byte of a UTF-8 character other than its first? */
inline bool
is_continuation(char c)
{
    return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

/* The value of a hexadecimal digit, or -1. */
int hex_value(char c);

/* Letters beyond ASCII are known roughly: all that is no space, sign, symbol or emoji. */
bool is_letter(char32_t c);

/* Decode the UTF-8 character that text, not empty, begins with; its length, 0 if malformed. */
size_t decode_utf8(std::string_view text, char32_t *code);

/* Add a code point, which is no surrogate, to out. */
void append_utf8(char32_t code, std::string *out);

} // namespace skene
