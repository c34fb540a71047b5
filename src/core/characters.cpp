/*
 * characters.cpp: UTF-8 and the kinds of characters.
 */
#include "core/characters.hpp"

namespace skene
{

int
hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool
is_letter(char32_t c)
{
    if (c < 0x80)
        return is_ascii_letter(static_cast<char>(c));
    return c >= 0xC0 && c != 0xD7 && c != 0xF7 && !(c >= 0x2000 && c <= 0x2BFF) &&
           !(c >= 0x3000 && c <= 0x303F) && !(c >= 0xFE00 && c <= 0xFE0F) && c != 0xFEFF &&
           !(c >= 0x1F000 && c <= 0x1FAFF);
}

size_t
decode_utf8(std::string_view text, char32_t *code)
{
    auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    size_t length = byte(0) < 0x80   ? 1
                    : byte(0) < 0xC2 ? 0
                    : byte(0) < 0xE0 ? 2
                    : byte(0) < 0xF0 ? 3
                    : byte(0) < 0xF5 ? 4
                                     : 0;
    if (length == 0 || length > text.size())
        return 0;
    *code = length == 1 ? byte(0) : byte(0) & (0xFF >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (!is_continuation(text[i]))
            return 0;
        *code = *code << 6 | (byte(i) & 0x3F);
    }
    /* overlong forms, surrogates, beyond Unicode */
    if ((length == 3 && *code < 0x800) || (length == 4 && *code < 0x10000) ||
        (*code >= 0xD800 && *code <= 0xDFFF) || *code > 0x10FFFF)
        return 0;
    return length;
}

void
append_utf8(char32_t code, std::string *out)
{
    auto put = [&](char32_t byte) { out->push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6);
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

} // namespace skene
