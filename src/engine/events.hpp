/*
 * events.hpp: the rows of truth. skene.usage_events gets one row for each admission,
 * inserted by the transaction that was admitted; the worker folds them into skene.usage.
 *
 * Invariant: a counter's value is the sum of both tables under one snapshot, and is
 * never read otherwise.
 */
#pragma once

#include "engine/meters.hpp"

namespace skene
{

/* Units counted in one window. */
struct Portion {
    const Rule *rule;
    int64 amount; /* < 0: given back */
};

/* OID of skene.usage_events. */
Oid events_relation();

/*
 * Lock skene.usage_events against changes by hand until the end of the transaction;
 * the generation is read after this.
 */
void lock_events(Oid relation);

/*
 * Insert one event of one or more portions. anchor is that of a customer without a row
 * yet (DT_NOEND: it has one), for the worker to make the row with.
 */
void insert_event(Oid relation, const char *user_id, const char *feature, const Portion *portions,
                  int count, TimestampTz anchor);

/*
 * Units of a window under a snapshot (null: the active one). Call between enter_owner
 * and leave_owner.
 */
int64 read_units(const char *user_id, const char *feature, const Rule &rule, Snapshot snapshot);

/* A snapshot that sees all that is committed now, and this transaction's own work. */
Snapshot latest_snapshot();

} // namespace skene
