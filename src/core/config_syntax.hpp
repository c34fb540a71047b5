/*
 * config_syntax.hpp: the text of a configuration document becomes a tree.
 *
 * JSON, or the part of TypeScript that configuration files are written in. Every
 * node knows where it stood, so that whoever reads the tree can say what is wrong
 * with line and column.
 */
#pragma once

#include "core/config_text.hpp"

#include <cstdint>

namespace skene
{

enum class NodeKind : uint8_t { undefined, null, boolean, number, string, array, object };

struct Node {
    NodeKind kind = NodeKind::undefined;
    bool truth = false; /* of a boolean */
    Position where;
    std::string text;           /* of a string; a number as ConfigText::read_number gives it */
    std::vector<Node> children; /* items, or members in the order written */
    std::string key;            /* of a member */
    Position key_where;

    /* The member with that key, or null; a member that is undefined is not there. */
    const Node *find(std::string_view member) const;
};

/*
 * Parse a whole document; throws Problem. No two members of an object share a
 * key, and nothing is nested deeper than 64 levels.
 */
Node parse_syntax(std::string_view text, Warnings *warnings);

} // namespace skene
