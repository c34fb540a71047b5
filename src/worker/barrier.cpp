/*
 * barrier.cpp: keeping workers out of the way of commands on databases, and
 * telling them what other commands change for them.
 *
 * Invariant: a bar ends with the transaction that set it, when everybody can see what
 * the command did. Several backends may bar one database, as when a test runner clones
 * it for its processes; its worker comes back after the last. A backend that dies
 * without ending its transaction takes the server down, and the bars with it.
 */
#include "worker/barrier.hpp"

#include "server/extension.hpp"
#include "server/shared.hpp"

#include <signal.h>

namespace skene
{

namespace
{

ProcessUtility_hook_type previous_utility_hook = nullptr;
object_access_hook_type previous_access_hook = nullptr;

constexpr long barrier_wait_ms = 2000;
constexpr long barrier_step_ms = 10;

/* The slots that this backend bars in its current transaction, and how many there are. */
bool barring[max_databases];
int barring_count = 0;

/* May anybody who may create databases copy this one? */
bool
is_template(Oid database)
{
    HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
    if (!HeapTupleIsValid(tuple))
        return false;
    bool result = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple))->datistemplate;
    ReleaseSysCache(tuple);
    return result;
}

/* May the user create databases? */
bool
may_create_databases()
{
    HeapTuple role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
    if (!HeapTupleIsValid(role))
        return false;
    bool may = reinterpret_cast<Form_pg_authid>(GETSTRUCT(role))->rolcreatedb;
    ReleaseSysCache(role);
    return may;
}

/* May the user stop this database's worker? As much as may run the command. */
bool
may_bar(Oid database, bool template_of_new)
{
    if (superuser() || owns_database(database, GetUserId()))
        return true;
    return template_of_new && is_template(database) && may_create_databases();
}

/* Is this database named, and may the user have its worker stopped? */
Oid
barrable_database(const char *name, bool template_of_new)
{
    Oid database = name ? get_database_oid(name, true) : InvalidOid;
    if (!OidIsValid(database) || database == MyDatabaseId || !may_bar(database, template_of_new))
        return InvalidOid;
    return database;
}

/* The database that a utility command needs for itself, or InvalidOid. */
Oid
database_of_command(Node *statement)
{
    ListCell *cell;

    switch (nodeTag(statement)) {
    case T_DropdbStmt:
        return barrable_database(castNode(DropdbStmt, statement)->dbname, false);
    case T_RenameStmt: {
        auto *rename = castNode(RenameStmt, statement);
        if (rename->renameType != OBJECT_DATABASE)
            return InvalidOid;
        return barrable_database(rename->subname, false);
    }
    case T_AlterDatabaseStmt: {
        auto *alter = castNode(AlterDatabaseStmt, statement);
        foreach (cell, alter->options) {
            if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0)
                return barrable_database(alter->dbname, false);
        }
        return InvalidOid;
    }
    case T_CreatedbStmt: {
        const char *source = "template1";
        foreach (cell, castNode(CreatedbStmt, statement)->options) {
            DefElem *option = lfirst_node(DefElem, cell);
            if (strcmp(option->defname, "template") == 0 && option->arg)
                source = defGetString(option);
        }
        return barrable_database(source, true);
    }
    default:
        return InvalidOid;
    }
}

/* Stop a database's worker and wait for its exit, at most barrier_wait_ms. */
void
raise_barrier(Oid database)
{
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    WorkerSlot *slot = find_slot(database);
    if (!slot) {
        LWLockRelease(shared->lock);
        return;
    }
    if (!barring[slot - shared->slots]) {
        barring[slot - shared->slots] = true;
        barring_count++;
        pg_atomic_fetch_add_u32(&slot->bars, 1);
    }
    pid_t pid = slot->pid;
    LWLockRelease(shared->lock);

    for (long waited = 0; pid != 0 && waited < barrier_wait_ms; waited += barrier_step_ms) {
        if (waited == 0)
            kill(pid, SIGTERM);
        (void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, barrier_step_ms,
                         worker_wait_event());
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
        LWLockAcquire(shared->lock, LW_SHARED);
        pid = slot->pid;
        LWLockRelease(shared->lock);
    }
}

/* Lift the bars of this backend; runs in the commit callback, so atomics only. */
void
lower_barriers(XactEvent event, void *)
{
    if (barring_count == 0 ||
        (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
        return;
    for (int i = 0; i < max_databases; i++) {
        if (barring[i])
            pg_atomic_fetch_sub_u32(&shared->slots[i].bars, 1);
        barring[i] = false;
    }
    barring_count = 0;
    pg_atomic_write_u32(&shared->rescan, 1);
    wake_launcher();
}

/* Arrange for what a finished command changes for workers. */
void
note_command(Node *statement)
{
    if (IsA(statement, CreatedbStmt)) {
        rescan_at_commit(false);
    } else if (IsA(statement, AlterDatabaseSetStmt)) {
        Oid database = get_database_oid(castNode(AlterDatabaseSetStmt, statement)->dbname, true);
        if (OidIsValid(database))
            wake_at_commit(database, wake_restart);
    }
}

void
utility_hook(PlannedStmt *planned, const char *query, bool read_only_tree,
             ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
             DestReceiver *destination, QueryCompletion *completion)
{
    Node *statement = planned->utilityStmt;
    Oid database = IsTransactionState() ? database_of_command(statement) : InvalidOid;
    if (OidIsValid(database))
        raise_barrier(database);
    (previous_utility_hook ? previous_utility_hook : standard_ProcessUtility)(
        planned, query, read_only_tree, context, params, environment, destination, completion);
    if (IsTransactionState())
        note_command(statement);
}

/* The extension is dropped, however it came about, or updated: let all see for themselves. */
void
access_hook(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *argument)
{
    if (previous_access_hook)
        previous_access_hook(access, class_id, object_id, sub_id, argument);
    if ((access == OAT_DROP || access == OAT_POST_ALTER) && class_id == ExtensionRelationId &&
        object_id == get_extension_oid("skene_gate", true)) {
        forget_version();
        wake_at_commit(MyDatabaseId, wake_extension);
        rescan_at_commit(false); /* a worker that left has to be started */
    }
}

} // namespace

void
install_barrier_hooks()
{
    RegisterXactCallback(lower_barriers, nullptr);
    previous_utility_hook = ProcessUtility_hook;
    ProcessUtility_hook = utility_hook;
    previous_access_hook = object_access_hook;
    object_access_hook = access_hook;
}

} // namespace skene
