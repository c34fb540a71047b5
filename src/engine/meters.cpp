/*
 * meters.cpp: the table of meters and windows.
 *
 * Entries are numbered from 1 through all partitions; 0 is none. Everything but the
 * counters, references and statistics is guarded by the partition's lock; nothing
 * raises while one is held.
 */
#include "engine/meters.hpp"

#include "server/clock.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

enum class WindowState : uint8 { free, loading, ready };

/* What is changed on every call comes first, on cache lines of its own. */
struct alignas(128) WindowEntry {
    Held held;
    pg_atomic_uint64 hits;
    pg_atomic_uint64 waits;
    pg_atomic_uint64 denials;
    uint64 generation;
    uint64 incarnation;
    TimestampTz start;
    TimestampTz end;
    uint32 meter;
    uint32 next; /* window of the same meter, or free one */
    WindowState state;
    char period[max_period_bytes + 1];
};

struct Meter {
    Oid database;
    Oid relation; /* InvalidOid: the entry is free */
    uint32 hash;
    uint32 next; /* meter of the same bucket, or free one */
    uint32 first_window;
    bool resolved;
    bool recent; /* used since the clock's hand passed; a hint, written under the shared lock */
    Resolution resolution;
    char feature[max_name_bytes + 1];
    char user_id[max_user_id_bytes + 1];
};

struct Partition {
    LWLock *lock;
    uint32 free_meters;
    uint32 free_windows;
    uint32 hand; /* of the clock, within the partition */
    uint64 loads;
    uint64 evictions;
    uint64 misses;
};

Partition *partitions = nullptr;
uint32 *buckets = nullptr;
Meter *meters = nullptr;
WindowEntry *windows = nullptr;

/* The table's shape, which follows from max_windows alone. */
constexpr uint32 max_partitions = 64;
uint32 partition_count = 0; /* a power of two */
uint32 partition_size = 0;  /* meters, and windows, of each */

void
shape_table()
{
    partition_count = 1;
    while (partition_count < max_partitions &&
           static_cast<uint32>(max_windows) / (2 * partition_count) >= 256)
        partition_count *= 2;
    partition_size = (static_cast<uint32>(max_windows) + partition_count - 1) / partition_count;
}

uint32
table_size()
{
    return partition_count * partition_size;
}

uint32
partition_of(uint32 hash)
{
    return hash & (partition_count - 1);
}

uint32 *
bucket_of(uint32 hash)
{
    return &buckets[partition_of(hash) * partition_size + (hash / max_partitions) % partition_size];
}

Meter &
meter_at(uint32 number)
{
    return meters[number - 1];
}

WindowEntry &
window_at_number(uint32 number)
{
    return windows[number - 1];
}

bool
has_key(const Meter &meter, const MeterKey &key)
{
    return meter.hash == key.hash && meter.relation == key.relation &&
           meter.database == key.database && strcmp(meter.user_id, key.user_id) == 0 &&
           strcmp(meter.feature, key.feature) == 0;
}

/* The meter's number, or 0. */
uint32
search(const MeterKey &key)
{
    uint32 number = *bucket_of(key.hash);
    while (number != 0 && !has_key(meter_at(number), key))
        number = meter_at(number).next;
    return number;
}

/* The meter's window, or 0. */
uint32
search_window(const Meter &meter, const Rule &rule)
{
    uint32 number = meter.first_window;
    while (number != 0) {
        const WindowEntry &window = window_at_number(number);
        if (window.start == rule.start && strcmp(window.period, rule.period) == 0)
            break;
        number = window.next;
    }
    return number;
}

bool
is_held(const WindowEntry &window)
{
    return window.held.refs.load(std::memory_order_acquire) != 0;
}

void
free_window(Partition *partition, uint32 number)
{
    WindowEntry &window = window_at_number(number);
    window.state = WindowState::free;
    window.meter = 0;
    window.next = partition->free_windows;
    partition->free_windows = number;
}

/* Free the windows of a meter that nobody holds, all of them or those that ended; true if none is
 * left. */
bool
free_windows(Partition *partition, Meter *meter, TimestampTz ended_by)
{
    uint32 *link = &meter->first_window;
    while (*link != 0) {
        uint32 number = *link;
        WindowEntry &window = window_at_number(number);
        if (window.end > ended_by || is_held(window)) {
            link = &window.next;
        } else {
            *link = window.next;
            free_window(partition, number);
        }
    }
    return meter->first_window == 0;
}

