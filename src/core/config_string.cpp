/*
 * config_string.cpp: the strings of a configuration document.
 *
 * The apostrophe rule: in a single-quoted string an apostrophe with a letter
 * directly before and directly after it is text ('You've …'), with a warning;
 * any other ends the string. Nothing more is guessed.
 */
#include "core/config_text.hpp"

#include "core/characters.hpp"

namespace skene
{

/* Standing on an apostrophe that follows a letter: is it text? */
bool
ConfigText::apostrophe_is_text() const
{
    std::string_view rest = text.substr(offset + 1);
    for (std::string_view keyword : {"as", "satisfies"}) {
        /* 'x'as const, squeezed: code, not text */
        if (rest.starts_with(keyword) && rest.size() > keyword.size()) {
            char next = rest[keyword.size()];
            if (is_space(next))
                return false;
        }
    }
    char32_t code;
    return !rest.empty() && decode_utf8(rest, &code) > 0 && is_letter(code);
}

/* Move one character to value; was it a letter? */
bool
ConfigText::append_character(std::string *value)
{
    char32_t code;
    for (size_t left = decode_utf8(text.substr(offset, 4), &code); left > 0; left--) {
        value->push_back(peek());
        skip();
    }
    return is_letter(code);
}

std::string
ConfigText::read_string()
{
    Position start = here();
    char quote = peek();
    bool after_letter = false; /* the character before was written as a plain letter */
    Position apostrophe;       /* the last one taken for text */
    std::string value;

    skip();
    for (;;) {
        char c = peek();
        bool line_end = c == '\n' || c == '\r';
        if (at_end() || (line_end && quote != '`')) {
            std::string hint = "Close the string with " + std::string(1, quote) +
                               (quote == '`' ? "." : " on the same line.");
            if (apostrophe.line > 0)
                hint += " The apostrophe at " + describe(apostrophe) +
                        ", between two letters, was read as text.";
            else if (quote == '\'')
                hint += " Write \\' for an apostrophe in it, or use double quotes.";
            refuse(start, "unterminated string", hint);
        }
        if (c == '\\') {
            read_escape(&value);
            after_letter = false;
            continue;
        }
        if (c == quote) {
            if (quote != '\'' || !after_letter || !apostrophe_is_text())
                break;
            apostrophe = here();
            warnings->add(apostrophe, "unescaped apostrophe in a single-quoted string",
                          "It stands between two letters and was read as text; write \\' or "
                          "put the string in double quotes.");
        }
        if (quote == '`' && c == '$' && peek(1) == '{')
            refuse(here(), "template literals with ${...} are not supported",
                   "Write the text itself, or \\${ for these two characters.");
        if (c == '\r') { /* a line break in a template literal is one \n */
            skip();
            if (peek() == '\n')
                skip();
            value += '\n';
            after_letter = false;
        } else {
            after_letter = append_character(&value);
        }
    }
    skip();
    if (quote == '\'')
        single_quote_line = here().line;
    return value;
}

/* Read exactly so many hexadecimal digits. */
char32_t
ConfigText::read_code_unit(int digits, Position where)
{
    char32_t code = 0;
    for (int i = 0; i < digits; i++) {
        int digit = hex_value(peek());
        if (digit < 0)
            refuse(where, "malformed escape sequence",
                   "Write \\xHH, \\uHHHH or \\u{H...} with hexadecimal digits.");
        code = code << 4 | static_cast<char32_t>(digit);
        skip();
    }
    return code;
}

/* Read the digits and the closing brace of \u{...}. */
char32_t
ConfigText::read_braced_code_point(Position where)
{
    char32_t code = 0;
    do {
        code = code << 4 | read_code_unit(1, where);
        if (code > 0x10FFFF)
            refuse(where, "escape sequence beyond U+10FFFF");
    } while (peek() != '}');
    skip();
    return code;
}

/* Standing on a backslash: add what it stands for to value. */
void
ConfigText::read_escape(std::string *value)
{
    Position where = here();

    skip();
    if (at_end())
        return; /* the caller reports the unterminated string */
    char c = peek();
    if (static_cast<unsigned char>(c) >= 0x80) {
        append_character(value);
        return;
    }
    skip();

    char32_t code;
    switch (c) {
    case '\r':
        if (peek() == '\n')
            skip();
        return;
    case '\n': /* the string goes on on the next line */
        return;
    case 'n':
        value->push_back('\n');
        return;
    case 't':
        value->push_back('\t');
        return;
    case 'r':
        value->push_back('\r');
        return;
    case 'b':
        value->push_back('\b');
        return;
    case 'f':
        value->push_back('\f');
        return;
    case 'v':
        value->push_back('\v');
        return;
    case 'x':
        code = read_code_unit(2, where);
        break;
    case 'u':
        if (peek() == '{') {
            skip();
            code = read_braced_code_point(where);
            break;
        }
        code = read_code_unit(4, where);
        if (code >= 0xD800 && code <= 0xDBFF && peek() == '\\' && peek(1) == 'u') {
            skip();
            skip();
            char32_t low = read_code_unit(4, where);
            if (low >= 0xDC00 && low <= 0xDFFF)
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        break;
    default:
        if (is_ascii_letter(c) || is_digit(c))
            refuse(where, "unknown escape sequence \\" + std::string(1, c),
                   "Write \\\\ for a backslash.");
        value->push_back(c);
        return;
    }
    if (code == 0)
        refuse(where, "strings cannot contain the NUL character");
    if (code >= 0xD800 && code <= 0xDFFF)
        refuse(where, "half of a surrogate pair in an escape sequence",
               "Write both halves, or \\u{...} with the code point.");
    append_utf8(code, value);
}

} // namespace skene
