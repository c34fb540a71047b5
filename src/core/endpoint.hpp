/*
 * endpoint.hpp: "POST /api/features/*" against the request that came in.
 */
#pragma once

#include <string_view>

namespace skene
{

/*
 * Is the pattern well formed: an optional upper-case method or "*", one space, a
 * path that begins with "/"? A segment that is exactly "*" stands for one
 * non-empty path segment.
 */
bool valid_endpoint(std::string_view pattern) noexcept;

/*
 * Does the request match? Methods compare without regard to case; the query
 * string and fragment of path are ignored, as is one trailing slash. Returns a
 * rank, 0 for no match; of several patterns the highest rank is the most
 * specific (literal segments count for more than "*", earlier ones for more than
 * later ones, a named method for more than none).
 */
int match_endpoint(std::string_view pattern, std::string_view method,
                   std::string_view path) noexcept;

} // namespace skene
