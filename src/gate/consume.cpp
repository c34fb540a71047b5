/*
 * consume.cpp: deciding on a request.
 *
 * Order of a consume: resolve the entitlement -> probe the idempotency key ->
 * count -> claim the key. A denial probes the key once more, because the repeat
 * of the call that took the last unit must be told that it succeeded.
 */
#include "gate/consume.hpp"

#include "gate/counter.hpp"
#include "server/owner.hpp"
#include "server/shared.hpp"

namespace skene
{

namespace
{

/* Rounds after which a customer that keeps changing beside us becomes an error. */
constexpr int max_rounds = 100;

/* A snapshot that sees all that is committed now, and this transaction's own work. */
Snapshot
latest_snapshot()
{
    CommandCounterIncrement();
    return GetLatestSnapshot();
}

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

CounterKey
key_of(const Request &request, const Entitlement &entitlement)
{
    return {request.user_id, request.feature, entitlement.period, entitlement.window_start,
            entitlement.window_end};
}

/* What every decision says, whatever it is. */
void
describe(const Request &request, const Entitlement &entitlement, int64 used, Decision *decision)
{
    *decision = Decision{};
    decision->counted = true;
    decision->feature = request.feature;
    decision->plan = entitlement.plan;
    decision->used = used;
    decision->has_limit = !entitlement.unlimited;
    decision->usage_limit = entitlement.usage_limit;
    decision->resets_at = entitlement.window_end;
    decision->decided_at = entitlement.now;
}

void
admit(const Request &request, const Entitlement &entitlement, int64 used, Decision *decision)
{
    describe(request, entitlement, used, decision);
    decision->allowed = true;
    decision->reason = entitlement.unlimited ? Reason::unlimited : Reason::ok;
}

void
deny(const Request &request, const Entitlement &entitlement, int64 used, MemoryContext context,
     Decision *decision)
{
    describe(request, entitlement, used, decision);
    decision->reason = entitlement.past_due   ? Reason::past_due
                       : entitlement.entitled ? Reason::limit_reached
                                              : Reason::not_entitled;
    explain_denial(request.feature, entitlement, context, decision);
}

/* An unlimited counter has no limit to stop at but the type's. */
void
check_overflow(const Request &request, const Entitlement &entitlement, int64 used)
{
    if (entitlement.unlimited && used > PG_INT64_MAX - request.amount)
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("usage of feature \"%s\" would exceed the range of bigint",
                               request.feature)));
}

/* Has this key been used? Raises 22023 if it was for another amount. */
bool
is_repeat(const Request &request, const CounterKey &key, KeyUse use)
{
    if (!request.idempotency_key)
        return false;
    CommandCounterIncrement();
    int64 amount = find_idempotency_key(key, use, request.idempotency_key);
    if (amount >= 0 && amount != request.amount)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("idempotency key was used with another amount"),
                        errdetail("It was " INT64_FORMAT ", now it is " INT64_FORMAT ".", amount,
                                  request.amount),
                        errhint("Use a new key for a new request.")));
    return amount >= 0;
}

/* Resolve; a customer that is going to be counted gets its row and anchor. */
void
resolve_for_counting(const Request &request, MemoryContext context, Entitlement *entitlement)
{
    resolve_entitlement(request.user_id, request.feature, latest_snapshot(), context, entitlement);
    if (entitlement->known_customer || !entitlement->entitled ||
        request.amount > entitlement->usage_limit)
        return;
    if (!create_customer(request.user_id, entitlement->anchor)) {
        resolve_entitlement(request.user_id, request.feature, latest_snapshot(), context,
                            entitlement);
    }
}

/*
 * Put a denial down in shared memory, where no rollback reaches it. A customer without
 * a row has no anchor yet: its denials share the window that any fixed anchor gives,
 * or each would be the first of a window of its own.
 */
void
note(const Request &request, const Entitlement &entitlement, Reason reason)
{
    DenialKey key;
    TimestampTz window_start = entitlement.window_start;
    TimestampTz window_end = entitlement.window_end;

    if (!entitlement.known_customer)
        find_window(entitlement.period, entitlement.now, 0, entitlement.zone, &window_start,
                    &window_end);
    memset(&key, 0, sizeof(key));
    key.database = MyDatabaseId;
    key.kind = reason == Reason::past_due       ? DenialKind::past_due
               : reason == Reason::not_entitled ? DenialKind::not_entitled
                                                : DenialKind::limit_reached;
    strlcpy(key.period, entitlement.period, sizeof(key.period));
    strlcpy(key.feature, request.feature, sizeof(key.feature));
    strlcpy(key.user_id, request.user_id, sizeof(key.user_id));
    key.window_start = window_start;
    note_denial(key, window_end, entitlement.plan ? entitlement.plan : "",
                entitlement.now);
}

