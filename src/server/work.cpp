/*
 * work.cpp: beginning and ending a worker's transactions.
 *
 * Invariant: whatever runs between begin_work and end_work finds the extension's
 * objects, for DROP EXTENSION waits for it; and it runs as their owner, never as
 * the superuser that a background worker is.
 */
#include "server/work.hpp"

#include "server/extension.hpp"

namespace skene
{

namespace
{

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

/* End because the SQL objects are not ours to use; their update brings a worker back. */
[[noreturn]] void
stand_aside(const char *version)
{
    report_error(describe_version(version));
    report_version(WARNING, version);
    AbortCurrentTransaction();
    set_worker_state(WorkerState::incompatible);
    proc_exit(0);
}

} // namespace

void
begin_work(WorkScope *scope)
{
    Extension extension;

    scope->context = CurrentMemoryContext;
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    if (!lock_extension(&extension)) {
        AbortCurrentTransaction();
        leave_database();
    }
    if (!supports_version(extension.version))
        stand_aside(extension.version);
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
    /* before 18 a commit leaves us in TopMemoryContext, where nothing is ever freed */
    MemoryContextSwitchTo(scope->context);
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

bool
may_pass(int sqlerrcode)
{
    switch (ERRCODE_TO_CATEGORY(sqlerrcode)) {
    case ERRCODE_INVALID_TRANSACTION_STATE: /* the database is set to read only */
    case ERRCODE_TRANSACTION_ROLLBACK:
    case ERRCODE_INSUFFICIENT_RESOURCES:
    case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE: /* lock_timeout */
    case ERRCODE_OPERATOR_INTERVENTION:
        return true;
    default:
        return false;
    }
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
