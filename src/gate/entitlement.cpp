/*
 * entitlement.cpp: resolving plan, limit and window.
 */
#include "gate/entitlement.hpp"

#include "core/window.hpp"
#include "server/clock.hpp"
#include "server/owner.hpp"

namespace skene
{

namespace
{

const char *const resolve_sql = R"sql(
SELECT c.anchor,
       coalesce(cp.plan, d.plan) AS plan,
       o.user_id IS NOT NULL OR e.plan IS NOT NULL AS entitled,
       CASE WHEN o.user_id IS NOT NULL THEN o.usage_limit ELSE e.usage_limit END AS usage_limit,
       coalesce(e.period, f.period) AS period,
       coalesce((SELECT s.value FROM skene.settings s WHERE s.name = 'timeZone'), 'UTC') AS zone,
       cp.plan IS NULL AND EXISTS (SELECT FROM skene.subscriptions s
                                    WHERE s.user_id = $1 AND s.status = 'past_due') AS past_due
  FROM skene.features f
  LEFT JOIN skene.customers c ON c.user_id = $1
  LEFT JOIN skene.customer_plans cp ON cp.user_id = $1
  LEFT JOIN skene.plans d ON d.is_default
  LEFT JOIN skene.entitlements e ON e.feature = f.feature AND e.plan = coalesce(cp.plan, d.plan)
  LEFT JOIN skene.overrides o ON o.user_id = $1 AND o.feature = f.feature
                             AND (o.expires_at IS NULL OR o.expires_at > skene.gate_time())
 WHERE f.feature = $2)sql";

const char *const explain_sql = R"sql(
SELECT f.message,
       (SELECT u.plan
          FROM skene.plans u JOIN skene.entitlements g ON g.plan = u.plan
         WHERE g.feature = $1
           AND u.rank > coalesce((SELECT p.rank FROM skene.plans p WHERE p.plan = $2), 0)
           AND (g.usage_limit IS NULL OR g.usage_limit > $3)
         ORDER BY u.rank, u.plan LIMIT 1) AS upgrade_plan,
       (SELECT s.value FROM skene.settings s WHERE s.name = 'upgradeUrl') AS upgrade_url
  FROM skene.features f WHERE f.feature = $1)sql";

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

} // namespace

void
find_window(const char *period, TimestampTz now, TimestampTz anchor, const char *zone,
            TimestampTz *start, TimestampTz *end)
{
    constexpr int64 shift = epoch_shift * USECS_PER_SEC;
    Period parsed;
    pg_tz *tz = pg_tzset(zone);

    if (!parse_period(period, &parsed))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("period \"%s\" is not one this library knows", period)));
    if (!tz)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("time zone \"%s\" does not exist", zone),
                        errhint("Correct timeZone in the settings of the configuration.")));
    Window window = window_at(parsed, now + shift, anchor + shift, offset_of, tz);
    *start = window.start == no_begin ? DT_NOBEGIN : window.start - shift;
    *end = window.end == no_end ? DT_NOEND : window.end - shift;
}

void
resolve_entitlement(const char *user_id, const char *feature, Snapshot snapshot,
                    MemoryContext context, Entitlement *entitlement)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID};
    Datum values[] = {CStringGetTextDatum(user_id), CStringGetTextDatum(feature)};

    run_prepared(&plan, resolve_sql, 2, types, values, nullptr, snapshot, true, SPI_OK_SELECT);
    if (SPI_processed == 0)
        unknown_feature(feature);

    entitlement->now = gate_time();
    entitlement->known_customer = !column_is_null(1);
    entitlement->anchor = time_column(1, entitlement->now);
    entitlement->plan = text_column(2, context);
    entitlement->entitled = bool_column(3);
    entitlement->unlimited = entitlement->entitled && column_is_null(4);
    entitlement->usage_limit = entitlement->unlimited ? PG_INT64_MAX : int64_column(4, 0);
    entitlement->period = text_column(5, context);
    entitlement->zone = text_column(6, context);
    entitlement->past_due = bool_column(7);
    find_window(entitlement->period, entitlement->now, entitlement->anchor, entitlement->zone,
                &entitlement->window_start, &entitlement->window_end);
}

void
explain_denial(const char *feature, const Entitlement &entitlement, MemoryContext context,
               Decision *decision)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, INT8OID};
    const char *no_plan = "";
    Datum values[] = {CStringGetTextDatum(feature),
                      CStringGetTextDatum(entitlement.plan ? entitlement.plan : no_plan),
                      Int64GetDatum(entitlement.usage_limit)};

    run_prepared(&plan, explain_sql, 3, types, values, nullptr, InvalidSnapshot, true,
                 SPI_OK_SELECT);
    if (SPI_processed > 0) {
        decision->message = text_column(1, context);
        decision->upgrade_plan = text_column(2, context);
        decision->upgrade_url = text_column(3, context);
    }
    if (!decision->message) {
        switch (decision->reason) {
        case Reason::not_entitled:
            decision->message = "Your plan does not include this feature.";
            break;
        case Reason::past_due:
            decision->message = "Your last payment failed.";
            break;
        default:
            decision->message = "You have reached the limit of your plan.";
        }
    }
}

SKENE_FUNCTION(skene_valid_time_zone)
{
    pg_tz *zone = pg_tzset(text_to_cstring(PG_GETARG_TEXT_PP(0)));
    PG_RETURN_BOOL(zone && pg_tz_acceptable(zone));
}

} // namespace skene
