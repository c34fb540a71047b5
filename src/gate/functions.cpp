/*
 * functions.cpp: the gate's SQL functions: arguments in, answer out.
 */
#include "engine/events.hpp"
#include "gate/configuration.hpp"
#include "gate/consume.hpp"
#include "gate/entitlement.hpp"
#include "gate/verdict.hpp"
#include "server/clock.hpp"
#include "server/extension.hpp"
#include "server/owner.hpp"
#include "server/text.hpp"

namespace skene
{

namespace
{

/* Arguments (id, feature, amount[, idempotency_key]). */
Request
request_of(FunctionCallInfo fcinfo)
{
    Request request;

    require_extension();
    request.function = fcinfo->flinfo->fn_oid;
    request.user_id = user_id_argument(fcinfo);
    request.feature = feature_argument(fcinfo, 1);
    request.amount = amount_argument(fcinfo, 2);
    request.idempotency_key = PG_NARGS() > 3 ? key_argument(fcinfo, 3) : nullptr;
    return request;
}

/* How many bytes of a caller's text to show in a message. */
int
shown_bytes(const char *text)
{
    int length = static_cast<int>(strlen(text));
    return pg_mbcliplen(text, length, 200);
}

/* The answer for a request that no feature's endpoints match. */
Decision
no_match(const char *policy, const char *method, const char *path)
{
    Decision decision = {};

    decision.resets_at = DT_NOEND;
    if (strcmp(policy, "allow") == 0) {
        decision.allowed = true;
        decision.reason = Reason::ok;
        return decision;
    }
    if (strcmp(policy, "deny") == 0) {
        decision.reason = Reason::not_entitled;
        decision.message = "Your plan does not include this feature.";
        return decision;
    }
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("no feature has an endpoint that matches %.*s %.*s", shown_bytes(method),
                           method, shown_bytes(path), path),
                    errhint("Add the endpoint to a feature of the configuration, or pass "
                            "on_no_match => 'allow' or 'deny'.")));
    pg_unreachable();
}

} // namespace

SKENE_FUNCTION(skene_consume)
{
    Request request = request_of(fcinfo);
    Decision decision;

    consume(request, false, &decision);
    PG_RETURN_BOOL(decision.allowed);
}

SKENE_FUNCTION(skene_decide)
{
    require_from_clause(fcinfo);
    Request request = request_of(fcinfo);
    Decision decision;

    consume(request, true, &decision);
    PG_RETURN_DATUM(decision_row(fcinfo, decision));
}

SKENE_FUNCTION(skene_require)
{
    Request request = request_of(fcinfo);
    Decision decision;

    consume(request, true, &decision);
    if (!decision.allowed)
        raise_denial(decision);
    PG_RETURN_VOID();
}

SKENE_FUNCTION(skene_refund)
{
    Request request = request_of(fcinfo);
    PG_RETURN_INT64(refund(request));
}

SKENE_FUNCTION(skene_set_usage)
{
    Request request;

    require_extension();
    request.function = fcinfo->flinfo->fn_oid;
    request.user_id = user_id_argument(fcinfo);
    request.feature = feature_argument(fcinfo, 1);
    request.amount = 1;
    request.idempotency_key = nullptr;
    if (PG_ARGISNULL(2))
        null_argument("used");
    if (PG_GETARG_INT64(2) < 0)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("used must not be negative")));
    PG_RETURN_INT64(set_usage(request, PG_GETARG_INT64(2)));
}

SKENE_FUNCTION(skene_check)
{
    require_from_clause(fcinfo);
    Request request = request_of(fcinfo);
    Decision decision;

    look(request, true, &decision);
    PG_RETURN_DATUM(decision_row(fcinfo, decision));
}

SKENE_FUNCTION(skene_allows)
{
    /* a signed-out visitor is not allowed anything, and a policy must not fail on one */
    for (int i = 0; i < 3; i++) {
        if (PG_ARGISNULL(i))
            PG_RETURN_BOOL(false);
    }
    Request request = request_of(fcinfo);
    Decision decision;

    look(request, false, &decision);
    PG_RETURN_BOOL(decision.allowed);
}

