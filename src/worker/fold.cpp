/*
 * fold.cpp: the fold, and the rows of new customers.
 *
 * Invariant: one statement moves events into totals, so every snapshot sees each unit
 * exactly once. The table is walked by ranges of blocks, in a circle: under a snapshot
 * held for long the rows that are gone already cannot be removed, and are not read again
 * before the circle is closed. An event of a customer without a row stays until the row
 * is there, for it carries the customer's anchor. What reaches a level by it is prompted in
 * the same transaction, so that none is lost.
 */
#include "worker/fold.hpp"

#include "engine/changes.hpp"
#include "engine/events.hpp"
#include "server/work.hpp"
#include "worker/levels.hpp"
#include "worker/prompts.hpp"

namespace skene
{

namespace
{

constexpr BlockNumber blocks_at_once = 256; /* some 20,000 events */
constexpr int whole_walk_ms = 10 * 1000;

/* What a fold takes out of the events, and how it puts it into the totals. */
const char *const gone_sql = R"sql(
gone AS (
    DELETE FROM skene.usage_events e
     WHERE e.ctid >= $1 AND e.ctid < $2
       AND (e.anchor IS NULL OR EXISTS (SELECT FROM skene.customers c WHERE c.user_id = e.user_id))
    RETURNING e.*
), counted AS (
    SELECT user_id, feature, period, window_start, window_end, amount FROM gone
    UNION ALL
    SELECT g.user_id, g.feature, w.period, w.window_start, w.window_end, w.amount
      FROM gone g, unnest(g.more) w
))sql";

const char *const totals_sql = R"sql(
INSERT INTO skene.usage AS u (user_id, feature, period, window_start, window_end, used)
SELECT user_id, feature, period, window_start, max(window_end), sum(amount)
  FROM counted GROUP BY user_id, feature, period, window_start
ON CONFLICT (user_id, feature, period, window_start) DO UPDATE
   SET used = u.used + excluded.used)sql";

const char *const customers_sql = R"sql(
INSERT INTO skene.customers (user_id, anchor)
SELECT e.user_id, min(e.anchor) FROM skene.usage_events e
 WHERE e.ctid >= $1 AND e.ctid < $2 AND e.anchor IS NOT NULL
   AND NOT EXISTS (SELECT FROM skene.customers c WHERE c.user_id = e.user_id)
 GROUP BY e.user_id
ON CONFLICT (user_id) DO NOTHING)sql";

const char *const new_customers_sql = R"sql(
SELECT EXISTS (SELECT FROM skene.usage_events e
                WHERE e.ctid >= $1 AND e.ctid < $2 AND e.anchor IS NOT NULL))sql";

const char *const list_customers_sql = R"sql(
SELECT DISTINCT e.user_id FROM skene.usage_events e
 WHERE e.ctid >= $1 AND e.ctid < $2 AND e.anchor IS NOT NULL
   AND NOT EXISTS (SELECT FROM skene.customers c WHERE c.user_id = e.user_id)
 LIMIT 50)sql";

/* Run a statement on a range of blocks. */
void
run_on_blocks(SPIPlanPtr *plan, const char *sql, BlockNumber first, BlockNumber end, bool read_only,
              int expected)
{
    const Oid types[] = {TIDOID, TIDOID};
    ItemPointerData from;
    ItemPointerData to;

    ItemPointerSet(&from, first, 0);
    ItemPointerSet(&to, end, 0);
    Datum values[] = {PointerGetDatum(&from), PointerGetDatum(&to)};
    run_prepared(plan, sql, 2, types, values, nullptr, InvalidSnapshot, read_only, expected);
}

struct Blocks {
    BlockNumber first;
    BlockNumber end;
};

void
make_all_customers(const void *argument)
{
    static SPIPlanPtr plan = nullptr;
    auto *blocks = static_cast<const Blocks *>(argument);
    run_on_blocks(&plan, customers_sql, blocks->first, blocks->end, false, SPI_OK_INSERT);
}

void
make_one_customer(const void *user_id)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID};
    Datum values[] = {CStringGetTextDatum(static_cast<const char *>(user_id))};
    run_prepared(&plan, R"sql(
INSERT INTO skene.customers (user_id, anchor)
SELECT e.user_id, min(e.anchor) FROM skene.usage_events e
 WHERE e.user_id = $1 AND e.anchor IS NOT NULL GROUP BY e.user_id
ON CONFLICT (user_id) DO NOTHING)sql",
                 1, types, values, nullptr, InvalidSnapshot, false, SPI_OK_INSERT);
}

