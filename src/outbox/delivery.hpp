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

int deliveries_under_way();

/* Wait up to timeout_ms for answers and settle those that came. */
void move_deliveries(int timeout_ms);

} // namespace skene
