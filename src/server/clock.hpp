/*
 * clock.hpp: the time the gate goes by: the server's clock, moved by
 * skene_gate.clock_offset so that an application's tests can travel.
 *
 * Windows, prompts, retention and the schedules that serve them use it. What is
 * measured against the world outside does not: signatures of webhooks, and when a
 * worker started, failed or may be started again.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/* Now. While delivery is on the offset counts for nothing. */
TimestampTz gate_time();

} // namespace skene
