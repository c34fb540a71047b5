/*
 * delivery.hpp: what of the outbox is sent now. Worker only.
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

} // namespace skene
