/*
 * fuzz.hpp: what the fuzz targets share.
 *
 * A target is one function of bytes; it runs a parser over them and states with
 * require() what must hold of any answer. Inputs with several fields separate them
 * by a line "--", so that the corpus can be read and written by hand.
 */
#pragma once

#include "core/plain_text.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

/* Ends the run, and keeps the input, unless the condition holds. */
#define require(condition)                                                                      \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                       \
        }                                                                                       \
    } while (false)

namespace skene::fuzz
{

inline std::string_view
as_text(const uint8_t *data, size_t size)
{
    return {reinterpret_cast<const char *>(data), size};
}

/* The fields of an input; the last one is all that is left, missing ones are empty. */
template <size_t count>
std::array<std::string_view, count>
split(std::string_view input)
{
    constexpr std::string_view separator = "\n--\n";
    std::array<std::string_view, count> fields;
    for (std::string_view &field : fields) {
        bool last = &field == &fields.back();
        size_t end = last ? input.npos : input.find(separator);
        field = input.substr(0, end);
        input.remove_prefix(end == input.npos ? input.size() : end + separator.size());
    }
    return fields;
}

/* Is a message for a person: something, in UTF-8, on one line? */
inline bool
is_message(std::string_view text)
{
    return !text.empty() && valid_utf8(text) && !has_controls(text);
}

} // namespace skene::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
