/*
 * opening.cpp: the warm path into shared memory and the cold one through the tables.
 *
 * Order on the cold path: epochs -> snapshot -> resolution; window in shared memory ->
 * later snapshot -> its units. What is shared was therefore read after anything could
 * change it without being noticed.
 */
#include "gate/opening.hpp"

#include "engine/events.hpp"
#include "gate/entitlement.hpp"
#include "server/clock.hpp"
#include "server/owner.hpp"

namespace skene
{

namespace
{

/* Begin a try at a call, which is answered as of now. */
void
start_afresh(Call *call)
{
    call->now = gate_time();
    call->anchor = DT_NOEND;
    call->alone = false;
}

/* Read the units of windows that are new in shared memory. */
void
load_windows(const Call &call, uint64 generation, uint32 to_load, bool counting)
{
    const Resolution &resolution = call.open.resolution;

    for (int i = 0; i < resolution.rule_count; i++) {
        if (!(to_load & (1u << i)))
            continue;
        Snapshot snapshot = counting ? latest_snapshot() : GetLatestSnapshot();
        int64 units =
            read_units(call.request.user_id, call.request.feature, resolution.rules[i], snapshot);
        finish_load(call.key, call.open.windows[i], generation, units);
    }
}

/*
 * Resolve from the tables under a snapshot taken here (null: the active one); true if the
 * customer has a row.
 */
bool
resolve(Call *call, Snapshot (*take_snapshot)(), bool counting)
{
    CustomerState customer;
    /* before the snapshot: a change between the two must not go unnoticed */
    Stamp stamp = current_stamp(call->key.customer_hash);
    Snapshot snapshot = take_snapshot ? take_snapshot() : InvalidSnapshot;

    resolve_entitlement(call->request.user_id, call->request.feature, &call->now, snapshot,
                        counting, &call->open.resolution, &customer);
    call->open.resolution.stamp = stamp;
    call->anchor = customer.has_row ? DT_NOEND : customer.anchor;
    return customer.has_row;
}

/* Does shared memory say what this transaction sees? */
bool
memory_serves(const Call &call)
{
    return !RecoveryInProgress() && !changed_here(call.key.customer_hash) && !usage_changed_here();
}

/* Read the open windows; false if rows were changed by hand while they were filled or read. */
bool
read_windows(const Call &call, uint64 generation, int64 *used)
{
    for (int i = 0; i < call.open.resolution.rule_count; i++)
        used[i] = used_in(call, i);
    return usage_generation() == generation;
}

/* Look at the tables under the active snapshot. */
void
look_at_tables(Call *call, int64 *used)
{
    OwnerScope scope;

    enter_owner(&scope, owner_of_function(call->request.function));
    (void) resolve(call, nullptr, false);
    for (int i = 0; i < call->open.resolution.rule_count; i++)
        used[i] = read_units(call->request.user_id, call->request.feature,
                             call->open.resolution.rules[i], InvalidSnapshot);
    leave_owner(&scope);
}

/*
 * Fill shared memory for a look; false when the customer has no row yet, so that its
 * windows are not to be kept.
 */
bool
open_for_look(Call *call, uint64 generation)
{
    OwnerScope scope;

    enter_owner(&scope, owner_of_function(call->request.function));
    bool share = resolve(call, GetLatestSnapshot, false);
    if (share)
        load_windows(*call, generation, enter_meter(call->key, generation, true, &call->open),
                     false);
    leave_owner(&scope);
    return share;
}

/*
 * Counters in shared memory don't know what this transaction did to the rows. Until it
 * ends nobody else counts, so the rows it sees are the truth. The lock is taken again,
 * for a rollback to a savepoint may have released it.
 */
void
open_alone(Call *call)
{
    OwnerScope scope;

    LockRelationOid(call->key.relation, ShareRowExclusiveLock);
    enter_owner(&scope, owner_of_function(call->request.function));
    (void) resolve(call, latest_snapshot, true);
    for (int i = 0; i < call->open.resolution.rule_count; i++)
        call->units[i] = read_units(call->request.user_id, call->request.feature,
                                    call->open.resolution.rules[i], latest_snapshot());
    leave_owner(&scope);
}

} // namespace

void
begin_call(Call *call, const Request &request)
{
    call->request = request;
    call->key = make_meter_key(events_relation(), request.user_id, request.feature);
    call->mark = hold_mark();
    call->looked = false;
}

void
open_for_counting(Call *call)
{
    lock_events(call->key.relation);
    uint64 generation = usage_generation();
    bool private_view = changed_here(call->key.customer_hash);
    bool is_open = call->looked && call->generation == generation;
    OwnerScope scope;

    call->looked = false;
    if (is_open)
        return;
    release_holds(call->mark);
    prepare_holds(max_rules);
    start_afresh(call);
    call->alone = usage_changed_here();
    if (call->alone) {
        open_alone(call);
        return;
    }
    if (!private_view && find_meter(call->key, call->now, generation, &call->open))
        return;
    enter_owner(&scope, owner_of_function(call->request.function));
    bool share = resolve(call, latest_snapshot, true) && !private_view;
    SKENE_INJECTION_POINT("resolved");
    uint32 to_load = enter_meter(call->key, generation, share, &call->open);
    SKENE_INJECTION_POINT("entered");
    load_windows(*call, generation, to_load, true);
    SKENE_INJECTION_POINT("loaded");
    leave_owner(&scope);
}

int64
used_in(const Call &call, int rule)
{
    if (call.alone)
        return call.units[rule];
    const OpenWindow &window = call.open.windows[rule];
    return used_by(*window.escrow, own_use(window.number));
}

bool
look_in_memory(Call *call, int64 *used)
{
    if (!memory_serves(*call))
        return false;
    prepare_holds(max_rules);
    start_afresh(call);
    call->generation = usage_generation();
    call->looked = find_meter(call->key, call->now, call->generation, &call->open) &&
                   read_windows(*call, call->generation, used);
    return call->looked;
}

void
look_at_windows(Call *call, int64 *used)
{
    bool read;

    start_afresh(call);
    if (!memory_serves(*call)) {
        look_at_tables(call, used);
        return;
    }
    prepare_holds(max_rules);
    do {
        CHECK_FOR_INTERRUPTS();
        uint64 generation = usage_generation();
        /* there are no latest snapshots in parallel mode */
        if (!find_meter(call->key, call->now, generation, &call->open) &&
            (IsInParallelMode() || !open_for_look(call, generation))) {
            look_at_tables(call, used);
            return;
        }
        read = read_windows(*call, generation, used);
        release_holds(call->mark);
    } while (!read);
}

} // namespace skene
