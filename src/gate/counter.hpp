/*
 * counter.hpp: the row-lock engine: one row of skene.usage per window, one guarded
 * statement per change.
 *
 * Invariant: used never passes the limit the statement was given, whatever runs
 * beside it; the row lock makes concurrent consumers wait for each other's commit.
 */
#pragma once

#include "gate/entitlement.hpp"

namespace skene
{

struct CounterKey {
    const char *user_id;
    const char *feature;
    const char *period;
    TimestampTz window_start;
    TimestampTz window_end;
};

/* Add amount if it fits under limit; false, changing nothing, if it does not. */
bool add_usage(const CounterKey &key, int64 amount, int64 limit, int64 *used);

/* Take amount away; false, changing nothing, if less was used. */
bool subtract_usage(const CounterKey &key, int64 amount, int64 *used);

/* Units used, under a snapshot (null: the active one). */
int64 read_usage(const CounterKey &key, Snapshot snapshot);

/*
 * Make the customer's row, and with it the anchor of its windows, unless another
 * transaction does so first (this waits for it); true if made here.
 */
bool create_customer(const char *user_id, TimestampTz anchor);

enum class KeyUse : uint8 { consume, refund };

/* Amount that an idempotency key was first used with, or -1, under a latest snapshot. */
int64 find_idempotency_key(const CounterKey &key, KeyUse use, const char *idempotency_key);

/* Claim a key; false if somebody else has (this waits for them to commit). */
bool claim_idempotency_key(const CounterKey &key, KeyUse use, const char *idempotency_key,
                           int64 amount);

} // namespace skene
