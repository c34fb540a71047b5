/*
 * worker.cpp: the worker of one database: denials become prompts, usage is folded, the
 * outbox is emptied, what is old is removed.
 *
 * Invariants: no transaction is open while it waits, for its latch or for HTTP;
 * with nothing to do it runs no query; an error is logged, waited out and tried
 * again, and never ends another step's work.
 */
#include "server/clock.hpp"
#include "server/owner.hpp"
#include "server/shared.hpp"
#include "server/work.hpp"
#include "gate/denials.hpp"
#include "outbox/account.hpp"
#include "outbox/delivery.hpp"
#include "outbox/flights.hpp"
#include "settings/settings.hpp"
#include "worker/fold.hpp"
#include "worker/prompts.hpp"
#include "worker/retention.hpp"

namespace skene
{

namespace
{

constexpr int64 safety_poll_ms = 5 * 60 * 1000; /* finds rows that woke nobody */
constexpr int64 denials_flush_ms = 1000;        /* more denials of known windows are in no hurry */
constexpr int64 max_error_wait_ms = 60 * 1000;
constexpr int64 restart_grace_ms = 5000; /* for requests under way, when settings change */

WorkerSlot *slot = nullptr;

/* Leave the slot as the launcher should find it. */
void
release_slot(int code, Datum)
{
    return_unwritten_prompts();
    forget_flights(static_cast<int>(slot - shared->slots));
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    slot->pid = 0;
    pg_atomic_write_u32(&slot->worker_proc, 0);
    if (slot->state == WorkerState::running || slot->state == WorkerState::starting) {
        bool asked = code == 0 || pg_atomic_read_u32(&slot->bars) != 0;
        bool healthy = slot->state == WorkerState::running &&
                       TimestampDifferenceExceeds(slot->started_at, GetCurrentTimestamp(), 60000);
        if (!asked && slot->state == WorkerState::starting)
            pg_atomic_write_u32(&shared->rescan, 1); /* its database may be gone */
        slot->state = asked ? WorkerState::wanted : WorkerState::failed;
        slot->failures = asked || healthy ? 0 : slot->failures + 1;
        slot->next_start = asked ? 0
                                 : TimestampTzPlusMilliseconds(
                                       GetCurrentTimestamp(), 1000 * (1 << Min(slot->failures, 8)));
    }
    bool gone = slot->state == WorkerState::absent;
    Oid database = pg_atomic_read_u32(&slot->database); /* without a pid the slot is not ours */
    LWLockRelease(shared->lock);
    if (gone)
        forget_denials(database, nullptr);
    wake_launcher();
}

/* Take the slot; exits quietly when it is not for us. */
void
take_slot(int index)
{
    slot = &shared->slots[index];
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    bool ours = pg_atomic_read_u32(&slot->database) != InvalidOid && slot->pid == 0;
    if (ours && pg_atomic_read_u32(&slot->bars) != 0) {
        slot->state = WorkerState::wanted;
        ours = false;
    }
    if (ours) {
        slot->pid = MyProcPid;
        slot->started_at = GetCurrentTimestamp();
        pg_atomic_write_u32(&slot->worker_proc, my_proc_number() + 1);
    }
    LWLockRelease(shared->lock);
    if (!ours)
        proc_exit(0);
    before_shmem_exit(release_slot, (Datum) 0);
}

struct Schedule {
    uint32 reasons;          /* work that is asked for */
    TimestampTz next_poll;   /* safety poll */
    TimestampTz next_flush;  /* earliest time for denials of known windows */
    TimestampTz next_look;   /* when a customer that was not there may be */
    TimestampTz next_fold;   /* earliest time for the fold */
    TimestampTz next_outbox; /* when a row of the outbox is due */
};

/* Customers became known: their subscriptions, then prompts that waited for an address. */
void
catch_up_with_customers()
{
    static SPIPlanPtr plan = nullptr;

    run_prepared(&plan, "SELECT skene.match_subscriptions(NULL), skene.readdress_prompts()", 0,
                 nullptr, nullptr, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
}

/* Do what is asked for; runs again with the same reasons if it fails. */
void
work(Schedule *schedule)
{
    WorkScope scope;
    TimestampTz now = gate_time();
    bool poll = now >= schedule->next_poll;
    uint32 reasons = schedule->reasons;

    if (poll || (reasons & wake_notes) || now >= schedule->next_look ||
        ((reasons & wake_denials) && now >= schedule->next_flush)) {
        write_prompts();
        schedule->reasons &= ~(wake_notes | wake_denials);
        schedule->next_look = next_look_for_customers(MyDatabaseId);
        schedule->next_flush = TimestampTzPlusMilliseconds(now, denials_flush_ms);
        reasons |= wake_outbox;
    }
    if (poll || ((reasons & wake_fold) && now >= schedule->next_fold)) {
        schedule->next_fold = TimestampTzPlusMilliseconds(now, fold_interval);
        if (fold_usage())
            schedule->reasons &= ~wake_fold;
    }
    if (poll || (reasons & wake_address)) {
        begin_work(&scope);
        catch_up_with_customers();
        end_work(&scope);
        schedule->reasons &= ~wake_address;
        reasons |= wake_outbox;
    }
    if (reasons & wake_probe) {
        allow_probes();
        schedule->reasons &= ~wake_probe;
    }
    if (poll || (reasons & wake_outbox) || now >= schedule->next_outbox) {
        /* cleared first: what is enqueued meanwhile asks again; after an error it is due still */
        schedule->reasons &= ~wake_outbox;
        schedule->next_outbox = now;
        schedule->next_outbox = empty_outbox();
    }
    if (poll) {
        purge_expired();
        schedule->next_poll = TimestampTzPlusMilliseconds(now, safety_poll_ms);
    }
}

/* Milliseconds until there is something to do without being woken. */
int64
idle_time(const Schedule &schedule)
{
    TimestampTz now = gate_time();
    TimestampTz until = Min(schedule.next_poll, Min(schedule.next_look, schedule.next_outbox));

    if (schedule.reasons & wake_denials)
        until = Min(until, schedule.next_flush);
    if (schedule.reasons & wake_fold)
        until = Min(until, schedule.next_fold);
    return until <= now ? 0 : (until - now) / 1000 + 1;
}

/* Log the current error, clean up after it and wait; longer each time in a row. */
void
recover_from_error(MemoryContext context, int *errors)
{
    MemoryContextSwitchTo(context);
    ErrorData *error = CopyErrorData();
    HOLD_INTERRUPTS();
    EmitErrorReport();
    FlushErrorState();
    AbortOutOfAnyTransaction();
    return_unwritten_prompts();
    pgstat_report_activity(STATE_IDLE, nullptr);
    RESUME_INTERRUPTS();
    report_error(error->message);
    FreeErrorData(error);

    int64 wait = Min(max_error_wait_ms, 1000 * (static_cast<int64>(1) << Min(*errors, 6)));
    (*errors)++;
    TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait);
    while (GetCurrentTimestamp() < until) {
        (void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                         (until - GetCurrentTimestamp()) / 1000 + 1, worker_wait_event());
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
}

/*
 * Has somebody asked for something during the work? The latch alone does not tell:
 * a wait inside a transaction, for a lock or since 18 for a read, resets it too.
 */
bool
asked_meanwhile(const Schedule &schedule)
{
    /* a fold that is scheduled already leaves its bit set */
    uint32 known = schedule.reasons & wake_fold;
    return InterruptPending || ConfigReloadPending ||
           (pg_atomic_read_u32(&slot->reasons) & ~known) != 0;
}

/* Wait for the latch, for traffic of requests under way, or for the next thing due. */
void
wait_for_work(const Schedule &schedule)
{
    int64 idle = asked_meanwhile(schedule) ? 0 : idle_time(schedule);

    if (deliveries_under_way()) {
        wait_for_deliveries(idle);
    } else if (idle > 0) {
        (void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, idle,
                         worker_wait_event());
    }
    ResetLatch(MyLatch);
}

} // namespace

extern "C" SKENE_EXPORT void
skene_worker_main(Datum index)
{
    /* statics: their values survive the jump of an error */
    static Schedule schedule = {~(wake_restart | wake_extension), 0, 0, 0, 0, 0};
    static int errors = 0;
    WorkScope scope;

    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    take_slot(DatumGetInt32(index));
    BackgroundWorkerInitializeConnectionByOid(pg_atomic_read_u32(&slot->database), InvalidOid, 0);
    /* what is leased must be on disk, here and on a synchronous standby, before it is sent */
    SetConfigOption("synchronous_commit", "on", PGC_USERSET, PGC_S_OVERRIDE);
    /* its statements rely on seeing what was committed before each of them */
    SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_OVERRIDE);
    MemoryContext loop_context =
        AllocSetContextCreate(TopMemoryContext, "skene_gate worker", ALLOCSET_DEFAULT_SIZES);

