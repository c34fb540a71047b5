/*
 * entitlement.cpp: resolving plan, limits and windows.
 */
#include "gate/entitlement.hpp"

#include "core/window.hpp"
#include "engine/anchors.hpp"
#include "server/clock.hpp"
#include "server/owner.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

/* One row for each rule, in the order they are reserved in; the quota is always there. */
const char *const resolve_sql = R"sql(
SELECT customer.anchor, customer.has_row, terms.plan, terms.entitled, terms.past_due, terms.zone,
       terms.valid_until, rule.kind, rule.period, rule.usage_limit
  FROM (SELECT f.feature, f.period AS feature_period, coalesce(cp.plan, d.plan) AS plan,
               o.user_id IS NOT NULL OR e.plan IS NOT NULL AS entitled,
               CASE WHEN o.user_id IS NOT NULL THEN o.usage_limit ELSE e.usage_limit END AS quota,
               coalesce((SELECT s.value FROM skene.settings s WHERE s.name = 'timeZone'), 'UTC') AS zone,
               cp.plan IS NULL AND EXISTS (SELECT FROM skene.subscriptions s
                                            WHERE s.user_id = $1 AND s.status = 'past_due') AS past_due,
               (SELECT min(t.instant)
                  FROM (SELECT o.expires_at
                        UNION ALL SELECT s.ends_at FROM skene.subscriptions s WHERE s.user_id = $1
                        UNION ALL SELECT s.past_due_since + make_interval(secs => $4)
                                    FROM skene.subscriptions s WHERE s.user_id = $1
                        UNION ALL SELECT g.expires_at FROM skene.grants g
                                   WHERE g.user_id = $1 AND g.feature = $2) AS t (instant)
                 WHERE t.instant > $3) AS valid_until
          FROM skene.features f
          LEFT JOIN skene.customer_plans cp ON cp.user_id = $1
          LEFT JOIN skene.plans d ON d.is_default
          LEFT JOIN skene.entitlements e ON e.feature = f.feature AND e.period = f.period
                                        AND e.plan = coalesce(cp.plan, d.plan)
          LEFT JOIN skene.overrides o ON o.user_id = $1 AND o.feature = f.feature
                                     AND (o.expires_at IS NULL OR o.expires_at > $3)
         WHERE f.feature = $2) AS terms
 CROSS JOIN (SELECT coalesce(c.anchor, (SELECT v.anchor FROM skene.usage_events v
                                         WHERE v.user_id = $1 AND v.anchor IS NOT NULL LIMIT 1)) AS anchor,
                    c.user_id IS NOT NULL AS has_row
               FROM (SELECT) AS one LEFT JOIN skene.customers c ON c.user_id = $1) AS customer
 CROSS JOIN LATERAL (
       SELECT 0 AS kind, r.period, r.usage_limit, 0 AS priority, NULL::timestamptz AS expires_at
         FROM skene.entitlements r
        WHERE r.plan = terms.plan AND r.feature = terms.feature AND r.usage_limit IS NOT NULL
          AND r.period <> terms.feature_period
       UNION ALL
       SELECT 1, terms.feature_period, terms.quota, 0, NULL
       UNION ALL
       SELECT 2, 'grant:' || g.grant_id, g.amount, g.priority, g.expires_at
         FROM skene.grants g
        WHERE g.user_id = $1 AND g.feature = $2 AND (g.expires_at IS NULL OR g.expires_at > $3)
          AND NOT EXISTS (SELECT FROM skene.usage u
                           WHERE u.user_id = $1 AND u.feature = $2 AND u.period = 'grant:' || g.grant_id
                             AND u.window_start = '-infinity' AND u.used >= g.amount)) AS rule
 ORDER BY rule.kind, rule.priority DESC, rule.expires_at, rule.period)sql";

const char *const features_sql =
    "SELECT string_agg(f.feature, ', ' ORDER BY f.feature) FROM skene.features f";

