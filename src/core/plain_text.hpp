/*
 * plain_text.hpp: text from strangers, made fit to stand in messages and headers.
 */
#pragma once

#include <string>
#include <string_view>

namespace skene
{

/* Cut ASCII white space off both ends. */
std::string_view trim(std::string_view text);

/* Is all of text UTF-8? */
bool valid_utf8(std::string_view text);

/* Does UTF-8 text contain a control character (C0, DEL, C1) or a line break of any kind? */
bool has_controls(std::string_view text);

/* Remove control characters other than line feed and tab from UTF-8 text. */
std::string remove_controls(std::string_view text);

/* UTF-8 text with a space for each control character and line break: else as it was written. */
std::string blank_controls(std::string_view text);

/* UTF-8 text on one line: no control characters, single spaces, none at the ends. */
std::string make_line(std::string_view text);

/* As much of UTF-8 text as fits into so many bytes, cut between characters. */
std::string_view cut(std::string_view text, size_t bytes);

} // namespace skene