/* Take a meter without windows out of the table. */
void
free_meter(Partition *partition, uint32 number)
{
    Meter &meter = meter_at(number);
    uint32 *link = bucket_of(meter.hash);
    while (*link != number)
        link = &meter_at(*link).next;
    *link = meter.next;
    meter.relation = InvalidOid;
    meter.next = partition->free_meters;
    partition->free_meters = number;
}

bool
any_window_held(const Meter &meter)
{
    for (uint32 number = meter.first_window; number != 0; number = window_at_number(number).next) {
        if (is_held(window_at_number(number)))
            return true;
    }
    return false;
}

/*
 * Evict one meter that nobody holds, other than the one being entered; windows that are
 * only over go first. False when all are held. Two rounds: the first takes back the
 * second chance of those used lately.
 */
bool
evict(Partition *partition, uint32 entering, TimestampTz now)
{
    uint32 first = static_cast<uint32>(partition - partitions) * partition_size + 1;

    for (uint32 step = 0; step < 2 * partition_size + 1; step++) {
        uint32 number = first + partition->hand;
        Meter &meter = meter_at(number);

        partition->hand = (partition->hand + 1) % partition_size;
        if (!OidIsValid(meter.relation) || number == entering)
            continue;
        uint32 free_before = partition->free_windows;
        if (free_windows(partition, &meter, now) && !meter.recent) {
            free_meter(partition, number);
            partition->evictions++;
            return true;
        }
        if (partition->free_windows != free_before && partition->free_meters != 0)
            return true;
        if (meter.recent) {
            meter.recent = false;
        } else if (!any_window_held(meter)) {
            (void) free_windows(partition, &meter, DT_NOEND);
            free_meter(partition, number);
            partition->evictions++;
            return true;
        }
    }
    return false;
}

/* Find or make the meter; 0 when there is no room. Lock held exclusively. */
uint32
make_meter(Partition *partition, const MeterKey &key, TimestampTz now)
{
    uint32 number = search(key);
    if (number != 0)
        return number;
    while (partition->free_meters == 0) {
        if (!evict(partition, 0, now))
            return 0;
    }
    number = partition->free_meters;
    Meter &meter = meter_at(number);
    partition->free_meters = meter.next;
    meter.database = key.database;
    meter.relation = key.relation;
    meter.hash = key.hash;
    meter.first_window = 0;
    meter.resolved = false;
    strlcpy(meter.user_id, key.user_id, sizeof(meter.user_id));
    strlcpy(meter.feature, key.feature, sizeof(meter.feature));
    uint32 *bucket = bucket_of(key.hash);
    meter.next = *bucket;
    *bucket = number;
    return number;
}

/* Find or make a window of a meter; 0 when there is no room. Lock held exclusively. */
uint32
make_window(Partition *partition, uint32 meter_number, const Rule &rule, TimestampTz now)
{
    Meter &meter = meter_at(meter_number);
    uint32 number = search_window(meter, rule);
    if (number != 0)
        return number;
    (void) free_windows(partition, &meter, now);
    while (partition->free_windows == 0) {
        if (!evict(partition, meter_number, now))
            return 0;
    }
    number = partition->free_windows;
    WindowEntry &window = window_at_number(number);
    partition->free_windows = window.next;
    pg_atomic_write_u64(&window.hits, 0);
    pg_atomic_write_u64(&window.waits, 0);
    pg_atomic_write_u64(&window.denials, 0);
    window.start = rule.start;
    window.end = rule.end;
    window.meter = meter_number;
    window.state = WindowState::loading;
    window.generation = 0;
    window.incarnation++;
    strlcpy(window.period, rule.period, sizeof(window.period));
    window.next = meter.first_window;
    meter.first_window = number;
    return number;
}

bool
is_valid(const Resolution &resolution, const Stamp &stamp, TimestampTz now)
{
    if (resolution.stamp.configuration != stamp.configuration ||
        resolution.stamp.customer != stamp.customer || resolution.grace != past_due_grace ||
        now >= resolution.valid_until)
        return false;
    for (int i = 0; i < resolution.rule_count; i++) {
        if (now < resolution.rules[i].start || now >= resolution.rules[i].end)
            return false;
    }
    return true;
}

