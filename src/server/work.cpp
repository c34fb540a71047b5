/*
 * work.cpp: beginning and ending a worker's transactions.
 *
 * Invariant: whatever runs between begin_work and end_work finds the extension's
 * objects, for DROP EXTENSION waits for it; and it runs as their owner, never as
 * the superuser that a background worker is.
 */
#include "server/work.hpp"

namespace skene
{

namespace
{

struct Extension {
    Oid oid;
    Oid owner;
    bool version_matches;
};

/* The version of the SQL objects that this library works with. */
constexpr const char *sql_version = "1.0";

/* Read our row of pg_extension; false when there is none. */
bool
read_extension(Extension *extension)
{
    ScanKeyData key;
    bool is_null;

    Relation relation = table_open(ExtensionRelationId, AccessShareLock);
    ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
                CStringGetDatum("skene_gate"));
    SysScanDesc scan = systable_beginscan(relation, ExtensionNameIndexId, true, nullptr, 1, &key);
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        auto *row = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple));
        Datum version =
            heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(relation), &is_null);
        extension->oid = row->oid;
        extension->owner = row->extowner;
        extension->version_matches =
            !is_null && strcmp(TextDatumGetCString(version), sql_version) == 0;
    }
    systable_endscan(scan);
    table_close(relation, AccessShareLock);
    return HeapTupleIsValid(tuple);
}

/*
 * Find the extension and lock it against DROP until the end of the transaction;
 * false when it is not there.
 */
bool
lock_extension(Extension *extension)
{
    if (!read_extension(extension))
        return false;
    LockDatabaseObject(ExtensionRelationId, extension->oid, 0, AccessShareLock);
    /* it may have gone while we waited for the lock */
    Oid locked = extension->oid;
    return read_extension(extension) && extension->oid == locked;
}

/* End because the extension is not here (any more). */
[[noreturn]] void
leave_database()
{
    set_worker_state(WorkerState::absent);
    proc_exit(0);
}

} // namespace

void
begin_work(WorkScope *scope)
{
    Extension extension;

    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    if (!lock_extension(&extension)) {
        AbortCurrentTransaction();
        leave_database();
    }
    if (!extension.version_matches)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("skene_gate's SQL objects and library have different versions"),
                        errhint("Run ALTER EXTENSION skene_gate UPDATE, or restart the server with "
                                "the matching library.")));
    pgstat_report_activity(STATE_RUNNING, "skene_gate");
    PushActiveSnapshot(GetTransactionSnapshot());
    enter_owner(&scope->owner, extension.owner);
}

void
end_work(WorkScope *scope)
{
    leave_owner(&scope->owner);
    PopActiveSnapshot();
    CommitTransactionCommand();
    pgstat_report_stat(false);
    pgstat_report_activity(STATE_IDLE, nullptr);
}

ErrorData *
run_guarded(void (*step)(const void *argument), const void *argument)
{
    MemoryContext context = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;
    ErrorData *volatile error = nullptr;

    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(context);
    PG_TRY();
    {
        step(argument);
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context);
        CurrentResourceOwner = owner;
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        error = CopyErrorData();
        FlushErrorState();
        RollbackAndReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context);
        CurrentResourceOwner = owner;
    }
    PG_END_TRY();
    return error;
}

void
set_worker_state(WorkerState state)
{
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    find_slot(MyDatabaseId)->state = state;
    LWLockRelease(shared->lock);
}

void
report_success()
{
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    find_slot(MyDatabaseId)->last_success_at = GetCurrentTimestamp();
    LWLockRelease(shared->lock);
}

void
report_error(const char *message)
{
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    WorkerSlot *slot = find_slot(MyDatabaseId);
    slot->last_error_at = GetCurrentTimestamp();
    strlcpy(slot->last_error, message, sizeof(slot->last_error));
    LWLockRelease(shared->lock);
}

} // namespace skene
