/*
 * counter.cpp: the statements of the row-lock engine.
 */
#include "gate/counter.hpp"

#include "server/owner.hpp"

namespace skene
{

namespace
{

/* The subselect denies from committed rows without taking the row's lock. */
const char *const add_sql = R"sql(
INSERT INTO skene.usage AS u (user_id, feature, period, window_start, window_end, used)
SELECT $1, $2, $3, $4, $5, $6
 WHERE $6 <= $7
   AND NOT EXISTS (SELECT FROM skene.usage t
                    WHERE t.user_id = $1 AND t.feature = $2 AND t.period = $3
                      AND t.window_start = $4 AND t.used > $7 - $6)
ON CONFLICT (user_id, feature, period, window_start)
DO UPDATE SET used = u.used + excluded.used WHERE u.used <= $7 - excluded.used
RETURNING u.used)sql";

const char *const subtract_sql = R"sql(
UPDATE skene.usage u SET used = u.used - $5
 WHERE u.user_id = $1 AND u.feature = $2 AND u.period = $3 AND u.window_start = $4
   AND u.used >= $5
RETURNING u.used)sql";

const char *const read_sql = R"sql(
SELECT t.used FROM skene.usage_totals t
 WHERE t.user_id = $1 AND t.feature = $2 AND t.period = $3 AND t.window_start = $4)sql";

const char *const create_customer_sql = R"sql(
INSERT INTO skene.customers (user_id, anchor) VALUES ($1, $2)
ON CONFLICT (user_id) DO NOTHING)sql";

const char *const find_key_sql = R"sql(
SELECT k.amount FROM skene.idempotency_keys k
 WHERE k.user_id = $1 AND k.feature = $2 AND k.operation = $3 AND k.idempotency_key = $4)sql";

const char *const claim_key_sql = R"sql(
INSERT INTO skene.idempotency_keys (user_id, feature, operation, idempotency_key, amount)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id, feature, operation, idempotency_key) DO NOTHING)sql";

const char *
use_name(KeyUse use)
{
    return use == KeyUse::consume ? "consume" : "refund";
}

} // namespace

bool
add_usage(const CounterKey &key, int64 amount, int64 limit, int64 *used)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID,        TEXTOID, TEXTOID, TIMESTAMPTZOID,
                         TIMESTAMPTZOID, INT8OID, INT8OID};
    Datum values[] = {CStringGetTextDatum(key.user_id),
                      CStringGetTextDatum(key.feature),
                      CStringGetTextDatum(key.period),
                      TimestampTzGetDatum(key.window_start),
                      TimestampTzGetDatum(key.window_end),
                      Int64GetDatum(amount),
                      Int64GetDatum(limit)};

    run_prepared(&plan, add_sql, 7, types, values, nullptr, InvalidSnapshot, false,
                 SPI_OK_INSERT_RETURNING);
    if (SPI_processed == 0)
        return false;
    *used = int64_column(1, 0);
    return true;
}

bool
subtract_usage(const CounterKey &key, int64 amount, int64 *used)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID};
    Datum values[] = {CStringGetTextDatum(key.user_id), CStringGetTextDatum(key.feature),
                      CStringGetTextDatum(key.period), TimestampTzGetDatum(key.window_start),
                      Int64GetDatum(amount)};

    run_prepared(&plan, subtract_sql, 5, types, values, nullptr, InvalidSnapshot, false,
                 SPI_OK_UPDATE_RETURNING);
    if (SPI_processed == 0)
        return false;
    *used = int64_column(1, 0);
    return true;
}

int64
read_usage(const CounterKey &key, Snapshot snapshot)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
    Datum values[] = {CStringGetTextDatum(key.user_id), CStringGetTextDatum(key.feature),
                      CStringGetTextDatum(key.period), TimestampTzGetDatum(key.window_start)};

    run_prepared(&plan, read_sql, 4, types, values, nullptr, snapshot, true, SPI_OK_SELECT);
    return SPI_processed == 0 ? 0 : int64_column(1, 0);
}

bool
create_customer(const char *user_id, TimestampTz anchor)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TIMESTAMPTZOID};
    Datum values[] = {CStringGetTextDatum(user_id), TimestampTzGetDatum(anchor)};

    run_prepared(&plan, create_customer_sql, 2, types, values, nullptr, InvalidSnapshot, false,
                 SPI_OK_INSERT);
    return SPI_processed > 0;
}

int64
find_idempotency_key(const CounterKey &key, KeyUse use, const char *idempotency_key)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
    Datum values[] = {CStringGetTextDatum(key.user_id), CStringGetTextDatum(key.feature),
                      CStringGetTextDatum(use_name(use)), CStringGetTextDatum(idempotency_key)};

    run_prepared(&plan, find_key_sql, 4, types, values, nullptr, GetLatestSnapshot(), true,
                 SPI_OK_SELECT);
    return SPI_processed == 0 ? -1 : int64_column(1, 0);
}

bool
claim_idempotency_key(const CounterKey &key, KeyUse use, const char *idempotency_key, int64 amount)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID};
    Datum values[] = {CStringGetTextDatum(key.user_id), CStringGetTextDatum(key.feature),
                      CStringGetTextDatum(use_name(use)), CStringGetTextDatum(idempotency_key),
                      Int64GetDatum(amount)};

    run_prepared(&plan, claim_key_sql, 5, types, values, nullptr, InvalidSnapshot, false,
                 SPI_OK_INSERT);
    return SPI_processed > 0;
}

} // namespace skene