/* Copy what is in use of a resolution. */
void
copy_resolution(Resolution *to, const Resolution &from)
{
    memcpy(static_cast<void *>(to), &from,
           offsetof(Resolution, rules) + sizeof(Rule) * from.rule_count);
}

/* Hold a window and describe it; false when no reservation is free. */
bool
open_window(uint32 number, OpenWindow *open)
{
    WindowEntry &window = window_at_number(number);
    open->number = number;
    open->hold = hold_mark();
    open->escrow = &window.held.escrow;
    return hold_window(number, &window.held);
}

} // namespace

Size
meters_size()
{
    shape_table();
    Size size = MAXALIGN(sizeof(Partition) * partition_count);
    size = add_size(size, MAXALIGN(mul_size(sizeof(uint32), table_size())));
    size = add_size(size, mul_size(sizeof(Meter), table_size()));
    return add_size(size, mul_size(sizeof(WindowEntry), table_size() + 1));
}

void
initialize_meters(bool found, void *memory, LWLockPadded *locks)
{
    auto *next = static_cast<char *>(memory);

    partitions = reinterpret_cast<Partition *>(next);
    next += MAXALIGN(sizeof(Partition) * partition_count);
    buckets = reinterpret_cast<uint32 *>(next);
    next += MAXALIGN(sizeof(uint32) * table_size());
    meters = reinterpret_cast<Meter *>(next);
    next += sizeof(Meter) * table_size();
    next += TYPEALIGN(alignof(WindowEntry), reinterpret_cast<uintptr_t>(next)) -
            reinterpret_cast<uintptr_t>(next);
    windows = reinterpret_cast<WindowEntry *>(next);
    if (found)
        return;

    memset(memory, 0, meters_size());
    for (uint32 p = 0; p < partition_count; p++) {
        Partition &partition = partitions[p];
        partition.lock = &locks[p].lock;
        for (uint32 i = 0; i < partition_size; i++) {
            uint32 number = p * partition_size + i + 1;
            WindowEntry &window = window_at_number(number);
            pg_atomic_init_u64(&window.hits, 0);
            pg_atomic_init_u64(&window.waits, 0);
            pg_atomic_init_u64(&window.denials, 0);
            meter_at(number).next = partition.free_meters;
            partition.free_meters = number;
            window.next = partition.free_windows;
            partition.free_windows = number;
        }
    }
}

int
meter_lock_count()
{
    shape_table();
    return static_cast<int>(partition_count);
}

MeterKey
make_meter_key(Oid relation, const char *user_id, const char *feature)
{
    MeterKey key = {MyDatabaseId, relation, user_id, feature, hash_customer(user_id), 0};
    auto *bytes = reinterpret_cast<const unsigned char *>(feature);
    key.hash =
        hash_combine(key.customer_hash, hash_bytes(bytes, static_cast<int>(strlen(feature))));
    return key;
}

bool
find_meter(const MeterKey &key, TimestampTz now, uint64 generation, OpenMeter *open)
{
    Partition &partition = partitions[partition_of(key.hash)];
    Stamp stamp = current_stamp(key.customer_hash);
    int mark = hold_mark();
    bool found = false;

    LWLockAcquire(partition.lock, LW_SHARED);
    uint32 number = search(key);
    if (number != 0) {
        Meter &meter = meter_at(number);
        found = meter.resolved && is_valid(meter.resolution, stamp, now);
        for (int i = 0; found && i < meter.resolution.rule_count; i++) {
            uint32 window = search_window(meter, meter.resolution.rules[i]);
            found = window != 0 && window_at_number(window).state == WindowState::ready &&
                    window_at_number(window).generation == generation &&
                    open_window(window, &open->windows[i]);
        }
        if (found) {
            copy_resolution(&open->resolution, meter.resolution);
            if (!meter.recent)
                meter.recent = true;
            pg_atomic_fetch_add_u64(&window_at_number(open->windows[0].number).hits, 1);
        } else {
            release_holds(mark);
        }
    }
    LWLockRelease(partition.lock);
    return found;
}

