/*
 * entitlement.hpp: what a customer may use of a feature, and the window it is
 * counted in now.
 *
 * Windows depend on the clock at the call and on configured zones only, never on
 * the session's TimeZone or the start of its transaction.
 */
#pragma once

#include "gate/decision.hpp"

namespace skene
{

struct Entitlement {
    bool known_customer; /* has a row, and with it an anchor */
    TimestampTz anchor;
    const char *plan; /* null: no plan is configured */
    bool entitled;
    bool past_due; /* a subscription lost its plan because its payment failed */
    bool unlimited;
    int64 usage_limit;
    const char *period;
    const char *zone;
    TimestampTz now;
    TimestampTz window_start;
    TimestampTz window_end;
};

/*
 * Resolve (user, feature) under a snapshot (null: the active one). Raises 42704
 * for an unknown feature. Call between enter_owner and leave_owner; strings live
 * in context.
 */
void resolve_entitlement(const char *user_id, const char *feature, Snapshot snapshot,
                         MemoryContext context, Entitlement *entitlement);

/* The window of a period at an instant. */
void find_window(const char *period, TimestampTz now, TimestampTz anchor, const char *zone,
                 TimestampTz *start, TimestampTz *end);

/* Fill in why not and what would help: message, plan to upgrade to, link. */
void explain_denial(const char *feature, const Entitlement &entitlement, MemoryContext context,
                    Decision *decision);

} // namespace skene
