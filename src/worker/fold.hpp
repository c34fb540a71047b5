/*
 * fold.hpp: folding skene.usage_events into skene.usage.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/*
 * Fold all events that are committed now, in transactions of their own. Returns false
 * when some may be left: their customer is being made by somebody else, or the walk did
 * not begin at the table's beginning.
 */
bool fold_usage();

} // namespace skene
