/*
 * owner.hpp: run SQL on the extension's tables on behalf of a caller who has no
 * right on them.
 *
 * Between enter and leave, statements run as the owner with search_path pinned.
 * An error needs no leave: the server restores both when it aborts the
 * (sub)transaction.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

struct OwnerScope {
    Oid caller;
    int caller_context;
    int guc_level;
};

/* Become owner, pin search_path and connect to SPI. */
void enter_owner(OwnerScope *scope, Oid owner);
void leave_owner(const OwnerScope *scope);

/* Owner of one of our functions: of the extension. */
Oid owner_of_function(Oid function);

/*
 * Run a statement, preparing it on first use in this session (*plan is a static
 * of the caller). A snapshot other than null is used instead of the transaction's.
 * Raises unless the result is the expected SPI_OK_... code.
 */
void run_prepared(SPIPlanPtr *plan, const char *sql, int argument_count, const Oid *types,
                  const Datum *values, const char *nulls, Snapshot snapshot, bool read_only,
                  int expected);

/* Columns of the first row of the last result; null gives the fallback. */
bool column_is_null(int column);
int64 int64_column(int column, int64 fallback);
TimestampTz time_column(int column, TimestampTz fallback);
bool bool_column(int column);
char *text_column(int column, MemoryContext context); /* null when null */

} // namespace skene
