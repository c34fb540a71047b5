/*
 * endpoint.cpp: matching of requests against endpoint patterns.
 *
 * Invariant: one pass over pattern and path, no allocation; and no spelling of a
 * path that a server takes for the same one (a query string, a trailing slash, a
 * percent-encoded letter) is a way around the pattern.
 */
#include "core/endpoint.hpp"

#include "core/characters.hpp"

namespace skene
{

namespace
{

/* Each segment is one bit of the rank, and one more says whether a method is named. */
constexpr int max_segments = 28;

struct Pattern {
    std::string_view method; /* empty = any */
    std::string_view path;
};

bool
is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

char
lower(char c)
{
    return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}

bool
same_method(std::string_view left, std::string_view right)
{
    if (left.size() != right.size())
        return false;
    for (size_t i = 0; i < left.size(); i++)
        if (lower(left[i]) != lower(right[i]))
            return false;
    return true;
}

/* Split a pattern at its space; a path alone stands for every method. */
Pattern
split_pattern(std::string_view text)
{
    size_t space = text.find(' ');
    if (space == text.npos)
        return {{}, text};
    std::string_view method = text.substr(0, space);
    return {method == "*" ? std::string_view() : method, text.substr(space + 1)};
}

/* Cut off a path's one trailing slash; "/" alone becomes the empty segment. */
std::string_view
trim_slashes(std::string_view path)
{
    path.remove_prefix(1);
    if (!path.empty() && path.back() == '/')
        path.remove_suffix(1);
    return path;
}

/* Take the next segment off rest; false when none is left. */
bool
next_segment(std::string_view *rest, bool *more, std::string_view *segment)
{
    if (!*more)
        return false;
    size_t slash = rest->find('/');
    *segment = rest->substr(0, slash);
    *more = slash != rest->npos;
    rest->remove_prefix(*more ? slash + 1 : rest->size());
    return true;
}

/* Take the next octet off text, reading a valid %XX as the octet it stands for. */
unsigned char
next_octet(std::string_view *text)
{
    unsigned char octet = static_cast<unsigned char>((*text)[0]);
    size_t length = 1;
    if (octet == '%' && text->size() >= 3) {
        int high = hex_value((*text)[1]);
        int low = hex_value((*text)[2]);
        if (high >= 0 && low >= 0) {
            octet = static_cast<unsigned char>(high * 16 + low);
            length = 3;
        }
    }
    text->remove_prefix(length);
    return octet;
}

bool
same_segment(std::string_view left, std::string_view right)
{
    while (!left.empty() && !right.empty())
        if (next_octet(&left) != next_octet(&right))
            return false;
    return left.empty() && right.empty();
}

} // namespace

bool
valid_endpoint(std::string_view pattern) noexcept
{
    auto [method, path] = split_pattern(pattern);
    if (path.empty() || path[0] != '/' || pattern[0] == ' ')
        return false;
    for (char c : method)
        if (!is_upper(c))
            return false;
    for (char c : path)
        if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f' || c == '?' || c == '#')
            return false;
    if (path == "/")
        return true;

    std::string_view rest = trim_slashes(path);
    std::string_view segment;
    bool more = true;
    int count = 0;
    while (next_segment(&rest, &more, &segment)) {
        if (segment.empty() || ++count > max_segments)
            return false;
        if (segment != "*" && segment.find('*') != segment.npos)
            return false;
    }
    return true;
}

int
match_endpoint(std::string_view pattern, std::string_view method, std::string_view path) noexcept
{
    Pattern wanted = split_pattern(pattern);
    path = path.substr(0, path.find_first_of("?#"));
    if (wanted.path.empty() || wanted.path[0] != '/' || path.empty() || path[0] != '/')
        return 0;
    if (!wanted.method.empty() && !same_method(wanted.method, method))
        return 0;

    std::string_view wanted_rest = trim_slashes(wanted.path);
    std::string_view rest = trim_slashes(path);
    std::string_view wanted_segment;
    std::string_view segment;
    bool wanted_more = true;
    bool more = true;
    int literals = 0; /* a bit per segment, the first one on top */
    int count = 0;
    while (next_segment(&wanted_rest, &wanted_more, &wanted_segment)) {
        if (++count > max_segments || !next_segment(&rest, &more, &segment))
            return 0;
        bool literal = wanted_segment != "*";
        if (literal ? !same_segment(wanted_segment, segment) : segment.empty())
            return 0;
        literals = literals << 1 | literal;
    }
    /* patterns that match one path have equally many segments, so ranks compare */
    return more ? 0 : (literals << 1 | !wanted.method.empty()) + 1;
}

} // namespace skene
