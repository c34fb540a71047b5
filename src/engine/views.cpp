/*
 * views.cpp: looking into the engine's shared memory: skene.windows, statistics, and
 * the auditor that compares counters with the tables.
 */
#include "engine/events.hpp"
#include "server/extension.hpp"
#include "server/owner.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

/*
 * Copy a window if it is of the extension that is installed now, and would be used as it
 * is: after a change of rows by hand a counter is read anew when it is needed next.
 */
bool
see_current_window(uint32 number, SeenWindow *seen)
{
    return see_window(number, seen) && seen->ready && seen->relation == events_relation() &&
           seen->generation == usage_generation();
}

/*
 * Can the counter be what the tables say? lo and hi move while we look, so they are read
 * before and after the rows.
 */
bool
agrees(const SeenWindow &before, int64 counted, const SeenWindow &after)
{
    return counted >= Min(before.lo, after.lo) && counted <= Max(before.hi, after.hi);
}

/* Compare one window; true when it agrees, or is another one by now. */
bool
audit_window(Oid function, uint32 number, const SeenWindow &before, int64 *counted,
             SeenWindow *after)
{
    Rule rule = {};
    OwnerScope scope;
    uint64 generation = usage_generation();

    strlcpy(rule.period, before.period, sizeof(rule.period));
    rule.start = before.start;
    enter_owner(&scope, owner_of_function(function));
    *counted = read_units(before.user_id, before.feature, rule, latest_snapshot());
    leave_owner(&scope);
    if (!see_current_window(number, after) || after->incarnation != before.incarnation ||
        usage_generation() != generation)
        return true;
    return agrees(before, *counted, *after);
}

} // namespace

SKENE_FUNCTION(skene_cached_windows)
{
    auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    SeenWindow seen;

    require_extension();
    InitMaterializedSRF(fcinfo, 0);
    for (uint32 number = 1; number <= window_table_size(); number++) {
        if (!see_current_window(number, &seen))
            continue;
        Datum values[] = {CStringGetTextDatum(seen.user_id),
                          CStringGetTextDatum(seen.feature),
                          CStringGetTextDatum(seen.period),
                          TimestampTzGetDatum(seen.start),
                          TimestampTzGetDatum(seen.end),
                          Int64GetDatum(seen.lo),
                          Int64GetDatum(seen.hi),
                          Int32GetDatum(static_cast<int32>(seen.refs)),
                          Int64GetDatum(static_cast<int64>(seen.hits)),
                          Int64GetDatum(static_cast<int64>(seen.waits)),
                          Int64GetDatum(static_cast<int64>(seen.denials))};
        bool nulls[lengthof(values)] = {};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return (Datum) 0;
}

SKENE_FUNCTION(skene_window_stats)
{
    auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    int64 windows = 0;
    uint64 hits = 0;
    uint64 waits = 0;
    uint64 denials = 0;
    SeenWindow seen;

    require_extension();
    InitMaterializedSRF(fcinfo, 0);
    for (uint32 number = 1; number <= window_table_size(); number++) {
        if (!see_current_window(number, &seen))
            continue;
        windows++;
        hits += seen.hits;
        waits += seen.waits;
        denials += seen.denials;
    }
    MeterStatistics sum = meter_statistics();
    Datum values[] = {Int64GetDatum(windows),
                      Int64GetDatum(max_windows),
                      Int64GetDatum(static_cast<int64>(hits)),
                      Int64GetDatum(static_cast<int64>(sum.misses)),
                      Int64GetDatum(static_cast<int64>(sum.loads)),
                      Int64GetDatum(static_cast<int64>(sum.evictions)),
                      Int64GetDatum(static_cast<int64>(waits)),
                      Int64GetDatum(static_cast<int64>(denials)),
                      Int64GetDatum(count_reservations()),
                      Int64GetDatum(max_reservations)};
    bool nulls[lengthof(values)] = {};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    return (Datum) 0;
}

SKENE_FUNCTION(skene_audit_windows)
{
    auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    constexpr int attempts = 5; /* a counter that moves fast may be misread */
    SeenWindow seen;

    require_extension();
    InitMaterializedSRF(fcinfo, 0);
    for (uint32 number = 1; number <= window_table_size(); number++) {
        SeenWindow after = {};
        int64 counted = 0;
        bool fine = false;

        CHECK_FOR_INTERRUPTS();
        for (int i = 0; i < attempts && !fine; i++) {
            fine = !see_current_window(number, &seen) ||
                   audit_window(fcinfo->flinfo->fn_oid, number, seen, &counted, &after);
        }
        if (fine)
            continue;
        Datum values[] = {CStringGetTextDatum(seen.user_id),     CStringGetTextDatum(seen.feature),
                          CStringGetTextDatum(seen.period),      TimestampTzGetDatum(seen.start),
                          Int64GetDatum(Min(seen.lo, after.lo)), Int64GetDatum(counted),
                          Int64GetDatum(Max(seen.hi, after.hi))};
        bool nulls[lengthof(values)] = {};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return (Datum) 0;
}

} // namespace skene
