/*
 * epochs.hpp: when what the engine keeps in shared memory has gone stale.
 *
 * Three counters that only grow. The configuration's epoch and a customer's say that
 * what was resolved from plans, subscriptions, overrides and grants may differ now;
 * collisions among customers only cost a needless look. The generation says that rows
 * of usage were changed by somebody other than the engine; it is exact, since a
 * counter must be read anew for it and only for it.
 *
 * A transaction's changes are put down in its pending list and take effect in its
 * commit callback, before its COMMIT returns. A change of usage that is taken back by a
 * savepoint leaves the list, since the lock that made it exclusive goes with it; for the
 * others one look too many does no harm. Reading the epoch first and the tables
 * second, and keeping what was read only under that epoch, is therefore always safe.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

struct Stamp {
    uint64 configuration;
    uint64 customer;
};

/* Shared memory of this room. */
Size epochs_size();
void initialize_epochs(bool found, void *memory);

/* Hash of a customer of this database. */
uint32 hash_customer(const char *user_id);

/* Raises 53400 when too many databases of this server count. */
Stamp current_stamp(uint32 customer_hash);
uint64 configuration_epoch();
uint64 usage_generation();

/* Has this transaction changed what decides about a customer? */
bool changed_here(uint32 customer_hash);
bool configuration_changed_here();
bool usage_changed_here();
/* Anything that a prepared transaction could not make known at its commit? */
bool anything_changed_here();

/* Put changes of this transaction down. */
void note_configuration_change();
void note_customer_change(uint32 customer_hash);
void note_usage_change();

/* From transaction callbacks only: hand changes to the parent or forget them; make them known. */
void end_subtransaction_of_changes(SubTransactionId subid, SubTransactionId parent, bool committed);
void publish_changes();
void forget_changes();

} // namespace skene