constexpr int64 epoch_shift =
    (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * static_cast<int64>(SECS_PER_DAY);

/* Seconds east of UTC of a pg_tz at an instant. */
int32
offset_of(int64 unix_seconds, const void *zone)
{
    pg_time_t instant = unix_seconds;
    struct pg_tm *local = pg_localtime(&instant, static_cast<const pg_tz *>(zone));
    return local ? static_cast<int32>(local->tm_gmtoff) : 0;
}

/* Raise for a feature that is not configured. */
[[noreturn]] void
unknown_feature(const char *feature)
{
    static SPIPlanPtr plan = nullptr;

    run_prepared(&plan, features_sql, 0, nullptr, nullptr, nullptr, InvalidSnapshot, true,
                 SPI_OK_SELECT);
    char *known = text_column(1, CurrentMemoryContext);
    ereport(ERROR,
            (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("feature \"%s\" does not exist", feature),
             known ? errhint("Features are: %s.", known)
                   : errhint("No feature is configured; apply a configuration with "
                             "skene_apply().")));
}

/* Set a rule's window, the one of its period at an instant. */
void
find_window(Rule *rule, TimestampTz now, TimestampTz anchor, const char *zone)
{
    constexpr int64 shift = epoch_shift * USECS_PER_SEC;
    Period parsed;
    pg_tz *tz = pg_tzset(zone);

    if (!parse_period(rule->period, &parsed))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("period \"%s\" is not one this library knows", rule->period)));
    if (!tz)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("time zone \"%s\" does not exist", zone),
                        errhint("Correct timeZone in the settings of the configuration.")));
    Window window = window_at(parsed, now + shift, anchor + shift, offset_of, tz);
    rule->start = window.start == no_begin ? DT_NOBEGIN : window.start - shift;
    rule->end = window.end == no_end ? DT_NOEND : window.end - shift;
}

/* Read rule number row of the last result. */
void
read_rule(uint64 row, Rule *rule)
{
    HeapTuple tuple = SPI_tuptable->vals[row];
    TupleDesc descriptor = SPI_tuptable->tupdesc;
    bool is_null;

    rule->kind =
        static_cast<RuleKind>(DatumGetInt32(SPI_getbinval(tuple, descriptor, 8, &is_null)));
    strlcpy(rule->period, SPI_getvalue(tuple, descriptor, 9), sizeof(rule->period));
    Datum limit = SPI_getbinval(tuple, descriptor, 10, &is_null);
    rule->limit = is_null ? no_limit : DatumGetInt64(limit);
    rule->start = DT_NOBEGIN;
    rule->end = DT_NOEND;
}

/* Read all rules of the last result; their windows are not set yet. */
void
read_rules(const char *feature, Resolution *resolution)
{
    if (SPI_processed > max_rules)
        ereport(ERROR,
                (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                 errmsg("feature \"%s\" has too many windows and grants for one customer", feature),
                 errdetail("At most %d can be in force at once.", max_rules)));
    resolution->rule_count = static_cast<uint8>(SPI_processed);
    for (int i = 0; i < resolution->rule_count; i++) {
        read_rule(i, &resolution->rules[i]);
        if (resolution->rules[i].kind == RuleKind::quota)
            resolution->quota = static_cast<uint8>(i);
    }
    if (!resolution->entitled)
        resolution->rules[resolution->quota].limit = 0;
}

} // namespace

void
set_common_window(Rule *rule, TimestampTz now)
{
    Period parsed;
    if (parse_period(rule->period, &parsed) && parsed.kind == PeriodKind::fixed_days)
        find_window(rule, now, 0, "UTC");
}

void
resolve_entitlement(const char *user_id, const char *feature, TimestampTz *now, Snapshot snapshot,
                    bool counting, Resolution *resolution, CustomerState *customer)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, FLOAT8OID};
    Datum values[] = {CStringGetTextDatum(user_id), CStringGetTextDatum(feature),
                      TimestampTzGetDatum(*now), Float8GetDatum(past_due_grace)};

    run_prepared(&plan, resolve_sql, 4, types, values, nullptr, snapshot, true, SPI_OK_SELECT);
    if (SPI_processed == 0)
        unknown_feature(feature);

    customer->anchor = time_column(1, *now);
    customer->has_row = bool_column(2);
    char *plan_name = text_column(3, CurrentMemoryContext);
    resolution->has_plan = plan_name != nullptr;
    strlcpy(resolution->plan, plan_name ? plan_name : "", sizeof(resolution->plan));
    resolution->entitled = bool_column(4);
    resolution->past_due = bool_column(5);
    char *zone = text_column(6, CurrentMemoryContext);
    resolution->valid_until = time_column(7, DT_NOEND);
    resolution->grace = past_due_grace;
    read_rules(feature, resolution);

    if (!customer->has_row && counting)
        customer->anchor = agree_on_anchor(user_id, customer->anchor, &customer->has_row);
    /* the first use of another session, later than our clock, is not in our future */
    if (customer->anchor > *now)
        *now = gate_time();
    for (int i = 0; i < resolution->rule_count; i++) {
        if (resolution->rules[i].kind != RuleKind::grant)
            find_window(&resolution->rules[i], *now, customer->anchor, zone);
    }
}

SKENE_FUNCTION(skene_valid_time_zone)
{
    pg_tz *zone = pg_tzset(text_to_cstring(PG_GETARG_TEXT_PP(0)));
    PG_RETURN_BOOL(zone && pg_tz_acceptable(zone));
}

} // namespace skene