    MemoryContextSwitchTo(loop_context);
    begin_work(&scope);
    end_work(&scope);
    set_worker_state(WorkerState::running);

    for (;;) {
        MemoryContextSwitchTo(loop_context);
        MemoryContextReset(loop_context);
        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending) {
            ConfigReloadPending = false;
            ProcessConfigFile(PGC_SIGHUP);
            schedule.next_poll = 0;         /* delivery may have changed, or the clock gone back */
            schedule.reasons |= wake_probe; /* or what a provider did not like */
        }
        /* until the fold is due its bit stays set, so that commits need not set it again */
        uint32 kept = gate_time() < schedule.next_fold ? wake_fold : 0;
        uint32 reasons = pg_atomic_fetch_and_u32(&slot->reasons, kept);
        if (reasons & wake_restart) {
            finish_deliveries(restart_grace_ms);
            proc_exit(0);
        }
        schedule.reasons |= reasons & ~wake_extension;
        PG_TRY();
        {
            if (reasons & wake_extension) {
                begin_work(&scope);
                end_work(&scope);
            }
            work(&schedule);
            wait_for_work(schedule);
            errors = 0;
        }
        PG_CATCH();
        {
            recover_from_error(loop_context, &errors);
        }
        PG_END_TRY();
    }
}

} // namespace skene
