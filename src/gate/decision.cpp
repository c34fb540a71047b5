/*
 * decision.cpp: forming the answer of the gate.
 */
#include "gate/decision.hpp"

namespace skene
{

namespace
{

const char *
reason_name(Reason reason)
{
    static const char *const names[] = {"ok",       "unlimited",    "limit_reached", "not_entitled",
                                        "past_due", "rate_limited", "contended"};
    return names[static_cast<int>(reason)];
}

/* Is there a moment after which a denied call may succeed by itself? */
bool
has_retry(const Decision &decision)
{
    return !decision.allowed &&
           (decision.reason == Reason::limit_reached || decision.reason == Reason::rate_limited) &&
           !TIMESTAMP_NOT_FINITE(decision.resets_at);
}

/* Whole seconds until that moment, rounded up: who waits so long is not too early. */
int64
retry_seconds(const Decision &decision)
{
    return (decision.resets_at - decision.decided_at + USECS_PER_SEC - 1) / USECS_PER_SEC;
}

/* Append ,"key":"value" or ,"key":null. */
void
append_string(StringInfo json, const char *key, const char *value)
{
    appendStringInfo(json, ",\"%s\":", key);
    if (value)
        escape_json(json, value);
    else
        appendStringInfoString(json, "null");
}

void
append_integer(StringInfo json, const char *key, int64 value, bool is_null)
{
    if (is_null)
        appendStringInfo(json, ",\"%s\":null", key);
    else
        appendStringInfo(json, ",\"%s\":" INT64_FORMAT, key, value);
}

/* A time as JSON has it whatever DateStyle and TimeZone are: ISO 8601, UTC. */
void
append_time(StringInfo json, const char *key, TimestampTz time)
{
    if (TIMESTAMP_NOT_FINITE(time)) {
        appendStringInfo(json, ",\"%s\":null", key);
        return;
    }
    char buffer[MAXDATELEN + 1];
    int utc = 0;
    JsonEncodeDateTime(buffer, TimestampTzGetDatum(time), TIMESTAMPTZOID, &utc);
    append_string(json, key, buffer);
}

/* Same fields, same order as the type skene_decision. */
char *
decision_json(const Decision &decision)
{
    StringInfoData json;

    initStringInfo(&json);
    appendStringInfo(&json, "{\"allowed\":%s", decision.allowed ? "true" : "false");
    append_string(&json, "reason", reason_name(decision.reason));
    append_string(&json, "feature", decision.feature);
    append_integer(&json, "used", decision.used, !decision.counted);
    append_integer(&json, "usage_limit", decision.usage_limit, !decision.has_limit);
    append_integer(&json, "remaining", decision.remaining, !decision.has_limit);
    append_time(&json, "resets_at", decision.resets_at);
    bool retry = has_retry(decision);
    append_integer(&json, "retry_after", retry ? retry_seconds(decision) : 0, !retry);
    append_string(&json, "plan", decision.plan);
    append_string(&json, "upgrade_plan", decision.upgrade_plan);
    append_string(&json, "message", decision.message);
    append_string(&json, "upgrade_url", decision.upgrade_url);
    appendStringInfo(&json, ",\"replayed\":%s}", decision.replayed ? "true" : "false");
    return json.data;
}

/* Put a string or null into a column. */
void
set_text(Datum *values, bool *nulls, int column, const char *value)
{
    nulls[column] = value == nullptr;
    if (value)
        values[column] = CStringGetTextDatum(value);
}

} // namespace

Datum
decision_row(FunctionCallInfo fcinfo, const Decision &decision)
{
    enum {
        allowed,
        reason,
        feature,
        used,
        usage_limit,
        remaining,
        resets_at,
        retry_after,
        plan,
        upgrade_plan,
        message,
        upgrade_url,
        replayed,
        column_count
    };
    Datum values[column_count] = {};
    bool nulls[column_count] = {};
    /* what the scan expects is the type's descriptor, and need not be looked up */
    TupleDesc descriptor = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo)->expectedDesc;

    if (!descriptor || descriptor->natts != column_count)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("the type skene_decision is not the one this library returns"),
                        errhint("Run ALTER EXTENSION skene_gate UPDATE.")));

    values[allowed] = BoolGetDatum(decision.allowed);
    set_text(values, nulls, reason, reason_name(decision.reason));
    set_text(values, nulls, feature, decision.feature);
    values[used] = Int64GetDatum(decision.used);
    nulls[used] = !decision.counted;
    values[usage_limit] = Int64GetDatum(decision.usage_limit);
    values[remaining] = Int64GetDatum(decision.remaining);
    nulls[usage_limit] = nulls[remaining] = !decision.has_limit;
    values[resets_at] = TimestampTzGetDatum(decision.resets_at);
    nulls[resets_at] = TIMESTAMP_NOT_FINITE(decision.resets_at);
    nulls[retry_after] = !has_retry(decision);
    if (has_retry(decision))
        values[retry_after] = Int64GetDatum(retry_seconds(decision));
    set_text(values, nulls, plan, decision.plan);
    set_text(values, nulls, upgrade_plan, decision.upgrade_plan);
    set_text(values, nulls, message, decision.message);
    set_text(values, nulls, upgrade_url, decision.upgrade_url);
    values[replayed] = BoolGetDatum(decision.replayed);

    return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

void
raise_contention(const char *feature)
{
    ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                    errmsg("could not decide on feature \"%s\" in time", feature),
                    errdetail("The last units are held by transactions that are still running."),
                    errhint("Retry; skene_gate.contention_timeout says how long to wait.")));
    pg_unreachable();
}

void
raise_denial(const Decision &decision)
{
    constexpr int payment_required = MAKE_SQLSTATE('P', 'T', '4', '0', '2');
    constexpr int too_many_requests = MAKE_SQLSTATE('P', 'T', '4', '2', '9');

    if (decision.reason == Reason::contended)
        raise_contention(decision.feature);
    bool rate = decision.reason == Reason::rate_limited;
    ereport(ERROR,
            (errcode(rate ? too_many_requests : payment_required), errmsg("%s", decision.message),
             errdetail_internal("%s", decision_json(decision)),
             rate                    ? errhint("Try again later.")
             : decision.upgrade_plan ? errhint("Plan \"%s\" allows more.", decision.upgrade_plan)
                                     : errhint("No plan allows more.")));
    pg_unreachable();
}

void
require_from_clause(FunctionCallInfo fcinfo)
{
    if (fcinfo->resultinfo && IsA(fcinfo->resultinfo, ReturnSetInfo))
        return;
    char *name = get_func_name(fcinfo->flinfo->fn_oid);
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("function %s must be called in FROM", name),
                    errdetail("Elsewhere a row may be computed once for each of its columns, and "
                              "drivers read it as one string."),
                    errhint("Write SELECT * FROM %s(...).", name)));
}

} // namespace skene