/* One try; false when another session's commit made the answer ambiguous. */
bool
try_consume(const Request &request, MemoryContext context, Decision *decision,
            Entitlement *entitlement)
{
    int64 used;

    resolve_for_counting(request, context, entitlement);
    CounterKey key = key_of(request, *entitlement);

    if (is_repeat(request, key, KeyUse::consume)) {
        admit(request, *entitlement, read_usage(key, latest_snapshot()), decision);
        decision->replayed = true;
        return true;
    }
    if (entitlement->entitled && add_usage(key, request.amount, entitlement->usage_limit, &used)) {
        if (request.idempotency_key &&
            !claim_idempotency_key(key, KeyUse::consume, request.idempotency_key, request.amount)) {
            /* the same request came through beside us: undo ours, answer as theirs */
            (void) subtract_usage(key, request.amount, &used);
            return false;
        }
        admit(request, *entitlement, used, decision);
        return true;
    }
    if (is_repeat(request, key, KeyUse::consume))
        return false;
    used = read_usage(key, latest_snapshot());
    check_overflow(request, *entitlement, used);
    if (entitlement->entitled && used <= entitlement->usage_limit - request.amount)
        return false;
    deny(request, *entitlement, used, context, decision);
    return true;
}

} // namespace

void
consume(Oid owner, const Request &request, Decision *decision)
{
    MemoryContext context = CurrentMemoryContext;
    Entitlement entitlement;
    OwnerScope scope;
    int round = 0;

    require_writable();
    enter_owner(&scope, owner);
    while (!try_consume(request, context, decision, &entitlement)) {
        CHECK_FOR_INTERRUPTS();
        /* under an old snapshot the guarded statement cannot see what made room */
        if (IsolationUsesXactSnapshot() || ++round == max_rounds)
            ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                            errmsg("could not decide on feature \"%s\" due to concurrent use",
                                   request.feature),
                            errhint("Retry the transaction.")));
    }
    leave_owner(&scope);
    if (!decision->allowed)
        note(request, entitlement, decision->reason);
}

void
look(Oid owner, const Request &request, Decision *decision)
{
    MemoryContext context = CurrentMemoryContext;
    Entitlement entitlement;
    OwnerScope scope;

    enter_owner(&scope, owner);
    resolve_entitlement(request.user_id, request.feature, InvalidSnapshot, context, &entitlement);
    int64 used = read_usage(key_of(request, entitlement), InvalidSnapshot);
    check_overflow(request, entitlement, used);
    if (entitlement.entitled && request.amount <= entitlement.usage_limit &&
        used <= entitlement.usage_limit - request.amount)
        admit(request, entitlement, used, decision);
    else
        deny(request, entitlement, used, context, decision);
    leave_owner(&scope);
}

int64
refund(Oid owner, const Request &request)
{
    Entitlement entitlement;
    OwnerScope scope;
    int64 used;

    require_writable();
    enter_owner(&scope, owner);
    resolve_entitlement(request.user_id, request.feature, latest_snapshot(), CurrentMemoryContext,
                        &entitlement);
    CounterKey key = key_of(request, entitlement);

    bool repeat = is_repeat(request, key, KeyUse::refund);
    if (!repeat && !subtract_usage(key, request.amount, &used)) {
        /* while we waited for the row, the same refund may have come through */
        repeat = is_repeat(request, key, KeyUse::refund);
        if (!repeat)
            ereport(ERROR,
                    (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                     errmsg("refund of feature \"%s\" exceeds what was used", request.feature),
                     errdetail("Used in the current window: " INT64_FORMAT
                               ", to be refunded: " INT64_FORMAT ".",
                               read_usage(key, latest_snapshot()), request.amount)));
    } else if (!repeat && request.idempotency_key &&
               !claim_idempotency_key(key, KeyUse::refund, request.idempotency_key,
                                      request.amount)) {
        (void) add_usage(key, request.amount, PG_INT64_MAX, &used);
        repeat = is_repeat(request, key, KeyUse::refund);
    }
    if (repeat)
        used = read_usage(key, latest_snapshot());
    leave_owner(&scope);
    return used;
}

} // namespace skene
