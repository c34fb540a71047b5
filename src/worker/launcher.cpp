/*
 * launcher.cpp: starting and restarting workers.
 *
 *            CREATE or ALTER EXTENSION commits
 *   absent ------------------------------------------------> wanted <-- scan finds database
 *     ^                                                        | register
 *     | no extension here                                      v
 *     +------------------------------------------------- starting
 *     |                                                        | connected, extension found
 *     | extension dropped                                      v
 *     +--------------------------------------------------- running
 *     (incompatible in place of absent: its SQL objects are of another version)
 *                        wanted/failed <-- exit (backoff) ----+
 *
 * Slots are for databases with the extension, and a few at a time for others, which their
 * workers look into once: one without it gives its slot back, and is not looked into again
 * before the extension is installed there.
 *
 * The launcher connects to no database and runs only after recovery, so a standby
 * has no workers until it is promoted. A worker tells of its exit by clearing its
 * pid in the slot and setting the launcher's latch.
 */
#include "worker/launcher.hpp"

#include "gate/denials.hpp"
#include "server/shared.hpp"

namespace skene
{

namespace
{

constexpr int64 scan_interval_ms = 5 * 60 * 1000;
constexpr int64 retry_registration_ms = 30 * 1000;
constexpr int max_starting = 2;

BackgroundWorkerHandle *handles[max_databases];
bool registration_failed = false;

List *without_extension = NIL; /* databases, as their workers saw them */
bool not_looked_into = false;  /* does a database wait for a slot? */

void
release_launcher(int, Datum)
{
    pg_atomic_write_u32(&shared->launcher_proc, 0);
}

/* Count the slots in a state; free ones are absent. */
int
count_slots(WorkerState state)
{
    int count = 0;
    LWLockAcquire(shared->lock, LW_SHARED);
    for (const WorkerSlot &slot : shared->slots)
        count += slot.state == state;
    LWLockRelease(shared->lock);
    return count;
}

/* How many more databases may be given a slot to be looked into. */
int
room_to_look()
{
    return max_starting - count_slots(WorkerState::wanted) - count_slots(WorkerState::starting);
}

/* No longer remember that databases were without the extension that have it now. */
void
note_installations()
{
    Oid installed = pg_atomic_exchange_u32(&shared->installed, InvalidOid);
    if (installed == several_databases) {
        list_free(without_extension);
        without_extension = NIL;
    } else if (OidIsValid(installed)) {
        without_extension = list_delete_oid(without_extension, installed);
    }
}

/* Give slots to databases that may have the extension; free those of dropped ones. */
void
scan_databases()
{
    bool exists[max_databases] = {};
    int room = room_to_look();
    List *still_without = NIL;

    not_looked_into = false;
    StartTransactionCommand();
    (void) GetTransactionSnapshot();
    Relation relation = table_open(DatabaseRelationId, AccessShareLock);
    TableScanDesc scan = table_beginscan_catalog(relation, 0, nullptr);
    while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
        auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
        WorkerSlot *slot = find_slot(database->oid);
        if (!slot && list_member_oid(without_extension, database->oid)) {
            MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);
            still_without = lappend_oid(still_without, database->oid);
            MemoryContextSwitchTo(context);
        } else if (!slot && database->datallowconn && !database->datistemplate) {
            slot = room-- > 0 ? claim_slot(database->oid) : nullptr;
            not_looked_into = not_looked_into || !slot;
        }
        if (slot)
            exists[slot - shared->slots] = true;
    }
    table_endscan(scan);
    table_close(relation, AccessShareLock);
    CommitTransactionCommand();
    list_free(without_extension);
    without_extension = still_without;

    for (int i = 0; i < max_databases; i++) {
        WorkerSlot *slot = &shared->slots[i];
        Oid database = pg_atomic_read_u32(&slot->database);
        if (exists[i] || !OidIsValid(database))
            continue;
        LWLockAcquire(shared->lock, LW_EXCLUSIVE);
        if (slot->pid == 0)
            free_slot(slot);
        LWLockRelease(shared->lock);
        forget_denials(database, nullptr);
    }
}

/* Ask the postmaster for a slot's worker. */
bool
register_worker(int index, Oid database)
{
    BackgroundWorker worker = {};

    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_notify_pid = MyProcPid;
    worker.bgw_main_arg = Int32GetDatum(index);
    strlcpy(worker.bgw_library_name, "skene_gate", sizeof(worker.bgw_library_name));
    strlcpy(worker.bgw_function_name, "skene_worker_main", sizeof(worker.bgw_function_name));
    strlcpy(worker.bgw_type, "skene_gate worker", sizeof(worker.bgw_type));
    snprintf(worker.bgw_name, sizeof(worker.bgw_name), "skene_gate worker for database %u",
             database);
    if (handles[index])
        pfree(handles[index]);
    handles[index] = nullptr;
    MemoryContextSwitchTo(TopMemoryContext); /* the handle outlives this round */
    if (RegisterDynamicBackgroundWorker(&worker, &handles[index])) {
        registration_failed = false;
        return true;
    }
    if (!registration_failed)
        ereport(LOG, (errmsg("skene_gate could not start a worker"),
                      errhint("Increase max_worker_processes.")));
    registration_failed = true;
    return false;
}

