/*
 * config_text.cpp: blanks, identifiers and numbers of a configuration document.
 *
 * Strings are read in config_string.cpp.
 */
#include "core/config_text.hpp"

#include "core/characters.hpp"

namespace skene
{

namespace
{

constexpr size_t max_size = 1024 * 1024;

constexpr const char *apostrophe_hint =
    "An apostrophe ends a single-quoted string unless it stands between two letters; write \\' "
    "for one inside the string, or use double quotes.";

/* May a byte stand in an identifier? All of UTF-8 beyond ASCII may. */
bool
is_word_byte(char c)
{
    return is_ascii_letter(c) || is_digit(c) || c == '_' || c == '$' ||
           static_cast<unsigned char>(c) >= 0x80;
}

} // namespace

ConfigText::ConfigText(std::string_view text, Warnings *warnings) : text(text), warnings(warnings)
{
    if (text.size() > max_size)
        refuse({}, "the document is larger than 1 MiB");
    if (text.starts_with("\xEF\xBB\xBF"))
        offset = 3; /* a byte order mark fills no column */
    check_encoding();
}

void
ConfigText::check_encoding() const
{
    ConfigText walk = *this;
    char32_t code;
    while (!walk.at_end()) {
        if (walk.peek() == '\0')
            refuse(walk.here(), "the document contains a NUL character");
        size_t length = decode_utf8(text.substr(walk.offset), &code);
        if (length == 0)
            refuse(walk.here(), "the document is not valid UTF-8", "Save the file as UTF-8.");
        for (; length > 0; length--)
            walk.skip();
    }
}

bool
ConfigText::at_word() const
{
    return is_word_byte(peek()) && !is_digit(peek());
}

bool
ConfigText::at_number() const
{
    return is_digit(peek()) || peek() == '-' || peek() == '+' || peek() == '.';
}

std::string_view
ConfigText::peek_word() const
{
    size_t length = 0;
    if (at_word()) {
        while (is_word_byte(peek(length)))
            length++;
    }
    return text.substr(offset, length);
}

void
ConfigText::skip()
{
    char c = text[offset++];
    if (c == '\n' || (c == '\r' && peek() != '\n')) {
        position.line++;
        position.column = 1;
    } else if (!is_continuation(c)) {
        position.column++;
    }
}

void
ConfigText::skip_comment()
{
    Position start = here();
    bool block = peek(1) == '*';

    skip();
    skip();
    if (!block) {
        while (!at_end() && peek() != '\n' && peek() != '\r')
            skip();
        return;
    }
    while (!(peek() == '*' && peek(1) == '/')) {
        if (at_end())
            refuse(start, "unterminated comment", "Close the comment with */.");
        skip();
    }
    skip();
    skip();
}

void
ConfigText::skip_blanks()
{
    for (;;) {
        std::string_view rest = text.substr(offset, 3);
        if (is_space(peek()))
            skip();
        else if (rest.starts_with("//") || rest.starts_with("/*"))
            skip_comment();
        else if (rest.starts_with("\xC2\xA0")) /* no-break space */
            skip(), skip();
        else if (rest == "\xEF\xBB\xBF") /* byte order mark, left by joining files */
            skip(), skip(), skip();
        else
            return;
    }
}

bool
ConfigText::accept(char wanted)
{
    skip_blanks();
    if (at_end() || peek() != wanted)
        return false;
    skip();
    return true;
}

bool
ConfigText::accept_word(std::string_view wanted)
{
    skip_blanks();
    if (peek_word() != wanted)
        return false;
    read_word();
    return true;
}

void
ConfigText::expect(char wanted, std::string_view after)
{
    if (!accept(wanted))
        refuse_here(std::string{'"', wanted, '"'} + " after " + std::string(after));
}

void
ConfigText::refuse_here(std::string_view expected) const
{
    std::string found = "the end of the document";
    if (at_word()) {
        found = in_quotes(peek_word());
    } else if (!at_end()) {
        size_t length = 1;
        while (is_continuation(peek(length)))
            length++;
        found = peek() == '"' ? "'\"'" : in_quotes(text.substr(offset, length));
    }
    /* the usual reason on such a line: an apostrophe that was meant as text */
    bool suspect = single_quote_line == here().line && (at_word() || peek() == '\'');
    refuse(here(), "expected " + std::string(expected) + ", found " + found,
           suspect ? apostrophe_hint : "");
}

std::string_view
ConfigText::read_word()
{
    std::string_view word = peek_word();
    for (size_t i = 0; i < word.size(); i++)
        skip();
    return word;
}

/* Digits with single underscores between them. */
void
ConfigText::read_digits(std::string *number)
{
    while (is_digit(peek()) ||
           (peek() == '_' && is_digit(peek(1)) && !number->empty() && is_digit(number->back()))) {
        if (peek() != '_')
            number->push_back(peek());
        skip();
    }
}

std::string
ConfigText::read_number()
{
    Position start = here();
    std::string number;

    if (peek() == '-')
        number = "-";
    if (peek() == '-' || peek() == '+') {
        skip();
        skip_blanks();
    }
    if (peek_word() == "Infinity")
        return number.append(read_word());
    if (peek_word() == "NaN")
        return std::string(read_word());

    size_t first = number.size();
    read_digits(&number);
    size_t whole = number.size() - first;
    bool malformed = whole > 1 && number[first] == '0'; /* octal, to some readers */
    size_t digits = whole;
    if (peek() == '.') {
        number += '.';
        skip();
        read_digits(&number);
        digits = number.size() - first - 1;
    }
    malformed |= digits == 0;
    if (!malformed && (peek() == 'e' || peek() == 'E')) {
        number += 'e';
        skip();
        if (peek() == '-' || peek() == '+') {
            number += peek();
            skip();
        }
        size_t before = number.size();
        read_digits(&number);
        malformed |= number.size() == before;
    }
    if (malformed || is_word_byte(peek()) || peek() == '.')
        refuse(start, "malformed number", "Write it in decimal, like 1000, 1_000 or 1e3.");
    return number;
}

} // namespace skene
