/*
 * consume.hpp: the gate itself: decide on a request, counting it or only looking.
 */
#pragma once

#include "gate/arguments.hpp"
#include "gate/decision.hpp"

namespace skene
{

/*
 * Admit and count, or deny and note the denial. Without explain the decision has no
 * texts, only what is allowed and why. Strings live in the current context.
 */
void consume(const Request &request, bool explain, Decision *decision);

/* Decide without counting or waiting. */
void look(const Request &request, bool explain, Decision *decision);

/* Give units back; returns the units used after it. */
int64 refund(const Request &request);

/* Count the difference to another number of units used; returns the number before. */
int64 set_usage(const Request &request, int64 used);

} // namespace skene
