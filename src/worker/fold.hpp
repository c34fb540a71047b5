/*
 * fold.hpp: folding skene.usage_events into skene.usage.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/*
 * Fold all events that are committed now, in transactions of their own. Returns false
 * when some had to be left because their customer is being made by somebody else.
 */
bool fold_usage();

} // namespace skene