SKENE_FUNCTION(skene_consume_request)
{
    require_from_clause(fcinfo);
    require_extension();
    Request request;
    Decision decision;

    request.function = fcinfo->flinfo->fn_oid;
    request.user_id = user_id_argument(fcinfo);
    for (int i = 1; i <= 2; i++) {
        if (PG_ARGISNULL(i))
            null_argument(i == 1 ? "method" : "path");
    }
    const char *method = text_to_cstring(PG_GETARG_TEXT_PP(1));
    const char *path = text_to_cstring(PG_GETARG_TEXT_PP(2));
    request.amount = amount_argument(fcinfo, 3);
    request.idempotency_key = key_argument(fcinfo, 4);
    if (PG_ARGISNULL(5))
        null_argument("on_no_match");
    const char *policy = text_to_cstring(PG_GETARG_TEXT_PP(5));
    if (strcmp(policy, "allow") != 0 && strcmp(policy, "deny") != 0 && strcmp(policy, "error") != 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("on_no_match must be allow, deny or error")));

    request.feature = feature_of_endpoint(request.function, method, path);
    if (request.feature)
        consume(request, true, &decision);
    else
        decision = no_match(policy, method, path);
    PG_RETURN_DATUM(decision_row(fcinfo, decision));
}

SKENE_FUNCTION(skene_usage)
{
    enum {
        feature,
        period,
        used,
        usage_limit,
        remaining,
        window_start,
        resets_at,
        plan,
        entitled,
        column_count
    };
    static SPIPlanPtr features_plan = nullptr;
    ReturnSetInfo *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    TimestampTz now = gate_time();
    OwnerScope scope;

    require_extension();
    InitMaterializedSRF(fcinfo, 0);
    const char *user_id = user_id_argument(fcinfo);

    enter_owner(&scope, owner_of_function(fcinfo->flinfo->fn_oid));
    run_prepared(&features_plan, "SELECT f.feature FROM skene.features f ORDER BY 1", 0, nullptr,
                 nullptr, nullptr, InvalidSnapshot, true, SPI_OK_SELECT);
    uint64 count = SPI_processed;
    SPITupleTable *features = SPI_tuptable;
    for (uint64 row = 0; row < count; row++) {
        Resolution found;
        CustomerState customer;
        Datum values[column_count] = {};
        bool nulls[column_count] = {};
        const char *name = SPI_getvalue(features->vals[row], features->tupdesc, 1);

        resolve_entitlement(user_id, name, &now, InvalidSnapshot, false, &found, &customer);
        const Rule &quota = found.rules[found.quota];
        int64 units = 0;
        int64 limit = 0;
        int64 room = 0;
        for (int i = 0; i < found.rule_count; i++) {
            const Rule &rule = found.rules[i];
            if (rule.kind == RuleKind::rate)
                continue;
            int64 counted = read_units(user_id, name, rule, InvalidSnapshot);
            units += counted;
            limit = saturating_sum(limit, rule.limit);
            room = saturating_sum(room, room_in(rule, counted));
        }
        values[feature] = CStringGetTextDatum(name);
        values[period] = CStringGetTextDatum(quota.period);
        values[used] = Int64GetDatum(units);
        values[usage_limit] = Int64GetDatum(limit);
        values[remaining] = Int64GetDatum(room);
        nulls[usage_limit] = nulls[remaining] = quota.limit == no_limit;
        values[window_start] = TimestampTzGetDatum(quota.start);
        nulls[window_start] = TIMESTAMP_NOT_FINITE(quota.start);
        values[resets_at] = TimestampTzGetDatum(quota.end);
        nulls[resets_at] = TIMESTAMP_NOT_FINITE(quota.end);
        nulls[plan] = !found.has_plan;
        if (found.has_plan)
            values[plan] = CStringGetTextDatum(found.plan);
        values[entitled] = BoolGetDatum(found.entitled);
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    leave_owner(&scope);
    return (Datum) 0;
}

} // namespace skene
