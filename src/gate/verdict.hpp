/*
 * verdict.hpp: what the numbers of a call's windows mean: the decision, given units used
 * in each of them. Nothing here counts, holds or waits.
 */
#pragma once

#include "gate/decision.hpp"
#include "gate/opening.hpp"

namespace skene
{

/* Room left in a window by a count of used units. */
inline int64
room_in(const Rule &rule, int64 used)
{
    return used >= rule.limit ? 0 : saturating_difference(rule.limit, used);
}

inline int64
saturating_sum(int64 a, int64 b)
{
    int64 sum;
    return pg_add_s64_overflow(a, b, &sum) ? PG_INT64_MAX : sum;
}

/*
 * Would the call be allowed, the amount itself not being counted yet? Raises 22003 when a
 * window without a limit would leave the range of bigint.
 */
void decide(const Call &call, const int64 *used, Decision *decision);

/* The call was admitted, and is counted in the numbers. */
void admit(const Call &call, const int64 *used, Decision *decision);

/* The answer depends on others, and nobody wants to wait for them. */
void contend(const Call &call, const int64 *used, Decision *decision);

/* Say who was asked, and in a denial what would help. Strings live in the current context. */
void explain(const Call &call, Decision *decision);

} // namespace skene
