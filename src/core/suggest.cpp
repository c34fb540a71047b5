/*
 * suggest.cpp: edit distance between short names.
 *
 * Names are at most 63 bytes, so the table fits the stack and the work is bounded
 * however long the word is.
 */
#include "core/suggest.hpp"

#include <algorithm>
#include <cstddef>

namespace skene
{

namespace
{

constexpr size_t max_length = 63;
constexpr int far_away = 99;

char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that make a into b. */
int
edit_distance(std::string_view a, std::string_view b)
{
    if (a.size() > max_length || b.size() > max_length)
        return far_away;

    int rows[3][max_length + 1]; /* the last three rows, in turn: a swap looks two back */
    for (size_t j = 0; j <= b.size(); j++)
        rows[0][j] = static_cast<int>(j);
    for (size_t i = 1; i <= a.size(); i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3];
        const int *two_above = rows[(i + 1) % 3];
        row[0] = static_cast<int>(i);
        for (size_t j = 1; j <= b.size(); j++) {
            char from = lower(a[i - 1]), to = lower(b[j - 1]);
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (from != to)});
            if (i > 1 && j > 1 && from == lower(b[j - 2]) && lower(a[i - 2]) == to)
                row[j] = std::min(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[a.size() % 3][b.size()];
}

/* Does text begin with start, letter case aside? */
bool
begins_with(std::string_view text, std::string_view start)
{
    return text.size() >= start.size() &&
           std::equal(start.begin(), start.end(), text.begin(),
                      [](char a, char b) { return lower(a) == lower(b); });
}

} // namespace

std::string_view
closest_name(std::string_view word, std::span<const std::string_view> names) noexcept
{
    /* in a short word two edits make any other short word */
    int best = word.size() <= 3 ? 1 : 2;
    std::string_view closest;

    for (std::string_view name : names) {
        int distance = edit_distance(word, name);
        if (distance < best || (distance == best && closest.empty())) {
            best = distance;
            closest = name;
        }
    }
    if (!closest.empty() || word.size() < 2)
        return closest;
    for (std::string_view name : names) {
        if (name.size() >= 2 && (begins_with(name, word) || begins_with(word, name)))
            return name;
    }
    return {};
}

} // namespace skene
