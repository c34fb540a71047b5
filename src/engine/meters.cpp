/*
 * meters.cpp: opening meters, warm or to be loaded, and looking at them.
 */
#include "engine/meters.hpp"

#include "engine/meter_table.hpp"
#include "server/clock.hpp"
#include "server/text.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

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

MeterKey
make_meter_key(Oid relation, const char *user_id, const char *feature)
{
    MeterKey key = {MyDatabaseId, relation, user_id, feature, hash_customer(user_id), 0};
    key.hash = hash_combine(key.customer_hash, hash_text(feature));
    return key;
}

bool
find_meter(const MeterKey &key, TimestampTz now, uint64 generation, OpenMeter *open)
{
    Partition &partition = partition_of(key);
    Stamp stamp = current_stamp(key.customer_hash);
    int mark = hold_mark();
    bool found = false;

    LWLockAcquire(partition.lock, LW_SHARED);
    uint32 number = search_meter(key);
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
    Partition &partition = partition_of(key);
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
    Partition &partition = partition_of(key);
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
