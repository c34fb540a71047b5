/*
 * engine.hpp: setting up the escrow engine.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/* Shared memory and named locks that the engine needs. */
Size engine_size();
int engine_lock_count();
void initialize_engine(LWLockPadded *locks);

/* Register the transaction callbacks; from _PG_init. */
void watch_transactions();

} // namespace skene
