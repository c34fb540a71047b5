/*
 * barrier.hpp: commands on databases, seen from any backend.
 *
 * DROP, RENAME, SET TABLESPACE and CREATE ... TEMPLATE fail while a session is in
 * the database, and before 19 the server counts even an idle worker [CountOtherDBBackends].
 * The hook stops that worker first and keeps it away until the command has ended.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/* Chain into ProcessUtility and object access; from _PG_init. */
void install_barrier_hooks();

} // namespace skene
