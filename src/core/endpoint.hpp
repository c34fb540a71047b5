/*
 * endpoint.hpp: a pattern such as "POST /api/export" against the request that came in.
 */
#pragma once

#include <string_view>

namespace skene
{

/*
 * Is the pattern well formed: an optional upper-case method or "*", one space, a
 * path that begins with "/"? A segment that is exactly "*" stands for one
 * non-empty path segment. Refused as well, since they could never match: empty
 * segments, "." and "..", "*" as a part of a segment, a query or fragment, white
 * space; and more than 28 segments.
 */
bool valid_endpoint(std::string_view pattern) noexcept;

/*
 * Does the request match? Methods compare without regard to case, paths with it.
 * The path is taken as a server takes it: %XX equals the octet it stands for, "." and
 * ".." are resolved, several slashes are one and those at the end none; query,
 * fragment, and the scheme and host of a whole URL are ignored. Returns a rank, 0 for no match; of
 * several patterns the highest rank is the most specific (literal segments count for more than "*",
 * earlier ones for more than later ones, a named method for more than none).
 */
int match_endpoint(std::string_view pattern, std::string_view method,
                   std::string_view path) noexcept;

} // namespace skene
