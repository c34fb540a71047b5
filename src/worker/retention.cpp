/*
 * retention.cpp: removing what is old, in transactions of a batch each, so that none
 * holds locks or a snapshot for long.
 */
#include "worker/retention.hpp"

#include "server/work.hpp"

namespace skene
{

namespace
{

constexpr int batch_size = 1000;

/* Run a statement that removes up to $1 rows and tells how many, until it finds fewer. */
void
purge(SPIPlanPtr *plan, const char *sql)
{
    const Oid types[] = {INT4OID};
    const Datum values[] = {Int32GetDatum(batch_size)};
    int64 removed;

    do {
        WorkScope scope;
        CHECK_FOR_INTERRUPTS();
        begin_work(&scope);
        run_prepared(plan, sql, 1, types, values, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
        removed = int64_column(1, 0);
        end_work(&scope);
    } while (removed == batch_size);
}

} // namespace

void
purge_expired()
{
    static SPIPlanPtr keys = nullptr;
    static SPIPlanPtr outbox = nullptr;

    purge(&keys, R"sql(
WITH gone AS (
    DELETE FROM skene.idempotency_keys k
     WHERE k.ctid = ANY (ARRAY(
           SELECT o.ctid FROM skene.idempotency_keys o
            WHERE o.created_at < skene.gate_time()
                                 - current_setting('skene_gate.idempotency_retention')::interval
            LIMIT $1))
    RETURNING 1)
SELECT count(*) FROM gone)sql");
    purge(&outbox, "SELECT skene.purge_outbox($1)");
}

} // namespace skene
