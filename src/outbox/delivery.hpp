/*
 * delivery.hpp: lease -> HTTP -> settle. Worker only.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/*
 * Take what is due: capture it, or lease it and start its requests, as
 * skene_gate.delivery says. Returns when to look again.
 */
TimestampTz empty_outbox();

/* Are there answers to wait for? */
bool deliveries_under_way();

/* The worker is about to end: wait for what is under way, but no longer than this. */
void finish_deliveries(int64 timeout_ms);

/* Wait for answers, or the latch, up to timeout_ms, and settle what came. */
void wait_for_deliveries(int64 timeout_ms);

} // namespace skene
