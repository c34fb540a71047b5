/*
 * delivery.cpp: which rows are sent now: as rates, keys and free flights allow.
 *
 * Invariant: a row is sent only under a lease that is committed, and between lease and
 * settlement no transaction is open. When the worker dies in between, the lease runs out
 * and the same bytes go out again under the same key.
 */
#include "outbox/delivery.hpp"

#include "outbox/account.hpp"
#include "outbox/flights.hpp"
#include "outbox/request.hpp"
#include "server/clock.hpp"
#include "server/work.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

constexpr int64 secret_retry_ms = 60 * 1000;
constexpr int64 locked_retry_ms = 1000;
constexpr int64 tend_ms = 5000; /* between looks for what must not be sent any more */

/* What an attempt to send takes, of each provider. */
struct Outlook {
    bool ready; /* key and flights are there */
    int account;
    Turn turn; /* not yet ended, so that an error can give it back */
    bool turn_open;
    int leased;
};

Outlook outlooks[provider_count];

/* Warn when delivery stops or starts for a reason of configuration, not each time. */
char standing_problems[provider_count][256];

void
change_problem(ProviderId provider, const char *problem)
{
    char *standing = standing_problems[provider];
    if (strcmp(standing, problem) == 0)
        return;
    strlcpy(standing, problem, sizeof(standing_problems[provider]));
    if (problem[0] != '\0') {
        report_error(problem);
        ereport(WARNING,
                (errmsg("skene_gate cannot deliver to %s: %s", providers[provider].name, problem)));
    } else {
        ereport(LOG, (errmsg("skene_gate delivers to %s again", providers[provider].name)));
    }
}

/* delivery = capture: nothing leaves. */
TimestampTz
capture()
{
    static SPIPlanPtr plan = nullptr;
    WorkScope scope;
    Due due;

    begin_work(&scope);
    run_prepared(&plan, "SELECT skene.capture_outbox()", 0, nullptr, nullptr, nullptr,
                 InvalidSnapshot, false, SPI_OK_SELECT);
    read_due(&due);
    end_work(&scope);
    TimestampTz next = DT_NOEND; /* leases are of no concern while nothing is sent */
    for (int i = 0; i < provider_count; i++)
        next = Min(next, due.waiting[i] ? TimestampTzPlusMilliseconds(gate_time(), locked_retry_ms)
                                        : due.next[i]);
    return next;
}

/*
 * Can a header carry the key? One that cannot is a mistake of the configuration, and no
 * message should die of it.
 */
bool
is_one_word(const Secret &key)
{
    for (int i = 0; i < key.size; i++) {
        if (key.text[i] <= ' ' || key.text[i] > '~')
            return false;
    }
    return true;
}

/* Read a provider's key; false with what is wrong. */
bool
read_key(ProviderId provider, Secret *key, char *reason, size_t reason_size)
{
    const Provider &one = providers[provider];
    if (!read_secret(one.key_setting, *one.key_file, key, reason, reason_size))
        return false;
    if (is_one_word(*key))
        return true;
    wipe(key);
    snprintf(reason, reason_size, "the file named by %s must hold one key and nothing else",
             one.key_setting);
    return false;
}

/* Give back what a round took that an error ended, and its transaction with it. */
void
end_turns()
{
    for (int i = 0; i < provider_count; i++) {
        Outlook &outlook = outlooks[i];
        if (outlook.turn_open)
            end_turn(static_cast<ProviderId>(i), outlook.account, outlook.turn, 0);
        outlook = Outlook{};
    }
}

/* When to look again at a provider, after a round. */
TimestampTz
look_again(ProviderId provider, const Due &due, const char *problem)
{
    const Outlook &outlook = outlooks[provider];

    if (!due.waiting[provider])
        return due.next[provider];
    if (problem[0] != '\0')
        return TimestampTzPlusMilliseconds(gate_time(), secret_retry_ms);
    if (!outlook.ready)
        return DT_NOEND;                        /* no flight is free: a settlement looks again */
    if (outlook.leased < outlook.turn.requests) /* rows that somebody has locked */
        return TimestampTzPlusMilliseconds(gate_time(), locked_retry_ms);
    if (free_flights(provider) == 0)
        return DT_NOEND;
    return next_turn(provider, outlook.account);
}

/* When the next lease runs out; one that has, and is still there, is locked by somebody. */
TimestampTz
leases_due(const Due &due)
{
    TimestampTz now = gate_time();
    return due.lease > now ? due.lease : TimestampTzPlusMilliseconds(now, locked_retry_ms);
}

/* delivery = on: lease and send as much as the rates and our flights allow. */
TimestampTz
send()
{
    static TimestampTz tend_at = 0;
    static SPIPlanPtr tend = nullptr;
    static Secret keys[provider_count];
    static Request requests[provider_count][max_requests_limit];
    char problems[provider_count][256] = {};
    MemoryContext context = CurrentMemoryContext; /* outlives the transaction */
    WorkScope scope;
    Due due;

    prepare_flights();
    end_turns();
    for (int i = 0; i < provider_count; i++) {
        auto provider = static_cast<ProviderId>(i);
        Outlook &outlook = outlooks[i];
        int wanted = free_flights(provider);
        if (wanted == 0 || !read_key(provider, &keys[i], problems[i], sizeof(problems[i])))
            continue;
        outlook.ready = true;
        outlook.account = find_account(provider, keys[i]);
        outlook.turn = take_turn(provider, outlook.account, wanted);
        outlook.turn_open = true;
    }

    begin_work(&scope);
    bool tended = gate_time() >= tend_at;
    if (tended)
        run_prepared(&tend, "SELECT skene.tend_outbox()", 0, nullptr, nullptr, nullptr,
                     InvalidSnapshot, false, SPI_OK_SELECT);
    for (int i = 0; i < provider_count; i++) {
        Outlook &outlook = outlooks[i];
        if (outlook.turn.requests > 0)
            outlook.leased = lease_requests(static_cast<ProviderId>(i), outlook.turn.requests,
                                            outlook.turn.probe, context, requests[i]);
    }
    read_due(&due);
    end_work(&scope);

    /* rounds may follow each other closely: none puts off what was due */
    if (tended)
        tend_at = TimestampTzPlusMilliseconds(gate_time(), tend_ms);
    tend_at = Min(tend_at, leases_due(due));
    TimestampTz next = due.lease == DT_NOEND ? DT_NOEND : Max(tend_at, gate_time());
    for (int i = 0; i < provider_count; i++) {
        auto provider = static_cast<ProviderId>(i);
        Outlook &outlook = outlooks[i];
        start_flights(provider, outlook.account, requests[i], outlook.leased, keys[i]);
        wipe(&keys[i]);
        /* nobody misses the key of a provider to which nothing is sent */
        if (due.waiting[i] || problems[i][0] == '\0')
            change_problem(provider, due.waiting[i] ? problems[i] : "");
        if (outlook.turn_open)
            end_turn(provider, outlook.account, outlook.turn, outlook.leased);
        outlook.turn_open = false;
        next = Min(next, look_again(provider, due, problems[i]));
    }
    return next;
}

} // namespace

TimestampTz
empty_outbox()
{
    TimestampTz next = DT_NOEND;

    settle_answers();
    switch (delivery) {
    case delivery_capture:
        next = capture();
        break;
    case delivery_on:
        next = send();
        break;
    default:
        break;
    }
    if (answers_left())
        next = Min(next, TimestampTzPlusMilliseconds(gate_time(), locked_retry_ms));
    return next;
}

} // namespace skene
