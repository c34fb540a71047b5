/*
 * consume.cpp: counting a request, or only looking; giving units back.
 *
 * Order of a consume: deny what shared memory is certain of -> lock the events against
 * changes by hand -> open the meter -> probe the idempotency key -> reserve -> claim the
 * key -> insert the event. A denial probes the key once more, because the repeat of the
 * call that took the last unit must be told that it succeeded. Whatever fails on the way,
 * the end of the (sub)transaction gives back what was reserved.
 */
#include "gate/consume.hpp"

#include "engine/events.hpp"
#include "engine/waiting.hpp"
#include "gate/denials.hpp"
#include "gate/entitlement.hpp"
#include "gate/keys.hpp"
#include "gate/verdict.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

/* Counting needs to write: say so in words that think of replicas. */
void
require_writable()
{
    if (RecoveryInProgress())
        ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                        errmsg("usage cannot be counted on a standby"),
                        errhint("Send this call to the primary; skene_check() and "
                                "skene_allows() work here.")));
    if (XactReadOnly)
        ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                        errmsg("usage cannot be counted in a read-only transaction"),
                        errhint("Start it READ WRITE; skene_check() and skene_allows() work "
                                "here.")));
}

/* Units used in each window as this transaction sees them. */
void
read_counters(const Call &call, int64 *used)
{
    for (int i = 0; i < call.open.resolution.rule_count; i++)
        used[i] = used_in(call, i);
}

/*
 * Put a denial down in shared memory, where no rollback reaches it. A customer without
 * a row has no anchor yet: its denials share the window that any fixed anchor gives,
 * or each would be the first of a window of its own.
 */
void
note(const Call &call, Reason reason)
{
    const Resolution &resolution = call.open.resolution;
    Rule quota = resolution.rules[resolution.quota];
    DenialKey key;

    if (reason == Reason::rate_limited || reason == Reason::contended)
        return;
    if (!TIMESTAMP_IS_NOEND(call.anchor))
        set_common_window(&quota, call.now);
    memset(&key, 0, sizeof(key));
    key.database = MyDatabaseId;
    key.kind = reason == Reason::past_due       ? DenialKind::past_due
               : reason == Reason::not_entitled ? DenialKind::not_entitled
                                                : DenialKind::limit_reached;
    strlcpy(key.period, quota.period, sizeof(key.period));
    strlcpy(key.feature, call.request.feature, sizeof(key.feature));
    strlcpy(key.user_id, call.request.user_id, sizeof(key.user_id));
    key.window_start = quota.start;
    note_denial(key, quota.end, resolution.plan, call.now);
}

/*
 * Divide the amount among the windows where nobody else counts: the rows are the truth,
 * and what is not certain does not fit.
 */
bool
divide(const Call &call, int64 *taken)
{
    const Resolution &resolution = call.open.resolution;
    int64 wanted = call.request.amount;

    for (int i = 0; i < resolution.rule_count; i++) {
        int64 room = room_in(resolution.rules[i], used_in(call, i));
        bool rate = resolution.rules[i].kind == RuleKind::rate;

        taken[i] = Min(rate ? call.request.amount : wanted, room);
        if (rate && taken[i] < call.request.amount)
            return false;
        wanted -= rate ? 0 : taken[i];
    }
    return wanted == 0;
}

/*
 * Windows, a bit for each, that lack room for the amount unless other transactions give
 * some back; the quota and its grants together. None: it certainly fits.
 */
uint32
short_windows(const Call &call)
{
    const Resolution &resolution = call.open.resolution;
    int64 room = 0;
    uint32 rates = 0;
    uint32 others = 0;

    for (int i = 0; i < resolution.rule_count; i++) {
        const OpenWindow &window = call.open.windows[i];
        int64 here =
            certain_room(*window.escrow, resolution.rules[i].limit, own_use(window.number));
        if (resolution.rules[i].kind != RuleKind::rate) {
            room = saturating_sum(room, here);
            others |= 1u << i;
        } else if (here < call.request.amount) {
            rates |= 1u << i;
        }
    }
    return room < call.request.amount ? rates | others : rates;
}

/*
 * Reserve the amount in all windows: all of it under each rate, and from the quota and
 * the grants between them, or nothing. Fills in what was taken from each. When it does not
 * fit it is best not to try: what was taken in vain, others have seen, and may wait for us.
 */
