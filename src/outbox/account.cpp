/*
 * account.cpp: the shared memory of account.hpp, and skene.delivery_slots(), which shows it.
 */
#include "outbox/account.hpp"

#include "server/extension.hpp"
#include "server/shared.hpp"

#include "core/circuit.hpp"
#include "core/token_bucket.hpp"

#include <portability/instr_time.h>

namespace skene
{

namespace
{

constexpr int max_accounts = 128;

struct Account {
    uint64 key[2]; /* hash of provider and API key; both 0: free */
    int64 used_at; /* the one that was not used for longest makes room */
    TokenBucket bucket;
    Circuit circuit;
    char reason[256]; /* of the last failure */
};

/* What one database's worker does at one provider. */
struct Desk {
    int account; /* + 1; 0 = none yet */
    int in_flight;
    int64 requests;
    int64 sent;
    int64 failed;
    int64 minute; /* which one is counted */
    int64 this_minute;
    int64 last_minute;
};

struct Delivering {
    Account accounts[max_accounts];
    Desk desks[max_databases][provider_count];
};

Delivering *delivering = nullptr;

/* Microseconds of a clock that does not go back, the same for all processes. */
int64
monotonic_us()
{
    instr_time now;
    INSTR_TIME_SET_CURRENT(now);
    return static_cast<int64>(INSTR_TIME_GET_MICROSEC(now));
}

/* A time of that clock, as others read it. */
TimestampTz
wall_time(int64 monotonic)
{
    return GetCurrentTimestamp() + (monotonic - monotonic_us());
}

Desk *
own_desk(ProviderId provider)
{
    return &delivering->desks[find_slot(MyDatabaseId) - shared->slots][provider];
}

/* Let the minutes pass that have passed. */
void
turn_minute(Desk *desk)
{
    int64 minute = monotonic_us() / (60 * USECS_PER_SEC);
    if (minute != desk->minute) {
        desk->last_minute = minute == desk->minute + 1 ? desk->this_minute : 0;
        desk->this_minute = 0;
        desk->minute = minute;
    }
}

/* Messages within the last sixty seconds, as if the last minute's had come evenly. */
int64
sent_last_minute(Desk *desk)
{
    turn_minute(desk);
    double passed =
        static_cast<double>(monotonic_us() % (60 * USECS_PER_SEC)) / (60 * USECS_PER_SEC);
    return desk->this_minute +
           static_cast<int64>(static_cast<double>(desk->last_minute) * (1 - passed));
}

/* Tell the log that a provider is left alone, or is not any more: once, not for each row. */
void
log_change(ProviderId provider, bool opened, const char *reason, int64 wait_us)
{
    if (opened)
        ereport(WARNING,
                (errmsg("skene_gate cannot deliver to %s: %s", providers[provider].name, reason),
                 errdetail("The next attempt is in " INT64_FORMAT " seconds.",
                           wait_us / USECS_PER_SEC)));
    else
        ereport(LOG, (errmsg("skene_gate delivers to %s again", providers[provider].name)));
}

/* The name of a state, and in *until when it ends (0 = never). */
const char *
describe_account(const Account &account, int64 now, int64 *until)
{
    *until = 0;
    switch (account.circuit.state) {
    case CircuitState::open:
        *until = account.circuit.until;
        return "open";
    case CircuitState::probing:
        return "probing";
    default:
        if (account.bucket.paused_until <= now)
            return "closed";
        *until = account.bucket.paused_until;
        return "resting";
    }
}

} // namespace

size_t
delivery_size()
{
    return MAXALIGN(sizeof(Delivering));
}

void
initialize_delivery()
{
    bool found;

    delivering = static_cast<Delivering *>(
        ShmemInitStruct("skene_gate delivery", sizeof(Delivering), &found));
    if (!found)
        memset(static_cast<void *>(delivering), 0, sizeof(Delivering));
}

int
find_account(ProviderId provider, const Secret &key)
{
    auto *text = reinterpret_cast<const unsigned char *>(key.text);
    uint64 hash[2] = {hash_bytes_extended(text, key.size, static_cast<uint64>(provider) + 1),
                      hash_bytes_extended(text, key.size, static_cast<uint64>(provider) + 101)};
    int found = 0;

    LWLockAcquire(shared->delivery_lock, LW_EXCLUSIVE);
    for (int i = 0; i < max_accounts; i++) {
        Account &account = delivering->accounts[i];
        if (account.key[0] == hash[0] && account.key[1] == hash[1]) {
            found = i;
            break;
        }
        if (account.used_at < delivering->accounts[found].used_at)
            found = i;
    }
    Account &account = delivering->accounts[found];
    if (account.key[0] != hash[0] || account.key[1] != hash[1]) {
        account = Account{};
        account.key[0] = hash[0];
        account.key[1] = hash[1];
    }
    account.used_at = monotonic_us();
    own_desk(provider)->account = found + 1;
    LWLockRelease(shared->delivery_lock);
    return found;
}

Turn
take_turn(ProviderId provider, int account, int wanted)
{
    Account &one = delivering->accounts[account];
    Turn turn = {0, false};

    LWLockAcquire(shared->delivery_lock, LW_EXCLUSIVE);
    int64 now = monotonic_us();
    Admission admission = admit(one.circuit, now);
    if (admission != Admission::none) {
        turn.probe = admission == Admission::probe;
        turn.requests =
            take_tokens(&one.bucket, *providers[provider].rate, now, turn.probe ? 1 : wanted);
        if (turn.probe && turn.requests > 0)
            begin_probe(&one.circuit, now);
    }
    LWLockRelease(shared->delivery_lock);
    return turn;
}

void
end_turn(ProviderId provider, int account, const Turn &turn, int used)
{
    if (used == turn.requests)
        return;
    Account &one = delivering->accounts[account];
    LWLockAcquire(shared->delivery_lock, LW_EXCLUSIVE);
    return_tokens(&one.bucket, *providers[provider].rate, turn.requests - used);
    if (turn.probe)
        return_probe(&one.circuit, monotonic_us());
    LWLockRelease(shared->delivery_lock);
}

TimestampTz
next_turn(ProviderId provider, int account)
{
    const Account &one = delivering->accounts[account];

    LWLockAcquire(shared->delivery_lock, LW_SHARED);
    int64 now = monotonic_us();
    int64 next = next_token_at(one.bucket, *providers[provider].rate, now);
    if (one.circuit.state == CircuitState::open)
        next = Max(next, one.circuit.until);
    else if (one.circuit.state == CircuitState::probing) /* nobody tells when it is answered */
        next = Max(next, Min(one.circuit.until, now + USECS_PER_SEC));
    LWLockRelease(shared->delivery_lock);
    return wall_time(next) + 1000;
}

void
note_answer(ProviderId provider, int account, const Delivery &delivery)
{
    Account &one = delivering->accounts[account];
    char reason[sizeof(delivery.error)];
    bool changed = false;
    bool opened = false;

    LWLockAcquire(shared->delivery_lock, LW_EXCLUSIVE);
    int64 now = monotonic_us();
    Desk *desk = own_desk(provider);
    desk->requests++;
    if (delivery.verdict != Verdict::sent) {
        desk->failed++;
        strlcpy(one.reason, delivery.error, sizeof(one.reason));
    }
    if (delivery.verdict == Verdict::halt) {
        changed = opened = note_halt(&one.circuit, now, delivery.wait_s * USECS_PER_SEC);
    } else if (delivery.failing) {
        changed = opened = note_failure(&one.circuit, now, pg_prng_double(&pg_global_prng_state));
    } else {
        changed = note_success(&one.circuit);
        if (delivery.verdict == Verdict::wait)
            pause_bucket(&one.bucket, now + delivery.wait_s * USECS_PER_SEC);
    }
    int64 wait = one.circuit.until - now;
    strlcpy(reason, delivery.error, sizeof(reason));
    LWLockRelease(shared->delivery_lock);
    if (changed)
        log_change(provider, opened, reason, wait);
}

void
note_settled(ProviderId provider, int sent_messages)
{
    LWLockAcquire(shared->delivery_lock, LW_EXCLUSIVE);
    Desk *desk = own_desk(provider);
    turn_minute(desk);
    desk->sent += sent_messages;
    desk->this_minute += sent_messages;
    LWLockRelease(shared->delivery_lock);
}

void
show_in_flight(ProviderId provider, int requests)
{
    own_desk(provider)->in_flight = requests;
}

void
forget_flights(int slot)
{
    for (Desk &desk : delivering->desks[slot])
        desk.in_flight = 0;
}

void
forget_desks(int slot)
{
    memset(static_cast<void *>(delivering->desks[slot]), 0, sizeof(delivering->desks[slot]));
}

void
allow_probes()
{
    LWLockAcquire(shared->delivery_lock, LW_EXCLUSIVE);
    for (int i = 0; i < provider_count; i++) {
        Desk *desk = own_desk(static_cast<ProviderId>(i));
        if (desk->account > 0)
            allow_probe(&delivering->accounts[desk->account - 1].circuit, monotonic_us());
    }
    LWLockRelease(shared->delivery_lock);
}

SKENE_FUNCTION(skene_delivery_slots)
{
    enum {
        provider,
        breaker,
        until,
        reason,
        failures,
        in_flight,
        requests,
        sent,
        failed,
        last_minute,
        column_count
    };
    auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);

