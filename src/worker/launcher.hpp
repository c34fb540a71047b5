/*
 * launcher.hpp: the one process that starts a worker for each database with the
 * extension.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/* Register the launcher as a static background worker; from _PG_init. */
void register_launcher();

} // namespace skene
