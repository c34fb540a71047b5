/*
 * denials.cpp: the hash of denial notes.
 *
 * The common case, another denial of a known window, takes the lock shared and
 * adds one to an atomic. Nothing here raises while the lock is held.
 */
#include "gate/denials.hpp"

#include "server/shared.hpp"
#include "server/text.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

struct DenialNote {
    DenialKey key;
    TimestampTz window_end;
    TimestampTz first_at;
    pg_atomic_uint64 last_at;
    pg_atomic_uint64 unwritten; /* denials not yet in skene.prompts */
    TimestampTz unknown_since;  /* the worker could not see the customer then; 0: has not looked */
    TimestampTz look_at;        /* when it looks for it again */
    char plan[max_name_bytes + 1];
};

HTAB *notes = nullptr;

/* Hash a key by its customer and feature: most of its bytes are padding. */
uint32
hash_denial(const void *key, Size)
{
    auto *denial = static_cast<const DenialKey *>(key);
    return hash_combine(hash_text(denial->user_id), hash_text(denial->feature));
}

/* How long a note waits for its customer, and when the worker looks first. */
constexpr int64 unknown_limit = 60 * USECS_PER_SEC;
constexpr int64 first_look = 1 * USECS_PER_SEC;

/* Remove a note whose customer never came, and count its denials. Lock held exclusively. */
void
drop_note(DenialNote *note, uint64 taken)
{
    WorkerSlot *slot = find_slot(note->key.database);
    if (slot)
        pg_atomic_fetch_add_u64(&slot->denials_dropped,
                                static_cast<int64>(taken + pg_atomic_read_u64(&note->unwritten)));
    hash_search(notes, &note->key, HASH_REMOVE, nullptr);
}

/*
 * How many notes there can be: one for each window of a small table. Of a large one few are
 * denied at once, and what the worker has written makes room.
 */
int
note_capacity()
{
    constexpr int small_table = 16384;
    return Max(Min(max_windows, small_table), max_windows / 8);
}

/*
 * Make room for one note. One that has nothing left to write goes first: the next
 * denial of its window finds the prompt in the table. Else one that waits for its
 * customer, or strangers who are never written down could crowd customers out.
 */
bool
evict_one()
{
    HASH_SEQ_STATUS scan;
    DenialNote *unknown = nullptr;

    hash_seq_init(&scan, notes);
    while (auto *note = static_cast<DenialNote *>(hash_seq_search(&scan))) {
        if (pg_atomic_read_u64(&note->unwritten) == 0) {
            hash_search(notes, &note->key, HASH_REMOVE, nullptr);
            hash_seq_term(&scan);
            return true;
        }
        if (note->unknown_since != 0)
            unknown = note;
    }
    if (unknown)
        drop_note(unknown, 0);
    return unknown;
}

/* Does a note wait for its customer? A clock that went back ends the wait. */
bool
is_waiting(const DenialNote &note, TimestampTz now)
{
    return note.unknown_since != 0 && note.unknown_since <= now && note.look_at > now;
}

/* Add to a note under the lock, in either mode; wakes on the first unwritten denial. */
void
add_denials(DenialNote *note, uint64 count, TimestampTz last_at, uint32 reason)
{
    pg_atomic_write_u64(&note->last_at, static_cast<uint64>(last_at));
    if (pg_atomic_fetch_add_u64(&note->unwritten, static_cast<int64>(count)) == 0) {
        WorkerSlot *slot = find_slot(note->key.database);
        if (slot)
            wake_worker(slot, reason);
    }
}

/* Find or make the note of a window; null when there is no room. Lock held exclusively. */
DenialNote *
make_note(const DenialKey &key, TimestampTz window_end, const char *plan, TimestampTz first_at)
{
    bool found;

    if (hash_get_num_entries(notes) >= note_capacity() &&
        !hash_search(notes, &key, HASH_FIND, nullptr) && !evict_one())
        return nullptr;
    auto *note = static_cast<DenialNote *>(hash_search(notes, &key, HASH_ENTER_NULL, &found));
    if (note && !found) {
        note->window_end = window_end;
        note->first_at = first_at;
        pg_atomic_init_u64(&note->last_at, static_cast<uint64>(first_at));
        pg_atomic_init_u64(&note->unwritten, 0);
        note->unknown_since = note->look_at = 0;
        strlcpy(note->plan, plan, sizeof(note->plan));
    }
    return note;
}

} // namespace

Size
denials_size()
{
    return hash_estimate_size(note_capacity(), sizeof(DenialNote));
}

void
initialize_denials()
{
    HASHCTL info = {};

    info.keysize = sizeof(DenialKey);
    info.entrysize = sizeof(DenialNote);
    info.hash = hash_denial;
    notes = ShmemInitHash("skene_gate denials", note_capacity(), note_capacity(), &info,
                          HASH_ELEM | HASH_FUNCTION);
}

const char *
denial_kind_name(DenialKind kind)
{
    switch (kind) {
    case DenialKind::not_entitled:
        return "not_entitled";
    case DenialKind::past_due:
        return "past_due";
    default:
        return "limit_reached";
    }
}