bool
reserve_all(const Call &call, int64 *taken)
{
    const Resolution &resolution = call.open.resolution;
    int64 wanted = call.request.amount;
    bool fits = true;
    int tried = 0;

    if (call.alone)
        return divide(call, taken);
    if (short_windows(call) != 0)
        return false;
    TransactionId xid = GetCurrentTransactionId();

    for (; tried < resolution.rule_count && fits; tried++) {
        int i = tried;
        const Rule &rule = resolution.rules[i];
        const OpenWindow &window = call.open.windows[i];
        int64 amount = rule.kind == RuleKind::rate ? call.request.amount : wanted;

        taken[i] = 0;
        OwnUse own = own_use(window.number);
        if (amount > 0 && certain_room(*window.escrow, rule.limit, own) > 0) {
            publish_hold(window.hold, xid);
            taken[i] = reserve_up_to(*window.escrow, amount, rule.limit, own);
            note_reserved(window.hold, taken[i]);
            SKENE_INJECTION_POINT("reserved");
        }
        if (rule.kind == RuleKind::rate)
            fits = taken[i] == amount;
        else
            wanted -= taken[i];
    }
    if (fits && wanted == 0)
        return true;
    for (int i = 0; i < tried; i++) {
        if (taken[i] == 0)
            continue;
        settle(*call.open.windows[i].escrow, taken[i], false);
        note_reserved(call.open.windows[i].hold, -taken[i]);
    }
    return false;
}

/* Insert the event for what was taken from each window. */
void
record(const Call &call, const int64 *taken)
{
    Portion portions[max_rules];
    int count = 0;

    for (int i = 0; i < call.open.resolution.rule_count; i++) {
        if (taken[i] != 0)
            portions[count++] = {&call.open.resolution.rules[i], taken[i]};
    }
    insert_event(call.key.relation, call.request.user_id, call.request.feature, portions, count,
                 call.anchor);
    SKENE_INJECTION_POINT("recorded");
}

[[noreturn]] void
raise_circle(const char *feature)
{
    ereport(ERROR, (errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
                    errmsg("deadlock detected on the last units of feature \"%s\"", feature),
                    errdetail("Transactions that hold units wait for each other's end."),
                    errhint("Retry the transaction; one that counts once, with the whole amount, "
                            "cannot get into this.")));
    pg_unreachable();
}

/* Wait for the oldest transaction whose end may change the answer; a deadline raises. */
void
wait_for_others(const Call &call, TimestampTz *deadline)
{
    TransactionId oldest = InvalidTransactionId;
    uint32 lacking = short_windows(call);

    for (int i = 0; i < call.open.resolution.rule_count; i++) {
        uint32 number = call.open.windows[i].number;
        TransactionId holder = lacking & (1u << i) ? oldest_holder(number) : InvalidTransactionId;
        if (!TransactionIdIsValid(holder))
            continue;
        count_wait(number);
        if (!TransactionIdIsValid(oldest) || TransactionIdPrecedes(holder, oldest))
            oldest = holder;
    }
    /* whoever waits holds nothing that others could wait for */
    release_holds(call.mark);
    TimestampTz now = GetCurrentTimestamp();
    if (*deadline == 0)
        *deadline = TimestampTzPlusMilliseconds(now, contention_timeout);
    if (TransactionIdIsValid(oldest)) {
        if (!begin_wait(oldest))
            raise_circle(call.request.feature);
        if (!wait_for_transaction(oldest, *deadline))
            raise_contention(call.request.feature);
        end_wait();
    } else if (now >= *deadline) {
        raise_contention(call.request.feature);
    } else {
        pg_usleep(100); /* they are just ending */
    }
    CHECK_FOR_INTERRUPTS();
}

/* Give units of the quota back; false, changing nothing, if fewer are used. */
bool
give_back(const Call &call, int64 amount)
{
    const OpenWindow &window = call.open.windows[call.open.resolution.quota];

    if (used_in(call, call.open.resolution.quota) < amount)
        return false;
    if (call.alone)
        return true;
    int64 rest = amount - return_own(window.hold, amount);
    if (rest == 0)
        return true;
    publish_hold(window.hold, GetCurrentTransactionId());
    if (!reserve_refund(*window.escrow, rest))
        raise_contention(call.request.feature); /* another refund was faster */
    note_reserved(window.hold, -rest);
    SKENE_INJECTION_POINT("given-back");
    return true;
}

/*
 * Deny without a lock, for nothing is written, where shared memory is certain. Not with an
 * idempotency key: it may be that of a call that was admitted.
 */
bool
deny_at_once(Call *call, Decision *decision)
{
    int64 used[max_rules];

    if (call->request.idempotency_key || !look_in_memory(call, used))
        return false;
    decide(*call, used, decision);
    if (!decision->allowed)
        count_denial(call->open.windows[call->open.resolution.quota].number);
    return !decision->allowed;
}

enum class Outcome : uint8 { decided, repeated, ambiguous };

