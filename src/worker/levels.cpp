/*
 * levels.cpp: prompts for levels that were reached.
 *
 * Written in the transaction of the fold, each in a subtransaction of its own: a level is
 * found again only if the whole fold is done again. Whoever has units of a grant left is at
 * no limit yet.
 */
#include "worker/levels.hpp"

#include "server/clock.hpp"
#include "server/work.hpp"

namespace skene
{

const char *const reached_levels_sql = R"sql(
SELECT u.user_id, u.feature, u.period, u.window_start, u.window_end, level.kind, terms.plan
  FROM folded u
  JOIN skene.features f ON f.feature = u.feature AND f.period = u.period
                       AND (f.prompt_on = 'reached' OR f.warn_at <> '{}')
  LEFT JOIN skene.overrides o ON o.user_id = u.user_id AND o.feature = u.feature
                             AND (o.expires_at IS NULL OR o.expires_at > skene.gate_time())
 CROSS JOIN LATERAL skene.plan_of(u.user_id) AS terms
  LEFT JOIN skene.entitlements e ON e.plan = terms.plan AND e.feature = u.feature AND e.period = u.period
 CROSS JOIN LATERAL (SELECT CASE WHEN o.user_id IS NOT NULL THEN o.usage_limit ELSE e.usage_limit END) AS
            most (units)
 CROSS JOIN LATERAL (
       SELECT 'limit_reached' AS kind WHERE f.prompt_on = 'reached' AND u.used >= most.units
       UNION ALL
       SELECT 'warning'
        WHERE u.used >= most.units * (SELECT min(per_cent) FROM unnest(f.warn_at) AS per_cent) / 100.0
          AND NOT (f.prompt_on = 'reached' AND u.used >= most.units)) AS level
 WHERE u.window_end > skene.gate_time()
   AND EXISTS (SELECT FROM counted n
                WHERE n.user_id = u.user_id AND n.feature = u.feature AND n.period = u.period
                  AND n.window_start = u.window_start AND n.amount > 0)
   AND NOT EXISTS (SELECT FROM skene.prompts p
                    WHERE p.user_id = u.user_id AND p.feature = u.feature AND p.period = u.period
                      AND p.window_start = u.window_start AND p.kind IN (level.kind, 'limit_reached'))
   AND NOT EXISTS (SELECT FROM skene.grants g
                    WHERE g.user_id = u.user_id AND g.feature = u.feature
                      AND (g.expires_at IS NULL OR g.expires_at > skene.gate_time())
                      AND g.amount > coalesce((SELECT t.used FROM skene.usage_totals t
                                                WHERE t.user_id = g.user_id AND t.feature = g.feature
                                                  AND t.period = 'grant:' || g.grant_id), 0)))sql";

namespace
{

struct Level {
    HeapTuple row;
    TupleDesc columns;
};

/* Write one prompt, of a customer who was not denied. */
void
write_level(const void *argument)
{
    static SPIPlanPtr plan = nullptr;
    constexpr int columns = 7;
    auto *level = static_cast<const Level *>(argument);
    const Oid types[] = {TEXTOID,        TEXTOID, TEXTOID, TIMESTAMPTZOID,
                         TIMESTAMPTZOID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
    Datum values[columns + 1];
    char nulls[] = "        ";

    for (int i = 0; i < columns; i++) {
        bool is_null;
        values[i] = SPI_getbinval(level->row, level->columns, i + 1, &is_null);
        if (is_null)
            nulls[i] = 'n';
    }
    values[columns] = TimestampTzGetDatum(gate_time());
    run_prepared(&plan, "SELECT skene.write_prompt($1, $2, $3, $4, $5, $6, $7, 0, $8, $8)",
                 columns + 1, types, values, nulls, InvalidSnapshot, false, SPI_OK_SELECT);
}

} // namespace

bool
levels_are_wanted()
{
    static SPIPlanPtr plan = nullptr;

    run_prepared(&plan,
                 "SELECT EXISTS (SELECT FROM skene.features f"
                 " WHERE f.prompt_on = 'reached' OR f.warn_at <> '{}')",
                 0, nullptr, nullptr, nullptr, InvalidSnapshot, true, SPI_OK_SELECT);
    return bool_column(1);
}

void
write_levels()
{
    SPITupleTable *levels = SPI_tuptable;
    uint64 count = SPI_processed;

    for (uint64 i = 0; i < count; i++) {
        Level level = {levels->vals[i], levels->tupdesc};
        ErrorData *error = run_guarded(write_level, &level);
        if (!error)
            continue;
        if (may_pass(error->sqlerrcode))
            ReThrowError(error);
        report_error(error->message);
        ereport(WARNING, (errmsg("skene_gate could not write a prompt: %s", error->message)));
        FreeErrorData(error);
    }
}

} // namespace skene
