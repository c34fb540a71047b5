/*
 * anchors.cpp: the hash of agreed anchors.
 *
 * An entry is looked up, made and removed under the lock; its anchor is set by a
 * compare-and-swap and references are given back by an atomic, so that the end of a
 * transaction waits for nobody. An entry without references is as good as none.
 */
#include "engine/anchors.hpp"

#include "engine/events.hpp"
#include "server/extension.hpp"
#include "server/owner.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

struct AnchorKey {
    Oid database;
    char user_id[max_user_id_bytes + 1];
};

struct AgreedAnchor {
    AnchorKey key;
    std::atomic<int32> refs;
    std::atomic<int64> anchor; /* DT_NOBEGIN: not agreed yet */
};

HTAB *agreed = nullptr;
LWLock *agreed_lock = nullptr;

/* Entries this transaction refers to. */
struct OwnAnchor {
    AgreedAnchor *entry;
};
OwnAnchor *own = nullptr;
int own_count = 0;
int own_capacity = 0;

/* Remove entries without references; under the lock. */
void
remove_idle()
{
    HASH_SEQ_STATUS scan;

    hash_seq_init(&scan, agreed);
    while (auto *entry = static_cast<AgreedAnchor *>(hash_seq_search(&scan))) {
        if (entry->refs.load(std::memory_order_acquire) == 0)
            hash_search(agreed, &entry->key, HASH_REMOVE, nullptr);
    }
}

/* This transaction's reference to the customer's entry. */
AgreedAnchor *
refer_to(const char *user_id)
{
    AnchorKey key;
    AgreedAnchor *entry;
    bool found;

    if (own_count == own_capacity) {
        int capacity = Max(16, 2 * own_capacity);
        Size size = sizeof(OwnAnchor) * capacity;
        own = static_cast<OwnAnchor *>(own ? repalloc_huge(own, size)
                                           : MemoryContextAllocHuge(TopMemoryContext, size));
        own_capacity = capacity;
    }
    memset(&key, 0, sizeof(key));
    key.database = MyDatabaseId;
    strlcpy(key.user_id, user_id, sizeof(key.user_id));

    LWLockAcquire(agreed_lock, LW_EXCLUSIVE);
    entry = static_cast<AgreedAnchor *>(hash_search(agreed, &key, HASH_FIND, &found));
    if (!entry && hash_get_num_entries(agreed) >= max_reservations)
        remove_idle();
    if (!entry && hash_get_num_entries(agreed) < max_reservations)
        entry = static_cast<AgreedAnchor *>(hash_search(agreed, &key, HASH_ENTER_NULL, &found));
    if (entry) {
        if (!found)
            entry->refs.store(0);
        if (entry->refs.load(std::memory_order_acquire) == 0)
            entry->anchor.store(DT_NOBEGIN);
        entry->refs.fetch_add(1);
        own[own_count++] = {entry};
    }
    LWLockRelease(agreed_lock);
    if (!entry)
        ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                        errmsg("too many new customers are counted at once"),
                        errhint("Count fewer new customers in one transaction, or raise "
                                "skene_gate.max_reservations and restart the server.")));
    return entry;
}

/* Find the entry that this transaction refers to already. */
AgreedAnchor *
find_own(const char *user_id)
{
    for (int i = own_count - 1; i >= 0; i--) {
        if (strcmp(own[i].entry->key.user_id, user_id) == 0)
            return own[i].entry;
    }
    return nullptr;
}

} // namespace

Size
anchors_size()
{
    return hash_estimate_size(max_reservations, sizeof(AgreedAnchor));
}

void
initialize_anchors(LWLock *lock)
{
    HASHCTL info = {};

    info.keysize = sizeof(AnchorKey);
    info.entrysize = sizeof(AgreedAnchor);
    agreed =
        ShmemInitHash("skene_gate anchors", 64, max_reservations, &info, HASH_ELEM | HASH_BLOBS);
    agreed_lock = lock;
    own_count = 0;
}

TimestampTz
agree_on_anchor(const char *user_id, TimestampTz proposed, bool *in_table)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID};
    Datum values[] = {CStringGetTextDatum(user_id)};
    AgreedAnchor *entry = find_own(user_id);

    if (!entry)
        entry = refer_to(user_id);
    /*
     * The entry first, the tables second: who ended before is seen, who comes later meets us.
     * So all events have the same anchor, and one tells; there may be very many.
     */
    run_prepared(&plan, R"sql(
SELECT c.anchor, (SELECT e.anchor FROM skene.usage_events e
                   WHERE e.user_id = $1 AND e.anchor IS NOT NULL LIMIT 1)
  FROM (SELECT) AS one LEFT JOIN skene.customers c ON c.user_id = $1)sql",
                 1, types, values, nullptr, latest_snapshot(), true, SPI_OK_SELECT);
    *in_table = !column_is_null(1);
    TimestampTz stored = time_column(1, time_column(2, proposed));
    int64 unset = DT_NOBEGIN;
    if (*in_table || entry->anchor.compare_exchange_strong(unset, stored))
        return stored;
    return unset; /* what the others have agreed on */
}

void
release_anchors()
{
    while (own_count > 0)
        own[--own_count].entry->refs.fetch_sub(1, std::memory_order_acq_rel);
}

/* For skene_identify(), which may come before the first use or beside it. */
SKENE_FUNCTION(skene_agree_on_anchor)
{
    bool in_table;
    OwnerScope scope;

    require_extension();
    enter_owner(&scope, owner_of_function(fcinfo->flinfo->fn_oid));
    TimestampTz anchor =
        agree_on_anchor(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_TIMESTAMPTZ(1), &in_table);
    leave_owner(&scope);
    PG_RETURN_TIMESTAMPTZ(anchor);
}

} // namespace skene