/* One try at counting; holds are left to the caller. */
Outcome
try_to_count(Call *call, Decision *decision)
{
    int64 used[max_rules];
    int64 taken[max_rules];

    open_for_counting(call);
    SKENE_INJECTION_POINT("opened");
    if (is_repeat(call->request, KeyUse::consume))
        return Outcome::repeated;
    read_counters(*call, used);
    decide(*call, used, decision);
    if (!decision->allowed) {
        if (is_repeat(call->request, KeyUse::consume))
            return Outcome::repeated;
        if (!call->alone)
            count_denial(call->open.windows[call->open.resolution.quota].number);
        return Outcome::decided;
    }
    if (!reserve_all(*call, taken))
        return Outcome::ambiguous;
    if (!claim_key(call->request, KeyUse::consume))
        return is_repeat(call->request, KeyUse::consume) ? Outcome::repeated : Outcome::ambiguous;
    SKENE_INJECTION_POINT("claimed");
    record(*call, taken);
    keep_holds(call->mark);
    for (int i = 0; i < call->open.resolution.rule_count; i++)
        used[i] = saturating_sum(used[i], taken[i]);
    admit(*call, used, decision);
    return Outcome::decided;
}

/* The answer to the repeat of a call that was admitted. */
void
answer_repeat(Call *call, Decision *decision)
{
    int64 used[max_rules];

    /* afresh: what we had reserved ourselves is not part of it */
    open_for_counting(call);
    read_counters(*call, used);
    admit(*call, used, decision);
    decision->replayed = true;
}

/* Count, waiting for others where their end decides. */
void
count(Call *call, Decision *decision)
{
    int64 used[max_rules];
    TimestampTz deadline = 0;

    for (;;) {
        switch (try_to_count(call, decision)) {
        case Outcome::decided:
            return;
        case Outcome::repeated:
            answer_repeat(call, decision);
            return;
        case Outcome::ambiguous:
            break;
        }
        if (on_contention == contention_deny) {
            /* afresh: nothing of ours may be in the numbers */
            open_for_counting(call);
            read_counters(*call, used);
            contend(*call, used, decision);
            return;
        }
        wait_for_others(*call, &deadline);
    }
}

} // namespace

void
consume(const Request &request, bool with_texts, Decision *decision)
{
    Call call;

    require_writable();
    begin_call(&call, request);
    if (!deny_at_once(&call, decision))
        count(&call, decision);
    if (!decision->allowed)
        note(call, decision->reason);
    if (!decision->allowed || decision->replayed)
        release_holds(call.mark);
    if (with_texts)
        explain(call, decision);
}

void
look(const Request &request, bool with_texts, Decision *decision)
{
    int64 used[max_rules];
    Call call;

    begin_call(&call, request);
    look_at_windows(&call, used);
    decide(call, used, decision);
    if (with_texts)
        explain(call, decision);
}

int64
refund(const Request &request)
{
    int64 taken[max_rules] = {};
    Call call;

    require_writable();
    begin_call(&call, request);
    open_for_counting(&call);
    int quota = call.open.resolution.quota;
    /* the key first: a refund that is not possible raises, and frees it again */
    if (!is_repeat(request, KeyUse::refund) && claim_key(request, KeyUse::refund)) {
        if (!give_back(call, request.amount))
            ereport(ERROR,
                    (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                     errmsg("refund of feature \"%s\" exceeds what was used", request.feature),
                     errdetail("Used in the current window: " INT64_FORMAT
                               ", to be refunded: " INT64_FORMAT ".",
                               used_in(call, quota), request.amount)));
        taken[quota] = -request.amount;
        record(call, taken);
        call.units[quota] -= request.amount; /* where the rows are the truth */
    }
    int64 used = used_in(call, quota);
    keep_holds(call.mark);
    return used;
}

int64
set_usage(const Request &request, int64 target)
{
    int64 taken[max_rules] = {};
    Call call;

    require_writable();
    begin_call(&call, request);
    open_for_counting(&call);
    int quota = call.open.resolution.quota;
    const OpenWindow &window = call.open.windows[quota];
    int64 before = used_in(call, quota);
    int64 difference = target - before;

    if (difference < 0 && !give_back(call, -difference))
        raise_contention(request.feature);
    if (difference > 0 && !call.alone) {
        publish_hold(window.hold, GetCurrentTransactionId());
        if (reserve(*window.escrow, difference, no_limit, own_use(window.number)) !=
            Offer::admitted)
            raise_contention(request.feature);
        note_reserved(window.hold, difference);
    }
    if (difference != 0) {
        taken[quota] = difference;
        record(call, taken);
    }
    keep_holds(call.mark);
    return before;
}

} // namespace skene
