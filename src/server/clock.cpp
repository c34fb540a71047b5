/*
 * clock.cpp: reading the gate's clock, for C and, as skene.gate_time(), for SQL.
 */
#include "server/clock.hpp"

#include "settings/settings.hpp"

namespace skene
{

TimestampTz
gate_time()
{
    TimestampTz now = GetCurrentTimestamp();
    /* settings may come in any order; whichever came first, customers' windows stay put */
    if (delivery == delivery_on)
        return now;
    return now + clock_offset * USECS_PER_SEC;
}

SKENE_FUNCTION(skene_gate_time)
{
    PG_RETURN_TIMESTAMPTZ(gate_time());
}

} // namespace skene
