/*
 * shared.hpp: the shared memory of skene_gate: a slot for each database's worker,
 * and the notes of denials that wait for it.
 *
 * Invariant: nothing here is truth. A crash loses at most notes younger than the
 * worker's latency, and the next denial notes again.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/* Why a worker is woken: bits of WorkerSlot::reasons. */
constexpr uint32 wake_notes = 1;      /* a window was denied for the first time */
constexpr uint32 wake_denials = 2;    /* more denials of known windows; no hurry */
constexpr uint32 wake_outbox = 4;     /* a row was enqueued */
constexpr uint32 wake_address = 8;    /* a customer got an address */
constexpr uint32 wake_restart = 16;   /* settings of the database changed */
constexpr uint32 wake_extension = 32; /* the extension was dropped or updated */
constexpr uint32 wake_fold = 64;      /* usage was counted */
constexpr uint32 wake_probe = 128;    /* somebody says that a provider may be asked again */

enum class WorkerState : uint8 { absent, wanted, starting, running, failed, incompatible };

constexpr int max_databases = 128; /* with the extension */

/* One database; all but the atomics are guarded by Shared::lock. */
struct WorkerSlot {
    pg_atomic_uint32 database;    /* InvalidOid: the slot is free */
    pg_atomic_uint32 worker_proc; /* index into allProcs + 1; 0 = no worker */
    pg_atomic_uint32 reasons;
    pg_atomic_uint64 denials_dropped; /* of customers that never came to be */
    pg_atomic_uint32 bars;            /* backends that want no worker here, see barrier.cpp */
    WorkerState state;
    pid_t pid;    /* of the worker; 0 = none */
    int failures; /* in a row */
    TimestampTz next_start;
    TimestampTz started_at;
    TimestampTz last_success_at;
    TimestampTz last_error_at;
    char last_error[256];
};

struct Shared {
    LWLock *lock;                   /* slots and the launcher's fields */
    LWLock *notes_lock;             /* the hash of notes */
    LWLock *delivery_lock;          /* what is known of providers, see outbox/account.hpp */
    pg_atomic_uint32 launcher_proc; /* index into allProcs + 1; 0 = no launcher */
    pg_atomic_uint32 rescan;        /* databases may have come or gone */
    pg_atomic_uint32 installed;     /* which database got the extension, or several_databases */
    pg_atomic_uint64 notes_lost;    /* denials that found no room */
    WorkerSlot slots[max_databases];
};

constexpr Oid several_databases = OID_MAX;

/* Null when the library was not preloaded. */
extern Shared *shared;

/* Register for shared memory; from _PG_init under shared_preload_libraries. */
void request_shared_memory();

/* Raise 55000 with the line to add unless the library was preloaded. */
void require_preload();

/*
 * The slot of a database, or null; lock-free, safe in a commit callback. Without the lock
 * it may be another database's a moment later, unless its worker runs.
 */
WorkerSlot *find_slot(Oid database);

/* The slot of a database, taking a free one for its worker; null when all are taken. */
WorkerSlot *claim_slot(Oid database);

/* Give a slot back; under the lock. */
void free_slot(WorkerSlot *slot);

/* Set reasons and wake the worker; lock-free, safe in a commit callback. */
void wake_worker(WorkerSlot *slot, uint32 reasons);
void wake_launcher();

/* Arrange for wake_worker at commit of the current transaction. */
void wake_at_commit(Oid database, uint32 reasons);

/* Arrange for the launcher to look at all databases after commit; installed: in this one, too. */
void rescan_at_commit(bool installed);

} // namespace skene
