/*
 * retention.hpp: removing what is old.
 */
#pragma once

namespace skene
{

/* Remove idempotency keys and ended rows of the outbox past their retention. */
void purge_expired();

} // namespace skene
