/*
 * anchors.hpp: agreement on the anchor of a customer who has no row yet.
 *
 * A customer's windows of a fixed number of days are counted from its anchor, which is
 * set once. The first transactions to count a new customer may run at once; they agree
 * on one anchor in shared memory, carry it in their events, and the worker makes the
 * row from those. Invariant: an agreed anchor stays as long as a transaction that
 * relies on it runs; after that it is in the tables, or nobody needs it.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/* Shared memory of this room. */
Size anchors_size();
void initialize_anchors(LWLock *lock);

/*
 * The customer's anchor: from the tables, else agreed in shared memory, else proposed.
 * *in_table says whether the customer has a row. Holds the agreement until the end of
 * the transaction. Call between enter_owner and leave_owner; raises 53400 when too
 * many new customers are counted at once.
 */
TimestampTz agree_on_anchor(const char *user_id, TimestampTz proposed, bool *in_table);

/* From transaction callbacks only: let go of this transaction's agreements. */
void release_anchors();

} // namespace skene
