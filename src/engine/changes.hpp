/*
 * changes.hpp: telling the engine's own writes from those of others.
 */
#pragma once

#include "server/shared.hpp"

namespace skene
{

/*
 * Let the engine's statements pass the guards of skene.usage and skene.usage_events, or
 * no longer; returns what was before. An error must reset it.
 */
bool let_engine_write(bool allowed);

} // namespace skene
