/*
 * entitlement.hpp: what a customer may use of a feature, and the windows it is counted
 * in now, read from the tables.
 *
 * Windows depend on the clock at the call and on configured zones only, never on the
 * session's TimeZone or the start of its transaction.
 */
#pragma once

#include "engine/resolution.hpp"

namespace skene
{

/* What is known of a customer beside what its plan gives it. */
struct CustomerState {
    bool has_row;       /* and with it an anchor */
    TimestampTz anchor; /* the row's, else one that its events or the caller propose */
};

/*
 * Resolve (user, feature) under a snapshot (null: the active one), at the instant *now,
 * which moves on if another session has just set a later anchor. A customer without a row agrees on
 * its anchor when it is to be counted. Raises 42704 for an unknown feature, 54000 for more windows
 * than there is room for. Call between enter_owner and leave_owner.
 */
void resolve_entitlement(const char *user_id, const char *feature, TimestampTz *now,
                         Snapshot snapshot, bool counting, Resolution *resolution,
                         CustomerState *customer);

/*
 * Set the window of a customer without an anchor to one that all its calls have in
 * common, so that not each of its denials is the first of a window of its own.
 */
void set_common_window(Rule *rule, TimestampTz now);

} // namespace skene
