/*
 * meter_table.cpp: finding, making and evicting entries.
 *
 * Invariant: only a window that nobody holds is evicted, and nobody begins to hold one
 * without the partition's lock.
 */
#include "engine/meter_table.hpp"

#include "settings/settings.hpp"

namespace skene
{

Partition *partitions = nullptr;
Entry *entries = nullptr;
uint32 partition_count = 0;
uint32 partition_size = 0;

namespace
{

constexpr uint32 max_partitions = 64;

uint32 *buckets = nullptr;

/* The table's shape follows from max_windows alone. */
void
shape_table()
{
    partition_count = 1;
    while (partition_count < max_partitions &&
           static_cast<uint32>(max_windows) / (2 * partition_count) >= 256)
        partition_count *= 2;
    partition_size = (static_cast<uint32>(max_windows) + partition_count - 1) / partition_count;
}

uint32 *
bucket_of(uint32 hash)
{
    return &buckets[partition_number(hash) * partition_size +
                    (hash / max_partitions) % partition_size];
}

bool
has_key(const Meter &meter, const MeterKey &key)
{
    return meter.hash == key.hash && meter.relation == key.relation &&
           meter.database == key.database && strcmp(meter.user_id, key.user_id) == 0 &&
           strcmp(meter.feature, key.feature) == 0;
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

} // namespace

uint32
search_meter(const MeterKey &key)
{
    uint32 number = *bucket_of(key.hash);
    while (number != 0 && !has_key(meter_at(number), key))
        number = meter_at(number).next;
    return number;
}

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

uint32
make_meter(Partition *partition, const MeterKey &key, TimestampTz now)
{
    uint32 number = search_meter(key);
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

Size
meters_size()
{
    shape_table();
    Size size = MAXALIGN(sizeof(Partition) * partition_count);
    size = add_size(size, MAXALIGN(mul_size(sizeof(uint32), table_size())));
    return add_size(size, mul_size(sizeof(Entry), table_size() + 1));
}

void
initialize_meters(bool found, void *memory, LWLockPadded *locks)
{
    auto *next = static_cast<char *>(memory);

    partitions = reinterpret_cast<Partition *>(next);
    next += MAXALIGN(sizeof(Partition) * partition_count);
    buckets = reinterpret_cast<uint32 *>(next);
    next += MAXALIGN(sizeof(uint32) * table_size());
    next += TYPEALIGN(alignof(Entry), reinterpret_cast<uintptr_t>(next)) -
            reinterpret_cast<uintptr_t>(next);
    entries = reinterpret_cast<Entry *>(next);
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

} // namespace skene
