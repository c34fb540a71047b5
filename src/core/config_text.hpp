/*
 * config_text.hpp: the characters of a configuration document.
 *
 * Walks through the text once, knowing line and column at every step, and reads
 * the words of the language: blanks and comments, identifiers, strings, numbers.
 * Nothing is read twice, so time is linear in the size of the text.
 */
#pragma once

#include "core/config_problem.hpp"

namespace skene
{

class ConfigText
{
  public:
    /* Refuses text that is too long, holds NUL or is not UTF-8. Keeps both arguments. */
    ConfigText(std::string_view text, Warnings *warnings);

    Position
    here() const
    {
        return position;
    }
    bool
    at_end() const
    {
        return offset == text.size();
    }
    bool at_word() const;
    bool
    at_string() const
    {
        return peek() == '"' || peek() == '\'' || peek() == '`';
    }
    bool at_number() const;

    /* The byte so many bytes ahead; '\0' beyond the end. */
    char
    peek(size_t ahead = 0) const
    {
        return offset + ahead < text.size() ? text[offset + ahead] : '\0';
    }
    /* The identifier at this point, not passed over; empty when there is none. */
    std::string_view peek_word() const;

    void skip();        /* one byte */
    void skip_blanks(); /* white space and comments */

    /* Blanks, then wanted or not: passes over it only when it is there. */
    bool accept(char wanted);
    bool accept_word(std::string_view wanted);
    /* The same, but refuses when it is not there; after completes "expected x after …". */
    void expect(char wanted, std::string_view after);
    /* Refuse what stands here: "expected `expected`, found …". */
    [[noreturn]] void refuse_here(std::string_view expected) const;

    std::string_view read_word();
    std::string read_string();
    /* A number as plain decimal text without "_" and "+"; or Infinity, -Infinity, NaN. */
    std::string read_number();

  private:
    void check_encoding() const;
    void skip_comment();
    void read_escape(std::string *value);
    char32_t read_code_unit(int digits, Position where);
    char32_t read_braced_code_point(Position where);
    bool append_character(std::string *value);
    bool apostrophe_is_text() const;
    void read_digits(std::string *number);

    std::string_view text;
    size_t offset = 0;
    Position position{1, 1};
    Warnings *warnings;
    int single_quote_line = 0; /* where the last single-quoted string ended */
};

} // namespace skene
