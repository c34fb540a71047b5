/*
 * meters.hpp: counters in shared memory. A meter is one customer's one feature: how it
 * was resolved last, and its windows, each with its counter.
 *
 * Invariants: a counter that is ready equals the committed rows of its window plus what
 * is in flight; only a window that nobody holds is evicted; a resolution is used only
 * under the stamp it was made with. A full table evicts or raises, and never lets
 * anything be counted outside of it.
 */
#pragma once

#include "engine/reservations.hpp"
#include "engine/resolution.hpp"

namespace skene
{

struct MeterKey {
    Oid database;
    Oid relation; /* skene.usage_events: another one after DROP and CREATE EXTENSION */
    const char *user_id;
    const char *feature;
    uint32 customer_hash;
    uint32 hash;
};

/* A window that this transaction holds. */
struct OpenWindow {
    uint32 number;
    int hold; /* index of the hold */
    Escrow *escrow;
};

/* What find_meter and enter_meter give: a resolution, and its windows, held. */
struct OpenMeter {
    Resolution resolution;
    OpenWindow windows[max_rules]; /* one for each rule */
};

/* Shared memory of this room. */
Size meters_size();
void initialize_meters(bool found, void *memory, LWLockPadded *locks);
int meter_lock_count();

MeterKey make_meter_key(Oid relation, const char *user_id, const char *feature);

/*
 * The warm path: copy the resolution and hold its windows, if it is valid at now and
 * all of them are ready; false, holding nothing, if not. Call prepare_holds first.
 */
bool find_meter(const MeterKey &key, TimestampTz now, uint64 generation, OpenMeter *open);

/*
 * Make the windows of open->resolution and hold them; keep the resolution for others
 * if share. Returns a bit for each window whose counter must be loaded first. Raises
 * 53400 when the table or the reservations are exhausted.
 */
uint32 enter_meter(const MeterKey &key, uint64 generation, bool share, OpenMeter *open);

/*
 * Set the counter of a held window to what its rows say, unless somebody else did so
 * first: nobody can reserve before, so both have read the same. Does nothing when the
 * generation is another by now: then the rows were read too early.
 */
void finish_load(const MeterKey &key, const OpenWindow &window, uint64 generation, int64 committed);

/* Statistics of a window: one more wait, one more denial. */
void count_wait(uint32 number);
void count_denial(uint32 number);

/* A copy of a window for views and the auditor. */
struct SeenWindow {
    Oid relation;
    char user_id[max_user_id_bytes + 1];
    char feature[max_name_bytes + 1];
    char period[max_period_bytes + 1];
    TimestampTz start;
    TimestampTz end;
    bool ready;
    uint64 generation;  /* that its counter was read under */
    uint64 incarnation; /* another one after every load */
    int64 hi;
    int64 lo;
    uint32 refs;
    uint64 hits;
    uint64 waits;
    uint64 denials;
};

/* Copy window number (1 to window_table_size()) if it is in use by this database. */
uint32 window_table_size();
bool see_window(uint32 number, SeenWindow *seen);

struct MeterStatistics {
    uint64 misses;
    uint64 loads;
    uint64 evictions;
};
MeterStatistics meter_statistics();

} // namespace skene
