/*
 * shared.cpp: set up of shared memory, and waking workers from any backend.
 *
 * Wakes are hints sent from the commit callback, which must neither fail nor
 * wait: it reads atomics and sets latches, nothing else.
 */
#include "server/shared.hpp"

#include "engine/engine.hpp"
#include "gate/denials.hpp"
#include "outbox/account.hpp"
#include "settings/settings.hpp"

namespace skene
{

Shared *shared = nullptr;

namespace
{

shmem_request_hook_type previous_request_hook = nullptr;
shmem_startup_hook_type previous_startup_hook = nullptr;

/* What the current transaction wants done at commit. */
struct PendingWake {
    Oid database;
    uint32 reasons;
};
constexpr int max_pending_wakes = 4;
PendingWake pending_wakes[max_pending_wakes];
int pending_wake_count = 0;
bool pending_rescan = false;
bool pending_install = false;

constexpr int own_locks = 3; /* of Shared; the engine's follow */

void
request_hook()
{
    if (previous_request_hook)
        previous_request_hook();
    RequestAddinShmemSpace(MAXALIGN(sizeof(Shared)));
    RequestAddinShmemSpace(denials_size());
    RequestAddinShmemSpace(delivery_size());
    RequestAddinShmemSpace(engine_size());
    RequestNamedLWLockTranche("skene_gate", own_locks + engine_lock_count());
}

void
startup_hook()
{
    bool found;

    if (previous_startup_hook)
        previous_startup_hook();

    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    shared = static_cast<Shared *>(ShmemInitStruct("skene_gate", sizeof(Shared), &found));
    if (!found) {
        LWLockPadded *locks = GetNamedLWLockTranche("skene_gate");
        memset(static_cast<void *>(shared), 0, sizeof(Shared));
        shared->lock = &locks[0].lock;
        shared->notes_lock = &locks[1].lock;
        shared->delivery_lock = &locks[2].lock;
        pg_atomic_init_u32(&shared->launcher_proc, 0);
        pg_atomic_init_u32(&shared->rescan, 0);
        pg_atomic_init_u32(&shared->installed, InvalidOid);
        pg_atomic_init_u64(&shared->notes_lost, 0);
        for (WorkerSlot &slot : shared->slots) {
            pg_atomic_init_u32(&slot.database, InvalidOid);
            pg_atomic_init_u32(&slot.worker_proc, 0);
            pg_atomic_init_u32(&slot.reasons, 0);
            pg_atomic_init_u32(&slot.bars, 0);
            pg_atomic_init_u64(&slot.denials_dropped, 0);
        }
    }
    initialize_denials();
    initialize_delivery();
    initialize_engine(GetNamedLWLockTranche("skene_gate") + own_locks);
    LWLockRelease(AddinShmemInitLock);
}

/* Set the latch of a process by its number + 1; a stale number wakes somebody for nothing. */
void
set_latch_of(uint32 proc_plus_one)
{
    if (proc_plus_one != 0)
        SetLatch(&ProcGlobal->allProcs[proc_plus_one - 1].procLatch);
}

/* Tell the launcher that this database has the extension, which it may remember otherwise. */
void
announce_installation()
{
    uint32 none = InvalidOid;
    if (!pg_atomic_compare_exchange_u32(&shared->installed, &none, MyDatabaseId))
        pg_atomic_write_u32(&shared->installed, several_databases);
}

void
at_transaction_end(XactEvent event, void *)
{
    if (event == XACT_EVENT_PRE_PREPARE && pending_install)
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("cannot PREPARE a transaction that has created extension skene_gate"),
                 errdetail("COMMIT PREPARED would not tell the launcher to start a worker."),
                 errhint("Create the extension in a transaction of its own.")));
    if (event == XACT_EVENT_COMMIT) {
        for (int i = 0; i < pending_wake_count; i++) {
            WorkerSlot *slot = find_slot(pending_wakes[i].database);
            if (slot)
                wake_worker(slot, pending_wakes[i].reasons);
        }
        if (pending_install)
            announce_installation();
        if (pending_rescan) {
            pg_atomic_write_u32(&shared->rescan, 1);
            wake_launcher();
        }
    }
    /* a prepared transaction's wakes are left to the worker's safety poll */
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE) {
        pending_wake_count = 0;
        pending_rescan = pending_install = false;
    }
}

} // namespace

void
request_shared_memory()
{
    previous_request_hook = shmem_request_hook;
    shmem_request_hook = request_hook;
    previous_startup_hook = shmem_startup_hook;
    shmem_startup_hook = startup_hook;
    RegisterXactCallback(at_transaction_end, nullptr);
    watch_transactions();
}

void
require_preload()
{
    if (likely(shared))
        return;
    const char *others = shared_preload_libraries_string;
    bool alone = !others || others[0] == '\0';
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("skene_gate must be loaded via shared_preload_libraries"),
                    errhint("Add this line to postgresql.conf and restart the server: "
                            "shared_preload_libraries = '%s%sskene_gate'",
                            alone ? "" : others, alone ? "" : ", ")));
}

WorkerSlot *
find_slot(Oid database)
{
    for (WorkerSlot &slot : shared->slots) {
        if (pg_atomic_read_u32(&slot.database) == database)
            return &slot;
    }
    return nullptr;
}

WorkerSlot *
claim_slot(Oid database)
{
    WorkerSlot *slot;

    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    slot = find_slot(database);
    if (!slot) {
        slot = find_slot(InvalidOid);
        if (slot) {
            slot->state = WorkerState::wanted;
            slot->pid = 0;
            /* not bars: whoever dropped the slot's last database is about to lower its own */
            slot->failures = 0;
            slot->next_start = 0;
            slot->started_at = slot->last_success_at = slot->last_error_at = 0;
            slot->last_error[0] = '\0';
            forget_desks(static_cast<int>(slot - shared->slots));
            pg_atomic_write_u32(&slot->reasons, 0);
            pg_atomic_write_u64(&slot->denials_dropped, 0);
            pg_atomic_write_u32(&slot->worker_proc, 0);
            pg_atomic_write_u32(&slot->database, database);
        }
    }
    LWLockRelease(shared->lock);
    return slot;
}

void
free_slot(WorkerSlot *slot)
{
    slot->state = WorkerState::absent;
    pg_atomic_write_u32(&slot->database, InvalidOid);
}

void
wake_worker(WorkerSlot *slot, uint32 reasons)
{
    /* the common case leaves the cache line alone */
    if ((pg_atomic_read_u32(&slot->reasons) & reasons) == reasons)
        return;
    uint32 before = pg_atomic_fetch_or_u32(&slot->reasons, reasons);
    if ((before & reasons) != reasons)
        set_latch_of(pg_atomic_read_u32(&slot->worker_proc));
}

void
wake_launcher()
{
    set_latch_of(pg_atomic_read_u32(&shared->launcher_proc));
}

void
wake_at_commit(Oid database, uint32 reasons)
{
    if (!shared)
        return;
    for (int i = 0; i < pending_wake_count; i++) {
        if (pending_wakes[i].database == database) {
            pending_wakes[i].reasons |= reasons;
            return;
        }
    }
    if (pending_wake_count < max_pending_wakes)
        pending_wakes[pending_wake_count++] = {database, reasons};
}

void
rescan_at_commit(bool installed)
{
    pending_rescan = shared != nullptr;
    pending_install = pending_install || installed;
}

} // namespace skene
