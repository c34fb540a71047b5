/*
 * suggest.hpp: "did you mean …?", for names people type.
 */
#pragma once

#include <span>
#include <string_view>

namespace skene
{

/*
 * The name that word was most likely meant to be: a small typing error away
 * (letter case does not count), or one that continues or begins it. Empty when no
 * name is close. The result points into names.
 */
std::string_view closest_name(std::string_view word,
                              std::span<const std::string_view> names) noexcept;

} // namespace skene