void
note_denial(const DenialKey &key, TimestampTz window_end, const char *plan, TimestampTz now)
{
    LWLockAcquire(shared->notes_lock, LW_SHARED);
    auto *note = static_cast<DenialNote *>(hash_search(notes, &key, HASH_FIND, nullptr));
    if (note)
        add_denials(note, 1, now, wake_denials);
    LWLockRelease(shared->notes_lock);
    if (note)
        return;

    LWLockAcquire(shared->notes_lock, LW_EXCLUSIVE);
    note = make_note(key, window_end, plan, now);
    if (note)
        add_denials(note, 1, now, wake_notes);
    else
        pg_atomic_fetch_add_u64(&shared->notes_lost, 1);
    LWLockRelease(shared->notes_lock);
}

int
take_denials(Oid database, TimestampTz now, TakenDenials *taken, int capacity)
{
    HASH_SEQ_STATUS scan;
    int count = 0;

    LWLockAcquire(shared->notes_lock, LW_EXCLUSIVE);
    hash_seq_init(&scan, notes);
    while (auto *note = static_cast<DenialNote *>(hash_seq_search(&scan))) {
        if (note->key.database != database)
            continue;
        if (pg_atomic_read_u64(&note->unwritten) == 0) {
            if (note->window_end <= now)
                hash_search(notes, &note->key, HASH_REMOVE, nullptr);
            continue;
        }
        if (is_waiting(*note, now))
            continue;
        TakenDenials &one = taken[count++];
        one.key = note->key;
        one.window_end = note->window_end;
        one.first_at = note->first_at;
        one.last_at = static_cast<TimestampTz>(pg_atomic_read_u64(&note->last_at));
        one.unknown_since = note->unknown_since;
        note->unknown_since = note->look_at = 0;
        one.count = pg_atomic_exchange_u64(&note->unwritten, 0);
        strlcpy(one.plan, note->plan, sizeof(one.plan));
        if (count == capacity) {
            hash_seq_term(&scan);
            break;
        }
    }
    LWLockRelease(shared->notes_lock);
    return count;
}

void
return_denials(const TakenDenials &taken)
{
    LWLockAcquire(shared->notes_lock, LW_EXCLUSIVE);
    DenialNote *note = make_note(taken.key, taken.window_end, taken.plan, taken.first_at);
    if (note)
        pg_atomic_fetch_add_u64(&note->unwritten, static_cast<int64>(taken.count));
    else
        pg_atomic_fetch_add_u64(&shared->notes_lost, static_cast<int64>(taken.count));
    LWLockRelease(shared->notes_lock);
}

void
put_off_denials(const TakenDenials &taken, TimestampTz now)
{
    bool first = taken.unknown_since == 0 || taken.unknown_since > now;
    TimestampTz since = first ? now : taken.unknown_since;

    LWLockAcquire(shared->notes_lock, LW_EXCLUSIVE);
    DenialNote *note = make_note(taken.key, taken.window_end, taken.plan, taken.first_at);
    if (!note) {
        pg_atomic_fetch_add_u64(&shared->notes_lost, static_cast<int64>(taken.count));
    } else if (now - since >= unknown_limit) {
        drop_note(note, taken.count);
    } else {
        pg_atomic_fetch_add_u64(&note->unwritten, static_cast<int64>(taken.count));
        note->unknown_since = since;
        /* each look waits as long as all before it, so that few looks find a customer soon */
        note->look_at = Min(now + Max(first_look, now - since), since + unknown_limit);
    }
    LWLockRelease(shared->notes_lock);
}

TimestampTz
next_look_for_customers(Oid database)
{
    HASH_SEQ_STATUS scan;
    TimestampTz next = DT_NOEND;

    LWLockAcquire(shared->notes_lock, LW_SHARED);
    hash_seq_init(&scan, notes);
    while (auto *note = static_cast<DenialNote *>(hash_seq_search(&scan))) {
        if (note->key.database == database && note->unknown_since != 0)
            next = Min(next, note->look_at);
    }
    LWLockRelease(shared->notes_lock);
    return next;
}

int
count_notes(Oid database)
{
    HASH_SEQ_STATUS scan;
    int count = 0;

    LWLockAcquire(shared->notes_lock, LW_SHARED);
    hash_seq_init(&scan, notes);
    while (auto *note = static_cast<DenialNote *>(hash_seq_search(&scan)))
        count += note->key.database == database;
    LWLockRelease(shared->notes_lock);
    return count;
}

void
forget_denials(Oid database, const char *user_id)
{
    HASH_SEQ_STATUS scan;

    LWLockAcquire(shared->notes_lock, LW_EXCLUSIVE);
    hash_seq_init(&scan, notes);
    while (auto *note = static_cast<DenialNote *>(hash_seq_search(&scan))) {
        if (note->key.database == database && (!user_id || strcmp(note->key.user_id, user_id) == 0))
            hash_search(notes, &note->key, HASH_REMOVE, nullptr);
    }
    LWLockRelease(shared->notes_lock);
}

} // namespace skene
