/*
 * json_text.hpp: JSON from strangers becomes a tree that is safe to walk.
 *
 * Invariant: time and memory are linear in the text, the tree is at most
 * max_json_depth deep (so that recursion over it is bounded), and every string in
 * it is valid UTF-8.
 */
#pragma once

#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace skene
{

constexpr int max_json_depth = 128;

enum class JsonVerdict { ok, not_json, too_deep };

/* Read one JSON value; throws std::bad_alloc only. Of equal keys the last one wins. */
JsonVerdict read_json(std::string_view text, nlohmann::json *value);

} // namespace skene
