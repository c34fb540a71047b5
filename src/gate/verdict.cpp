/*
 * verdict.cpp: from units used to a decision. A rate denies alone; the quota and its
 * grants deny together, and the numbers that are shown are theirs unless a rate denied.
 */
#include "gate/verdict.hpp"

#include "gate/configuration.hpp"
#include "gate/entitlement.hpp"

namespace skene
{

namespace
{

/*
 * The rule that denies amount, given units used in each window; null when none does.
 * The quota stands for its grants, too.
 */
const Rule *
denying_rule(const Resolution &resolution, const int64 *used, int64 amount)
{
    int64 room = 0;

    for (int i = 0; i < resolution.rule_count; i++) {
        const Rule &rule = resolution.rules[i];
        if (rule.kind != RuleKind::rate)
            room = saturating_sum(room, room_in(rule, used[i]));
        else if (room_in(rule, used[i]) < amount)
            return &rule;
    }
    return room < amount ? &resolution.rules[resolution.quota] : nullptr;
}

/* Fill in the numbers of a decision, those of the rule that denied if one did. */
void
describe(const Call &call, const int64 *used, const Rule *denied_by, Decision *decision)
{
    const Resolution &resolution = call.open.resolution;
    const Rule &shown = denied_by ? *denied_by : resolution.rules[resolution.quota];

    *decision = Decision{};
    decision->counted = true;
    decision->feature = call.request.feature;
    decision->decided_at = call.now;
    decision->resets_at = shown.end;
    decision->has_limit = shown.limit != no_limit;
    for (int i = 0; i < resolution.rule_count; i++) {
        const Rule &rule = resolution.rules[i];
        if (&rule != &shown && (shown.kind == RuleKind::rate || rule.kind != RuleKind::grant))
            continue;
        decision->used += used[i];
        decision->usage_limit = saturating_sum(decision->usage_limit, rule.limit);
        decision->remaining = saturating_sum(decision->remaining, room_in(rule, used[i]));
    }
}

Reason
reason_of_denial(const Resolution &resolution, const Rule &denied_by)
{
    return resolution.past_due                ? Reason::past_due
           : !resolution.entitled             ? Reason::not_entitled
           : denied_by.kind == RuleKind::rate ? Reason::rate_limited
                                              : Reason::limit_reached;
}

/* An unlimited window has no limit to stop at but the type's. */
void
check_range(const Call &call, const Rule &denied_by)
{
    if (denied_by.limit == no_limit)
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("usage of feature \"%s\" would exceed the range of bigint",
                               call.request.feature)));
}

} // namespace

void
decide(const Call &call, const int64 *used, Decision *decision)
{
    const Resolution &resolution = call.open.resolution;
    const Rule *denied_by = denying_rule(resolution, used, call.request.amount);

    if (!denied_by) {
        admit(call, used, decision);
        return;
    }
    check_range(call, *denied_by);
    describe(call, used, denied_by, decision);
    decision->reason = reason_of_denial(resolution, *denied_by);
}

void
admit(const Call &call, const int64 *used, Decision *decision)
{
    describe(call, used, nullptr, decision);
    decision->allowed = true;
    decision->reason = decision->has_limit ? Reason::ok : Reason::unlimited;
}

void
contend(const Call &call, const int64 *used, Decision *decision)
{
    describe(call, used, nullptr, decision);
    decision->reason = Reason::contended;
}

void
explain(const Call &call, Decision *decision)
{
    const Resolution &resolution = call.open.resolution;

    if (resolution.has_plan)
        decision->plan = pstrdup(resolution.plan);
    if (decision->allowed)
        return;
    const Explanation *found =
        explain_limit(call.request.function, call.request.feature, resolution.plan,
                      resolution.rules[resolution.quota].limit);
    decision->message = found->message;
    decision->upgrade_plan = found->upgrade_plan;
    decision->upgrade_url = found->upgrade_url;
    if (decision->reason == Reason::rate_limited || decision->reason == Reason::contended)
        decision->message = "Too many requests at once; try again later.";
    else if (!decision->message)
        decision->message =
            decision->reason == Reason::not_entitled ? "Your plan does not include this feature."
            : decision->reason == Reason::past_due   ? "Your last payment failed."
                                                     : "You have reached the limit of your plan.";
}

} // namespace skene
