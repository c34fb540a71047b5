/*
 * config_fields.cpp: typed access to the syntax tree.
 */
#include "core/config_fields.hpp"

#include "core/characters.hpp"
#include "core/suggest.hpp"

#include <algorithm>

namespace skene
{

namespace
{

constexpr size_t max_name = 63;
constexpr size_t max_listed = 10; /* names that fit a hint */

/* How a value of that kind is called in messages. */
std::string_view
kind_name(NodeKind kind)
{
    switch (kind) {
    case NodeKind::undefined:
        return "undefined";
    case NodeKind::null:
        return "null";
    case NodeKind::boolean:
        return "a boolean";
    case NodeKind::number:
        return "a number";
    case NodeKind::string:
        return "a string";
    case NodeKind::array:
        return "an array";
    case NodeKind::object:
        return "an object";
    }
    return "";
}

[[noreturn]] void
refuse_kind(const Node &node, std::string_view what, std::string_view expected)
{
    refuse(node.where, std::string(what) + " must be " + std::string(expected) + ", not " +
                           std::string(kind_name(node.kind)));
}

/* Read the decimal number as an int64; false when it is negative, no whole number, or too large. */
bool
read_exactly(std::string_view text, int64_t *value)
{
    bool negative = text.starts_with('-');
    if (negative)
        text.remove_prefix(1);

    size_t exponent_at = std::min(text.find('e'), text.size());
    std::string_view mantissa = text.substr(0, exponent_at);
    std::string_view exponent_text = text.substr(exponent_at);

    size_t point = std::min(mantissa.find('.'), mantissa.size());
    std::string digits(mantissa.substr(0, point));
    if (point < mantissa.size())
        digits += mantissa.substr(point + 1);
    int64_t exponent = -static_cast<int64_t>(digits.size() - point);

    if (!exponent_text.empty()) {
        constexpr int64_t far = 10000000; /* more digits than a document can hold */
        bool down = exponent_text.substr(1).starts_with('-');
        int64_t written = 0;
        for (char c : exponent_text) {
            if (is_digit(c))
                written = std::min(written * 10 + (c - '0'), far);
        }
        exponent += down ? -written : written;
    }

    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
    while (!digits.empty() && digits.back() == '0') {
        digits.pop_back();
        exponent++;
    }
    if (digits.empty()) {
        *value = 0;
        return true;
    }
    if (negative || exponent < 0 || static_cast<int64_t>(digits.size()) + exponent > 19)
        return false;
    digits.append(static_cast<size_t>(exponent), '0');

    int64_t result = 0;
    for (char c : digits) {
        if (__builtin_mul_overflow(result, 10, &result) ||
            __builtin_add_overflow(result, c - '0', &result))
            return false;
    }
    *value = result;
    return true;
}

} // namespace

std::string
suggestion(std::string_view word, std::span<const std::string_view> names,
           std::string_view introduction)
{
    std::string_view meant = closest_name(word, names);
    if (!meant.empty())
        return "Did you mean " + in_quotes(meant) + "?";
    std::string hint(introduction);
    for (std::string_view name : names.first(std::min(names.size(), max_listed)))
        hint += (hint.size() > introduction.size() ? ", " : " ") + std::string(name);
    return hint + (names.size() > max_listed ? " and others." : ".");
}

void
check_object(const Node &node, std::string_view what)
{
    if (node.kind != NodeKind::object)
        refuse_kind(node, what, "an object");
}

void
check_keys(const Node &node, std::string_view what, std::span<const std::string_view> keys)
{
    check_object(node, what);
    for (const Node &member : node.children) {
        if (std::find(keys.begin(), keys.end(), member.key) == keys.end())
            refuse(member.key_where,
                   "unknown key " + in_quotes(member.key) + " in " + std::string(what),
                   suggestion(member.key, keys, "The keys known here are:"));
    }
}

const Node &
required(const Node &object, std::string_view member, std::string_view what)
{
    const Node *node = object.find(member);
    if (!node)
        refuse(object.where, std::string(what) + " needs " + in_quotes(member));
    return *node;
}

const std::string &
string_of(const Node &node, std::string_view what)
{
    if (node.kind != NodeKind::string)
        refuse_kind(node, what, "a string");
    if (node.text.empty())
        refuse(node.where, std::string(what) + " must not be empty");
    return node.text;
}

void
check_constant(const Node &object, std::string_view member, std::string_view value,
               std::string_view what)
{
    const Node &node = required(object, member, what);
    std::string field = std::string(member) + " of " + std::string(what);
    if (string_of(node, field) != value)
        refuse(node.where,
               field + " must be " + in_quotes(value) + ", not " + in_quotes(node.text));
}

bool
boolean_of(const Node &node, std::string_view what)
{
    if (node.kind != NodeKind::boolean)
        refuse_kind(node, what, "true or false");
    return node.truth;
}

std::span<const Node>
one_or_more(const Node &node)
{
    if (node.kind == NodeKind::array)
        return node.children;
    return {&node, 1};
}

bool
is_infinity(const Node &node)
{
    return node.kind == NodeKind::number && node.text == "Infinity";
}

int64_t
whole_number_of(const Node &node, std::string_view what, int64_t min, int64_t max,
                const std::string &expected)
{
    int64_t value;

    if (node.kind != NodeKind::number)
        refuse_kind(node, what, expected);
    if (node.text.ends_with('y') || node.text == "NaN" || !read_exactly(node.text, &value) ||
        value < min || value > max)
        refuse(node.where,
               std::string(what) + " must be " + expected + ", not " + in_quotes(node.text));
    return value;
}

bool
valid_name(std::string_view name)
{
    auto is_alphanumeric = [](char c) { return is_ascii_letter(c) || is_digit(c); };
    return !name.empty() && name.size() <= max_name && is_alphanumeric(name[0]) &&
           std::all_of(name.begin(), name.end(), [&](char c) {
               return is_alphanumeric(c) || c == '_' || c == '.' || c == ':' || c == '-';
           });
}

void
check_name(Position where, std::string_view what, std::string_view name)
{
    if (!valid_name(name))
        refuse(where, "invalid " + std::string(what) + " name " + in_quotes(name),
               "Names are 1 to 63 characters of A-Z, a-z, 0-9, \"_\", \".\", \":\" and \"-\", and "
               "begin with a letter or digit.");
}

} // namespace skene
