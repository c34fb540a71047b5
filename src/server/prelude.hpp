/*
 * prelude.hpp: the only door to PostgreSQL's headers, and the place for every
 * difference between its versions.
 *
 * Each source of the PostgreSQL half includes this first. C++ library headers
 * never follow it, except the few that allocate nothing (see src/halves.sh).
 */
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wregister"
extern "C" {
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "common/pg_prng.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "pgtime.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#if PG_VERSION_NUM >= 170000
#include "utils/injection_point.h"
#endif
#include "utils/inval.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"
#include "utils/uuid.h"
}
#pragma GCC diagnostic pop

#if PG_VERSION_NUM < 150000
#error "skene_gate needs PostgreSQL 15 or newer"
#endif

/*
 * 16 exports PG_FUNCTION_INFO_V1 under hidden visibility by itself; 15 leaves
 * PGDLLEXPORT empty on ELF and declares the function without it.
 */
#define SKENE_EXPORT __attribute__((visibility("default")))
#define SKENE_FUNCTION(name)                                          \
    extern "C" {                                                      \
    extern SKENE_EXPORT const Pg_finfo_record *pg_finfo_##name(void); \
    const Pg_finfo_record *pg_finfo_##name(void)                      \
    {                                                                 \
        static const Pg_finfo_record info = {1};                      \
        return &info;                                                 \
    }                                                                 \
    SKENE_EXPORT Datum name(PG_FUNCTION_ARGS);                        \
    }                                                                 \
    Datum name(PG_FUNCTION_ARGS)

/*
 * A place where a test makes the server fail; nothing unless the server was built for that.
 * New in 17 (commit d86d20f0ba7), with an argument since 18 (commit 371f2db8b05).
 */
#if PG_VERSION_NUM >= 180000
#define SKENE_INJECTION_POINT(name) INJECTION_POINT("skene-gate-" name, nullptr)
#elif PG_VERSION_NUM >= 170000
#define SKENE_INJECTION_POINT(name) INJECTION_POINT("skene-gate-" name)
#else
#define SKENE_INJECTION_POINT(name) ((void) 0)
#endif

namespace skene
{

/* Own slot in ProcGlobal->allProcs: MyProcNumber since 17 (commit 024c5211173). */
inline int
my_proc_number()
{
#if PG_VERSION_NUM >= 170000
    return MyProcNumber;
#else
    return MyProc->pgprocno;
#endif
}

/* object_ownercheck replaced the per-catalog functions in 16 (commit afbfc02983f). */
inline bool
owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
    return object_ownercheck(DatabaseRelationId, database, role);
#else
    return pg_database_ownercheck(database, role);
#endif
}

/* Insert into a table's indexes; the last but one argument is new in 16 (commit 19d8e2308bc). */
inline void
insert_index_tuples(ResultRelInfo *target, TupleTableSlot *slot, EState *estate)
{
#if PG_VERSION_NUM >= 160000
    (void) ExecInsertIndexTuples(target, slot, estate, false, false, nullptr, NIL, false);
#else
    (void) ExecInsertIndexTuples(target, slot, estate, false, false, nullptr, NIL);
#endif
}

/* Wait event of the workers' sleeps; 17 can name it (commit c9af054653077). */
inline uint32
worker_wait_event()
{
#if PG_VERSION_NUM >= 170000
    static uint32 event = 0;
    if (event == 0)
        event = WaitEventExtensionNew("SkeneGateWorker");
    return event;
#else
    return PG_WAIT_EXTENSION;
#endif
}

/* Wait event of a wait for providers. */
inline uint32
http_wait_event()
{
#if PG_VERSION_NUM >= 170000
    static uint32 event = 0;
    if (event == 0)
        event = WaitEventExtensionNew("SkeneGateHttp");
    return event;
#else
    return PG_WAIT_EXTENSION;
#endif
}

/* A set for the life of the process; 17 takes its owner where a memory context was (commit
 * 50c67c2019ab). */
inline WaitEventSet *
create_wait_event_set(int events)
{
#if PG_VERSION_NUM >= 170000
    return CreateWaitEventSet(nullptr, events);
#else
    return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

} // namespace skene
