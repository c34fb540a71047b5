/*
 * endpoint.cpp: matching of requests against endpoint patterns.
 *
 * Invariant: time in proportion to pattern and path, no allocation; and no spelling
 * of a path that a server takes for the same one (a query string, more slashes, dot
 * segments, a percent-encoded letter, a whole URL) is a way around the pattern.
 */
#include "core/endpoint.hpp"

#include "core/characters.hpp"

#include <algorithm>

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

/* Cut off a pattern's one trailing slash; "/" alone becomes the empty segment. */
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

/* 1 for a segment that is ".", 2 for "..", percent-encoded or not; 0 for any other. */
int
dots_of(std::string_view segment)
{
    int dots = 0;
    while (!segment.empty())
        if (++dots > 2 || next_octet(&segment) != '.')
            return 0;
    return dots;
}

/* What is left of a path whose segments are taken off its end. */
struct Path {
    std::string_view rest; /* empty, or begins with "/" */
    bool merge_slashes;    /* "//" is "/" before ".." is looked at, not after */
    size_t parents = 0;    /* ".." that have not met their segment */
};

/*
 * Take the last segment off a path, as it is without dot segments (RFC 3986, 5.2.4)
 * and empty ones; false when none is left. From the end, a ".." is known before
 * what it removes.
 */
bool
take_segment(Path *path, std::string_view *segment)
{
    while (!path->rest.empty()) {
        size_t slash = path->rest.rfind('/');
        *segment = path->rest.substr(slash + 1);
        path->rest = path->rest.substr(0, slash);
        int dots = dots_of(*segment);
        if (dots == 2)
            path->parents++;
        else if (dots == 1 || (segment->empty() && (path->merge_slashes || path->parents == 0)))
            continue;
        else if (path->parents > 0)
            path->parents--;
        else
            return true;
    }
    return false;
}

/*
 * The path of a request's target, without query and fragment; empty when it has none.
 * A target may be a whole URL: RFC 9112, 3.2.2.
 */
std::string_view
path_of(std::string_view target)
{
    target = target.substr(0, target.find_first_of("?#"));
    if (target.empty() || target[0] == '/')
        return target;
    size_t scheme = target.find("://");
    if (scheme == target.npos || scheme == 0 || scheme > target.find('/'))
        return {};
    size_t path = target.find('/', scheme + 3);
    return path == target.npos ? "/" : target.substr(path);
}

bool
same_segment(std::string_view left, std::string_view right)
{
    while (!left.empty() && !right.empty())
        if (next_octet(&left) != next_octet(&right))
            return false;
    return left.empty() && right.empty();
}

/* The rank of a pattern's path, without its method's bit, or -1 when it does not match. */
int
match_path(Path wanted, Path path)
{
    std::string_view wanted_segment;
    std::string_view segment;
    int literals = 0; /* a bit per segment, the first one on top */
    int count = 0;
    while (take_segment(&wanted, &wanted_segment)) {
        if (count == max_segments || !take_segment(&path, &segment))
            return -1;
        bool literal = wanted_segment != "*";
        if (literal && !same_segment(wanted_segment, segment))
            return -1;
        literals |= literal << count++;
    }
    return take_segment(&path, &segment) ? -1 : literals;
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
        if (segment.empty() || dots_of(segment) || ++count > max_segments)
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
    path = path_of(path);
    if (wanted.path.empty() || wanted.path[0] != '/' || path.empty())
        return 0;
    if (!wanted.method.empty() && !same_method(wanted.method, method))
        return 0;

    /* servers disagree on "/a//../b": it is "/b" for some and "/a/b" for others */
    int literals = -1;
    for (bool merge_slashes : {true, false})
        literals = std::max(literals, match_path({wanted.path, true}, {path, merge_slashes}));
    /* patterns that match one path have equally many segments (but for these), so ranks compare */
    return literals < 0 ? 0 : (literals << 1 | !wanted.method.empty()) + 1;
}

} // namespace skene
