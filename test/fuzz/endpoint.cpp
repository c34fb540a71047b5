/*
 * endpoint.cpp: fuzz target of valid_endpoint() and match_endpoint().
 *
 * Input: pattern, method, path. No other spelling of a path may be a way around a
 * pattern that matches it.
 */
#include "core/endpoint.hpp"

#include "fuzz.hpp"

#include <algorithm>

using namespace skene;

namespace
{

/* The same path with every octet percent-encoded but those that part it. */
std::string
encode(std::string_view path)
{
    std::string encoded;
    for (unsigned char octet : path) {
        if (octet == '/' || octet == '?' || octet == '#') {
            encoded += static_cast<char>(octet);
        } else {
            encoded += '%';
            encoded += "0123456789ABCDEF"[octet >> 4];
            encoded += "0123456789abcdef"[octet & 15];
        }
    }
    return encoded;
}

std::string
lower(std::string_view text)
{
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
    return result;
}

/* A pattern's own path is a request that it matches: "*" is a segment like any other. */
void
check_own_path(std::string_view pattern)
{
    size_t space = pattern.find(' ');
    std::string_view method = space == pattern.npos ? "GET" : pattern.substr(0, space);
    std::string_view path = space == pattern.npos ? pattern : pattern.substr(space + 1);
    require(match_endpoint(pattern, method == "*" ? "GET" : method, path) > 0);
}

} // namespace

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto [pattern, method, path] = fuzz::split<3>(fuzz::as_text(data, size));

    if (valid_endpoint(pattern))
        check_own_path(pattern);

    int rank = match_endpoint(pattern, method, path);
    require(rank >= 0);
    require(match_endpoint(pattern, lower(method), path) == rank);
    if (path.find_first_of("?#") != path.npos)
        return 0;
    std::string same(path);
    require(match_endpoint(pattern, method, same + "?a=b#c") == rank);
    require(match_endpoint(pattern, method, same + "#c") == rank);
    if (!path.empty() && path.back() != '/')
        require(match_endpoint(pattern, method, same + "/") == rank);
    /* of a whole URL, what precedes the path cannot be encoded */
    if (path.starts_with('/') && path.find('%') == path.npos)
        require(match_endpoint(pattern, method, encode(path)) == rank);
    return 0;
}
