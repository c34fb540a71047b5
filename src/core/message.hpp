/*
 * message.hpp: messages in the fixed-size fields of boundary structs.
 */
#pragma once

#include "core/plain_text.hpp"

#include <cstring>

namespace skene
{

/* Copy UTF-8 into a field, cutting between characters where it does not fit. */
template <size_t size>
void
copy_message(char (&field)[size], std::string_view message)
{
    message = cut(message, size - 1);
    std::memcpy(field, message.data(), message.size());
    field[message.size()] = '\0';
}

} // namespace skene