/* How long a slot whose worker failed several times in a row has to wait. */
int64
backoff_ms(int failures)
{
    return failures >= 8 ? 300 * 1000 : 1000 * (static_cast<int64>(1) << failures);
}

/* Did a worker end before it could take its slot? */
bool
died_early(int index)
{
    pid_t pid;
    if (!handles[index])
        return true;
    return GetBackgroundWorkerPid(handles[index], &pid) == BGWH_STOPPED;
}

/*
 * Bring one slot forward. Returns how many milliseconds until it needs another
 * look; 0 when it was started just now.
 */
int64
advance_slot(int index, TimestampTz now, int starting)
{
    WorkerSlot *slot = &shared->slots[index];
    int64 wait = scan_interval_ms;
    bool start = false;
    bool without = false;

    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    Oid database = pg_atomic_read_u32(&slot->database);
    if (OidIsValid(database) && slot->pid == 0 && pg_atomic_read_u32(&slot->bars) == 0) {
        bool gone = slot->state == WorkerState::absent || slot->state == WorkerState::incompatible;
        if (gone && (pg_atomic_read_u32(&slot->reasons) & wake_extension))
            slot->state = WorkerState::wanted;
        without = slot->state == WorkerState::absent;
        if (without)
            free_slot(slot); /* an installation that commits just now has us look again */
        if (slot->state == WorkerState::starting && died_early(index)) {
            slot->state = WorkerState::failed;
            slot->next_start = TimestampTzPlusMilliseconds(now, backoff_ms(++slot->failures));
            pg_atomic_write_u32(&shared->rescan, 1); /* its database may be gone */
        }
        if (slot->state == WorkerState::wanted || slot->state == WorkerState::failed) {
            int64 due = (slot->next_start - now) / 1000 + 1;
            start = slot->next_start <= now && starting < max_starting;
            wait = start ? 0 : slot->next_start <= now ? 1000 : due;
        } else if (slot->state == WorkerState::starting) {
            wait = 1000;
        }
        if (start) {
            /* the worker looks for the extension itself; what it must see is set after this */
            pg_atomic_fetch_and_u32(&slot->reasons, ~(wake_extension | wake_restart));
            slot->state = WorkerState::starting;
        }
    }
    LWLockRelease(shared->lock);

    if (without) {
        MemoryContextSwitchTo(TopMemoryContext);
        without_extension = list_append_unique_oid(without_extension, database);
        wait = not_looked_into ? 1 : wait;
    }
    if (start && !register_worker(index, database)) {
        LWLockAcquire(shared->lock, LW_EXCLUSIVE);
        slot->state = WorkerState::wanted;
        slot->next_start = TimestampTzPlusMilliseconds(now, retry_registration_ms);
        LWLockRelease(shared->lock);
        wait = retry_registration_ms;
    }
    return wait;
}

} // namespace

void
register_launcher()
{
    BackgroundWorker launcher = {};

    launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
    launcher.bgw_restart_time = 1;
    strlcpy(launcher.bgw_library_name, "skene_gate", sizeof(launcher.bgw_library_name));
    strlcpy(launcher.bgw_function_name, "skene_launcher_main", sizeof(launcher.bgw_function_name));
    strlcpy(launcher.bgw_name, "skene_gate launcher", sizeof(launcher.bgw_name));
    strlcpy(launcher.bgw_type, "skene_gate launcher", sizeof(launcher.bgw_type));
    RegisterBackgroundWorker(&launcher);
}

extern "C" SKENE_EXPORT void
skene_launcher_main(Datum)
{
    TimestampTz next_scan = 0;

    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    before_shmem_exit(release_launcher, (Datum) 0);
    pg_atomic_write_u32(&shared->launcher_proc, my_proc_number() + 1);
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    pgstat_report_activity(STATE_IDLE, nullptr);

    for (;;) {
        int64 wait = scan_interval_ms;

        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending) {
            ConfigReloadPending = false;
            ProcessConfigFile(PGC_SIGHUP);
        }
        TimestampTz now = GetCurrentTimestamp();
        bool rescan = pg_atomic_exchange_u32(&shared->rescan, 0);
        note_installations();
        if (rescan || now >= next_scan || (not_looked_into && room_to_look() > 0)) {
            scan_databases();
            next_scan = TimestampTzPlusMilliseconds(now, scan_interval_ms);
        }
        int starting = count_slots(WorkerState::starting);
        for (int i = 0; i < max_databases; i++) {
            int64 slot_wait = advance_slot(i, now, starting);
            if (slot_wait == 0) {
                starting++;
                slot_wait = 1000;
            }
            wait = Min(wait, slot_wait);
        }
        /* a worker that runs does not say so; with all slots taken, one that is freed does */
        if (not_looked_into && find_slot(InvalidOid))
            wait = Min(wait, 1000);
        /* a wait inside the scan, for a lock or since 18 for a read, resets the latch too */
        if (InterruptPending || ConfigReloadPending || pg_atomic_read_u32(&shared->rescan) != 0)
            continue;
        (void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait,
                         worker_wait_event());
        ResetLatch(MyLatch);
    }
}

} // namespace skene