    require_preload();
    InitMaterializedSRF(fcinfo, 0);
    WorkerSlot *slot = find_slot(MyDatabaseId);
    for (int i = 0; slot && i < provider_count; i++) {
        Datum values[column_count] = {};
        bool nulls[column_count] = {};

        LWLockAcquire(shared->delivery_lock, LW_EXCLUSIVE);
        Desk *desk = &delivering->desks[slot - shared->slots][i];
        int64 recent = sent_last_minute(desk);
        Desk seen = *desk;
        Account account = {};
        if (seen.account > 0)
            account = delivering->accounts[seen.account - 1];
        LWLockRelease(shared->delivery_lock);
        if (seen.account == 0)
            continue;
        int64 ends;
        values[breaker] = CStringGetTextDatum(describe_account(account, monotonic_us(), &ends));
        values[provider] = CStringGetTextDatum(providers[i].name);
        nulls[until] = ends == 0;
        if (ends != 0)
            values[until] = TimestampTzGetDatum(wall_time(ends));
        nulls[reason] = account.reason[0] == '\0';
        if (!nulls[reason])
            values[reason] = CStringGetTextDatum(account.reason);
        values[failures] = Int32GetDatum(account.circuit.failures);
        values[in_flight] = Int32GetDatum(seen.in_flight);
        values[requests] = Int64GetDatum(seen.requests);
        values[sent] = Int64GetDatum(seen.sent);
        values[failed] = Int64GetDatum(seen.failed);
        values[last_minute] = Int64GetDatum(recent);
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return (Datum) 0;
}

} // namespace skene
