/*
 * consume.hpp: the gate itself: decide on a request, counting it or only looking.
 */
#pragma once

#include "gate/arguments.hpp"
#include "gate/decision.hpp"

namespace skene
{

/* Admit and count, or deny and note the denial. Strings live in the current context. */
void consume(Oid owner, const Request &request, Decision *decision);

/* Decide without counting, under the active snapshot. */
void look(Oid owner, const Request &request, Decision *decision);

/* Give units back; returns the units used after it. */
int64 refund(Oid owner, const Request &request);

} // namespace skene