uint32
enter_meter(const MeterKey &key, uint64 generation, bool share, OpenMeter *open)
{
    Partition &partition = partitions[partition_of(key.hash)];
    const Resolution &resolution = open->resolution;
    TimestampTz now = gate_time();
    bool table_full = false;
    bool reservations_full = false;
    uint32 to_load = 0;

    prepare_holds(resolution.rule_count);
    LWLockAcquire(partition.lock, LW_EXCLUSIVE);
    partition.misses++;
    uint32 number = make_meter(&partition, key, now);
    table_full = number == 0;
    if (!table_full && share) {
        Meter &meter = meter_at(number);
        copy_resolution(&meter.resolution, resolution);
        meter.resolved = true;
        meter.recent = true;
    }
    for (int i = 0; i < resolution.rule_count && !table_full && !reservations_full; i++) {
        uint32 window_number = make_window(&partition, number, resolution.rules[i], now);
        if (window_number == 0) {
            table_full = true;
            break;
        }
        WindowEntry &window = window_at_number(window_number);
        /*
         * A newer generation: rows were changed by hand. Whoever did so locked out everybody
         * who counts, so nothing is in flight. An older one is that of somebody who only
         * looks, for whom nothing may be read anew: others may have units in flight here.
         */
        if (window.generation < generation) {
            if (window.state == WindowState::ready) {
                window.state = WindowState::loading;
                window.incarnation++;
            }
            window.generation = generation;
        }
        if (window.state == WindowState::loading)
            to_load |= 1u << i;
        reservations_full = !open_window(window_number, &open->windows[i]);
    }
    LWLockRelease(partition.lock);
    if (reservations_full)
        too_many_reservations();
    if (table_full)
        ereport(
            ERROR,
            (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
             errmsg("too many windows of usage are in use at once"),
             errdetail("Transactions under way hold all windows of this part of shared memory."),
             errhint("Consume for fewer customers in one transaction, or raise "
                     "skene_gate.max_windows and restart the server.")));
    return to_load;
}

void
finish_load(const MeterKey &key, const OpenWindow &open, uint64 generation, int64 committed)
{
    Partition &partition = partitions[partition_of(key.hash)];
    WindowEntry &window = window_at_number(open.number);

    LWLockAcquire(partition.lock, LW_EXCLUSIVE);
    if (window.state == WindowState::loading && window.generation == generation) {
        set_committed(window.held.escrow, committed);
        window.state = WindowState::ready;
        partition.loads++;
    }
    LWLockRelease(partition.lock);
}

void
count_wait(uint32 number)
{
    pg_atomic_fetch_add_u64(&window_at_number(number).waits, 1);
}

void
count_denial(uint32 number)
{
    pg_atomic_fetch_add_u64(&window_at_number(number).denials, 1);
}

uint32
window_table_size()
{
    return table_size();
}

bool
see_window(uint32 number, SeenWindow *seen)
{
    LWLock *lock;
    bool mine = false;

    if (number == 0 || number > table_size())
        return false;
    lock = partitions[(number - 1) / partition_size].lock;
    LWLockAcquire(lock, LW_SHARED);
    const WindowEntry &window = window_at_number(number);
    if (window.state != WindowState::free) {
        const Meter &meter = meter_at(window.meter);
        mine = meter.database == MyDatabaseId;
        seen->relation = meter.relation;
        strlcpy(seen->user_id, meter.user_id, sizeof(seen->user_id));
        strlcpy(seen->feature, meter.feature, sizeof(seen->feature));
        strlcpy(seen->period, window.period, sizeof(seen->period));
        seen->start = window.start;
        seen->end = window.end;
        seen->ready = window.state == WindowState::ready;
        seen->generation = window.generation;
        seen->incarnation = window.incarnation;
        seen->lo = window.held.escrow.lo.load();
        seen->hi = window.held.escrow.hi.load();
        seen->refs = window.held.refs.load();
        seen->hits = pg_atomic_read_u64(const_cast<pg_atomic_uint64 *>(&window.hits));
        seen->waits = pg_atomic_read_u64(const_cast<pg_atomic_uint64 *>(&window.waits));
        seen->denials = pg_atomic_read_u64(const_cast<pg_atomic_uint64 *>(&window.denials));
    }
    LWLockRelease(lock);
    return mine;
}

MeterStatistics
meter_statistics()
{
    MeterStatistics sum = {};
    for (uint32 p = 0; p < partition_count; p++) {
        LWLockAcquire(partitions[p].lock, LW_SHARED);
        sum.loads += partitions[p].loads;
        sum.evictions += partitions[p].evictions;
        sum.misses += partitions[p].misses;
        LWLockRelease(partitions[p].lock);
    }
    return sum;
}

} // namespace skene
