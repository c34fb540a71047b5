/*
 * status.cpp: skene.worker_slots(), the workers as shared memory knows them.
 */
#include "gate/denials.hpp"
#include "server/shared.hpp"

namespace skene
{

namespace
{

const char *
state_name(WorkerSlot &slot)
{
    if (pg_atomic_read_u32(&slot.bars) != 0)
        return "barred";
    switch (slot.state) {
    case WorkerState::wanted:
        return "wanted";
    case WorkerState::starting:
        return "starting";
    case WorkerState::running:
        return "running";
    case WorkerState::failed:
        return "failed";
    case WorkerState::incompatible:
        return "incompatible";
    default:
        return "absent";
    }
}

} // namespace

SKENE_FUNCTION(skene_worker_slots)
{
    enum {
        database_oid,
        pid,
        state,
        started_at,
        last_success_at,
        last_error,
        last_error_at,
        note_count,
        notes_lost,
        denials_dropped,
        column_count
    };
    auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);

    require_preload();
    InitMaterializedSRF(fcinfo, 0);
    for (WorkerSlot &slot : shared->slots) {
        Datum values[column_count] = {};
        bool nulls[column_count] = {};

        LWLockAcquire(shared->lock, LW_SHARED);
        WorkerSlot seen = slot;
        LWLockRelease(shared->lock);
        Oid database = pg_atomic_read_u32(&seen.database);
        if (!OidIsValid(database))
            continue;
        values[database_oid] = ObjectIdGetDatum(database);
        values[pid] = Int32GetDatum(seen.pid);
        nulls[pid] = seen.pid == 0;
        values[state] = CStringGetTextDatum(state_name(seen));
        values[started_at] = TimestampTzGetDatum(seen.started_at);
        nulls[started_at] = seen.started_at == 0;
        values[last_success_at] = TimestampTzGetDatum(seen.last_success_at);
        nulls[last_success_at] = seen.last_success_at == 0;
        nulls[last_error] = seen.last_error[0] == '\0';
        if (!nulls[last_error])
            values[last_error] = CStringGetTextDatum(seen.last_error);
        values[last_error_at] = TimestampTzGetDatum(seen.last_error_at);
        nulls[last_error_at] = seen.last_error_at == 0;
        values[note_count] = Int32GetDatum(count_notes(database));
        values[notes_lost] = Int64GetDatum(pg_atomic_read_u64(&shared->notes_lost));
        values[denials_dropped] =
            Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&seen.denials_dropped)));
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return (Datum) 0;
}

} // namespace skene
