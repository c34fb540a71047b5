/*
 * config_loop.hpp: a published loop, the form of defineLoop(), becomes features.
 */
#pragma once

#include "core/config_feature.hpp"

namespace skene
{

/* Is this the root of a single loop rather than of a whole document? */
bool looks_like_loop(const Node &node);

/* Add the features of one loop; the document's plans and templates are already read. */
void read_loop(const Node &loop, Document *document, Warnings *warnings);

} // namespace skene
