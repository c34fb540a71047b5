/*
 * owner.cpp: switching user, search_path and planning around SPI.
 */
#include "server/owner.hpp"

namespace skene
{

namespace
{

struct Pinned {
    const char *name;
    const char *value;
};

/*
 * A plan made while a table was empty is kept when it no longer is, so it must not be a
 * scan of the table; one that has no other way looks expensive, and would be compiled.
 */
constexpr Pinned pinned[] = {
    {"search_path", "pg_catalog, pg_temp"}, {"enable_seqscan", "off"}, {"jit", "off"}};

} // namespace

void
enter_owner(OwnerScope *scope, Oid owner)
{
    GetUserIdAndSecContext(&scope->caller, &scope->caller_context);
    SetUserIdAndSecContext(owner, scope->caller_context | SECURITY_LOCAL_USERID_CHANGE);
    scope->guc_level = NewGUCNestLevel();
    for (const Pinned &setting : pinned)
        (void) set_config_option(setting.name, setting.value, PGC_USERSET, PGC_S_SESSION,
                                 GUC_ACTION_SAVE, true, 0, false);
    if (SPI_connect() != SPI_OK_CONNECT)
        elog(ERROR, "SPI_connect failed");
}

void
leave_owner(const OwnerScope *scope)
{
    if (SPI_finish() != SPI_OK_FINISH)
        elog(ERROR, "SPI_finish failed");
    AtEOXact_GUC(true, scope->guc_level);
    SetUserIdAndSecContext(scope->caller, scope->caller_context);
}

Oid
owner_of_function(Oid function)
{
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for function %u", function);
    Oid owner = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->proowner;
    ReleaseSysCache(tuple);
    return owner;
}

void
run_prepared(SPIPlanPtr *plan, const char *sql, int argument_count, const Oid *types,
             const Datum *values, const char *nulls, Snapshot snapshot, bool read_only,
             int expected)
{
    int result;

    if (!*plan) {
        /* all find rows by key, so nothing is gained by planning again for the values */
        SPIPlanPtr fresh = SPI_prepare_cursor(sql, argument_count, const_cast<Oid *>(types),
                                              CURSOR_OPT_GENERIC_PLAN);
        if (!fresh)
            elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
        if (SPI_keepplan(fresh) != 0)
            elog(ERROR, "SPI_keepplan failed");
        *plan = fresh;
    }
    result = SPI_execute_snapshot(*plan, const_cast<Datum *>(values), nulls, snapshot,
                                  InvalidSnapshot, read_only, true, 0);
    if (result != expected)
        elog(ERROR, "unexpected SPI result: %s", SPI_result_code_string(result));
}

bool
column_is_null(int column)
{
    bool is_null;
    (void) SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null);
    return is_null;
}

int64
int64_column(int column, int64 fallback)
{
    bool is_null;
    Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null);
    return is_null ? fallback : DatumGetInt64(value);
}

TimestampTz
time_column(int column, TimestampTz fallback)
{
    bool is_null;
    Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null);
    return is_null ? fallback : DatumGetTimestampTz(value);
}

bool
bool_column(int column)
{
    bool is_null;
    Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &is_null);
    return !is_null && DatumGetBool(value);
}

char *
text_column(int column, MemoryContext context)
{
    char *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
    return value ? MemoryContextStrdup(context, value) : nullptr;
}

} // namespace skene
