/*
 * config_fields.hpp: reading a syntax tree with its types checked.
 *
 * Each function takes what it reads or throws a Problem at the place where the
 * document says something else; what names the field in the message.
 */
#pragma once

#include "core/config_syntax.hpp"

#include <cstdint>
#include <set>
#include <span>

namespace skene
{

/* Refuse unless node is an object with no keys but these. */
void check_keys(const Node &node, std::string_view what, std::span<const std::string_view> keys);

/* Refuse unless node is an object, whatever its keys. */
void check_object(const Node &node, std::string_view what);

/* The member of that name; refuses when it is missing. */
const Node &required(const Node &object, std::string_view member, std::string_view what);

/* A non-empty string. */
const std::string &string_of(const Node &node, std::string_view what);

/* Refuse unless the string member, which must be there, is exactly value. */
void check_constant(const Node &object, std::string_view member, std::string_view value,
                    std::string_view what);

bool boolean_of(const Node &node, std::string_view what);

/* The items of an array, or the node itself where one value may stand for a list of one. */
std::span<const Node> one_or_more(const Node &node);

/* Is this number Infinity? */
bool is_infinity(const Node &node);

/*
 * An exact whole number in [min, max], min >= 0. expected completes "… must be".
 */
int64_t whole_number_of(const Node &node, std::string_view what, int64_t min, int64_t max,
                        const std::string &expected);

/* Plans, features, templates: 1 to 63 of A-Z a-z 0-9 _ . : -, first a letter or digit. */
bool valid_name(std::string_view name);
void check_name(Position where, std::string_view what, std::string_view name);

/* "Did you mean …?", or else the introduction and the first of the names. */
std::string suggestion(std::string_view word, std::span<const std::string_view> names,
                       std::string_view introduction);

} // namespace skene