/* One after the other, going on past those that are locked. */
void
make_each_customer(const Blocks &blocks)
{
    static SPIPlanPtr plan = nullptr;

    run_on_blocks(&plan, list_customers_sql, blocks.first, blocks.end, true, SPI_OK_SELECT);
    uint64 count = SPI_processed;
    SPITupleTable *users = SPI_tuptable;
    for (uint64 row = 0; row < count; row++) {
        ErrorData *error =
            run_guarded(make_one_customer, SPI_getvalue(users->vals[row], users->tupdesc, 1));
        if (error && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
            ReThrowError(error);
    }
}

/*
 * Make the rows of new customers; false when somebody who identifies one of them has its
 * row locked, which must not hold up the others for long.
 */
bool
make_customers(const Blocks &blocks)
{
    static SPIPlanPtr check_plan = nullptr;
    bool all_made = true;
    WorkScope scope;

    begin_work(&scope);
    run_on_blocks(&check_plan, new_customers_sql, blocks.first, blocks.end, true, SPI_OK_SELECT);
    if (bool_column(1)) {
        (void) set_config_option("lock_timeout", "20ms", PGC_USERSET, PGC_S_SESSION,
                                 GUC_ACTION_SAVE, true, 0, false);
        ErrorData *error = run_guarded(make_all_customers, &blocks);
        if (error && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
            ReThrowError(error);
        if (error)
            make_each_customer(blocks);
        all_made = error == nullptr;
        SKENE_INJECTION_POINT("customers-made");
    }
    end_work(&scope);
    return all_made;
}

/* Fold; leaves the levels that were reached by it as the result, if somebody asks for them. */
void
fold_range(const Blocks &blocks, bool with_levels)
{
    static SPIPlanPtr plain = nullptr;
    static SPIPlanPtr watching = nullptr;
    const char *sql = nullptr;

    if (!with_levels && !plain)
        sql = psprintf("WITH %s %s", gone_sql, totals_sql);
    if (with_levels && !watching)
        sql = psprintf("WITH %s, folded AS (%s RETURNING u.*) %s", gone_sql, totals_sql,
                       reached_levels_sql);
    run_on_blocks(with_levels ? &watching : &plain, sql, blocks.first, blocks.end, false,
                  with_levels ? SPI_OK_SELECT : SPI_OK_INSERT);
}

void
fold_blocks(const Blocks &blocks)
{
    WorkScope scope;

    begin_work(&scope);
    bool with_levels = levels_are_wanted();
    if (with_levels)
        lock_prompts(); /* before any row, as skene_reset() does */
    (void) let_engine_write(true);
    PG_TRY();
    {
        fold_range(blocks, with_levels);
        SKENE_INJECTION_POINT("folded");
    }
    PG_FINALLY();
    {
        (void) let_engine_write(false);
    }
    PG_END_TRY();
    if (with_levels)
        write_levels();
    end_work(&scope);
}

BlockNumber
count_blocks()
{
    WorkScope scope;

    begin_work(&scope);
    Relation events = table_open(events_relation(), AccessShareLock);
    BlockNumber blocks = RelationGetNumberOfBlocks(events);
    table_close(events, AccessShareLock);
    end_work(&scope);
    return blocks;
}

} // namespace

bool
fold_usage()
{
    static BlockNumber folded_to = 0; /* where the last walk ended */
    static TimestampTz last_whole_walk = 0;
    TimestampTz now = GetCurrentTimestamp();
    BlockNumber end = count_blocks();
    BlockNumber first = folded_to;
    bool all_folded = true;
    bool whole = true;

    /* while the table only grows, what is new is mostly at its end */
    if (first >= end || first < blocks_at_once ||
        TimestampDifferenceExceeds(last_whole_walk, now, whole_walk_ms)) {
        first = 0;
        last_whole_walk = now;
    } else {
        first -= blocks_at_once;
        whole = first == 0;
    }
    for (; first < end; first += blocks_at_once) {
        Blocks blocks = {first, Min(first + blocks_at_once, end)};
        CHECK_FOR_INTERRUPTS();
        all_folded &= make_customers(blocks);
        fold_blocks(blocks);
    }
    folded_to = end;
    /* what was put into room freed at the table's beginning is left to a whole walk */
    return all_folded && whole;
}

} // namespace skene
