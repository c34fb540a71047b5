/*
 * epochs.cpp: epochs in shared memory, and what a transaction will do to them.
 *
 * Publishing adds to atomics and cannot fail: the list of pending changes has a fixed
 * size, and one that overflows counts as a change of the configuration.
 */
#include "engine/epochs.hpp"

#include "server/shared.hpp"
#include "server/text.hpp"

namespace skene
{

namespace
{

constexpr int max_counting_databases = 1024;
constexpr uint32 customer_slots = 4096; /* a power of two */
constexpr int max_pending_customers = 32;

struct DatabaseEpochs {
    Oid database; /* InvalidOid: free; guarded by Shared::lock */
    pg_atomic_uint64 configuration;
    pg_atomic_uint64 generation;
};

struct Epochs {
    DatabaseEpochs databases[max_counting_databases];
    pg_atomic_uint64 customers[customer_slots];
};

Epochs *epochs = nullptr;
DatabaseEpochs *own_database = nullptr; /* stays: nobody can drop the database we are in */

uint32 pending_customers[max_pending_customers];
int pending_customer_count = 0;
bool pending_configuration = false;
SubTransactionId pending_usage = InvalidSubTransactionId; /* that changed rows */

/* This database's entry, or a free one made ours; null when all are taken. */
DatabaseEpochs *
claim_entry()
{
    DatabaseEpochs *claimed = nullptr;

    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    for (DatabaseEpochs &entry : epochs->databases) {
        if (entry.database == MyDatabaseId) {
            claimed = &entry;
            break;
        }
        if (!claimed && !OidIsValid(entry.database))
            claimed = &entry;
    }
    if (claimed)
        claimed->database = MyDatabaseId;
    LWLockRelease(shared->lock);
    return claimed;
}

/* Free the entries of databases that are gone; their numbers go on where they were. */
void
free_dropped_databases()
{
    for (DatabaseEpochs &entry : epochs->databases) {
        Oid database = entry.database;
        if (!OidIsValid(database) || SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
            continue;
        LWLockAcquire(shared->lock, LW_EXCLUSIVE);
        if (entry.database == database)
            entry.database = InvalidOid;
        LWLockRelease(shared->lock);
    }
}

/* This database's entry, taking one at first use. */
DatabaseEpochs *
own_epochs()
{
    if (likely(own_database))
        return own_database;
    own_database = claim_entry();
    if (!own_database) {
        free_dropped_databases();
        own_database = claim_entry();
    }
    if (!own_database)
        ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                        errmsg("too many databases count usage on this server"),
                        errdetail("At most %d can.", max_counting_databases)));
    return own_database;
}

} // namespace

Size
epochs_size()
{
    return sizeof(Epochs);
}

void
initialize_epochs(bool found, void *memory)
{
    epochs = static_cast<Epochs *>(memory);
    own_database = nullptr;
    if (found)
        return;
    for (DatabaseEpochs &entry : epochs->databases) {
        entry.database = InvalidOid;
        pg_atomic_init_u64(&entry.configuration, 1);
        pg_atomic_init_u64(&entry.generation, 1);
    }
    for (pg_atomic_uint64 &customer : epochs->customers)
        pg_atomic_init_u64(&customer, 1);
}

uint32
hash_customer(const char *user_id)
{
    return hash_combine(hash_text(user_id), MyDatabaseId);
}

Stamp
current_stamp(uint32 customer_hash)
{
    Stamp stamp = {pg_atomic_read_u64(&own_epochs()->configuration),
                   pg_atomic_read_u64(&epochs->customers[customer_hash & (customer_slots - 1)])};
    pg_read_barrier();
    return stamp;
}

uint64
configuration_epoch()
{
    return pg_atomic_read_u64(&own_epochs()->configuration);
}

uint64
usage_generation()
{
    return pg_atomic_read_u64(&own_epochs()->generation);
}

bool
configuration_changed_here()
{
    return pending_configuration;
}

bool
changed_here(uint32 customer_hash)
{
    if (pending_configuration)
        return true;
    for (int i = 0; i < pending_customer_count; i++) {
        if (pending_customers[i] == customer_hash)
            return true;
    }
    return false;
}

bool
usage_changed_here()
{
    return pending_usage != InvalidSubTransactionId;
}

bool
anything_changed_here()
{
    return pending_configuration || usage_changed_here() || pending_customer_count > 0;
}

void
note_configuration_change()
{
    (void) own_epochs();
    pending_configuration = true;
}

void
note_customer_change(uint32 customer_hash)
{
    (void) own_epochs();
    if (changed_here(customer_hash))
        return;
    if (pending_customer_count == max_pending_customers)
        pending_configuration = true;
    else
        pending_customers[pending_customer_count++] = customer_hash;
}

void
note_usage_change()
{
    (void) own_epochs();
    if (!usage_changed_here())
        pending_usage = GetCurrentSubTransactionId();
}

void
end_subtransaction_of_changes(SubTransactionId subid, SubTransactionId parent, bool committed)
{
    if (pending_usage == subid)
        pending_usage = committed ? parent : InvalidSubTransactionId;
}

void
publish_changes()
{
    if (pending_configuration)
        pg_atomic_fetch_add_u64(&own_database->configuration, 1);
    for (int i = 0; i < pending_customer_count; i++)
        pg_atomic_fetch_add_u64(&epochs->customers[pending_customers[i] & (customer_slots - 1)], 1);
    if (usage_changed_here())
        pg_atomic_fetch_add_u64(&own_database->generation, 1);
    forget_changes();
}

void
forget_changes()
{
    pending_configuration = false;
    pending_usage = InvalidSubTransactionId;
    pending_customer_count = 0;
}

} // namespace skene
