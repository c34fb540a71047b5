/*
 * meter_table.hpp: the table of meters and windows in shared memory. For meters.cpp.
 *
 * It is divided into partitions, each with a lock, buckets and entries of its own, so that
 * nobody ever needs two locks. Entries are numbered from 1 through all partitions; 0 is
 * none. Everything but counters, references and statistics is guarded by the partition's
 * lock; nothing raises while one is held.
 */
#pragma once

#include "engine/meters.hpp"

namespace skene
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

/*
 * A meter and a window of the same number lie side by side: most meters have one window,
 * which the lists of free ones then give them, and a call touches one page less.
 */
struct Entry {
    WindowEntry window;
    Meter meter;
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

extern Partition *partitions;
extern Entry *entries;
extern uint32 partition_count; /* a power of two */
extern uint32 partition_size;  /* entries of each */

inline Meter &
meter_at(uint32 number)
{
    return entries[number - 1].meter;
}

inline WindowEntry &
window_at_number(uint32 number)
{
    return entries[number - 1].window;
}

/* Entries in all partitions. */
inline uint32
table_size()
{
    return partition_count * partition_size;
}

inline uint32
partition_number(uint32 hash)
{
    return hash & (partition_count - 1);
}

inline Partition &
partition_of(const MeterKey &key)
{
    return partitions[partition_number(key.hash)];
}

inline bool
is_held(const WindowEntry &window)
{
    return window.held.refs.load(std::memory_order_acquire) != 0;
}

/* The meter's number, or 0. */
uint32 search_meter(const MeterKey &key);

/* The number of a meter's window, or 0. */
uint32 search_window(const Meter &meter, const Rule &rule);

/*
 * Find or make the meter, or a window of it, evicting others that nobody holds; 0 when
 * there is no room. The partition's lock is held exclusively.
 */
uint32 make_meter(Partition *partition, const MeterKey &key, TimestampTz now);
uint32 make_window(Partition *partition, uint32 meter_number, const Rule &rule, TimestampTz now);

} // namespace skene
