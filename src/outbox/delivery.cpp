/*
 * delivery.cpp: sending what the outbox holds to its providers.
 *
 * Invariants: a row is sent only under a lease that is committed; between lease
 * and settlement no transaction is open; an answer is kept until its settlement
 * has committed. When the worker dies in between, the lease runs out and the same
 * bytes go out again under the same key. Each provider has flights of its own: one
 * that hangs takes none from the other.
 */
#include "outbox/delivery.hpp"

#include "outbox/account.hpp"
#include "outbox/request.hpp"
#include "server/clock.hpp"
#include "server/work.hpp"
#include "settings/settings.hpp"

#include "core/http_client.hpp"

namespace skene
{

namespace
{

constexpr int64 secret_retry_ms = 60 * 1000;
constexpr int64 locked_retry_ms = 1000;
constexpr int64 tend_ms = 5000; /* between looks for what must not be sent any more */
constexpr int connect_timeout_ms = 5000;
constexpr int gather_ms = 10; /* an answer waits so long for others, to be settled with them */
constexpr const char *user_agent = "skene_gate/1.0 (PostgreSQL extension)";

/* One request under way, or answered and not yet settled. */
struct Flight {
    bool used;
    bool answered;
    ProviderId provider;
    int account;
    int32 attempts;
    Ending ending; /* with memory of its own, in flights_context */
};

Flight flights[provider_count][max_requests_limit];
int used_flights[provider_count];
int open_flights[provider_count]; /* of those, not answered */
MemoryContext flights_context = nullptr;
HttpClient *client = nullptr;

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

int
free_flights(ProviderId provider)
{
    return Max(0, max_requests - used_flights[provider]);
}

/* Answers that are not settled yet: a row is locked. */
bool
answers_left()
{
    for (int i = 0; i < provider_count; i++) {
        if (used_flights[i] > open_flights[i])
            return true;
    }
    return false;
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

/*
 * Start the request of leased rows, as the first flight from index on that is free; returns
 * which. A refusal is an answer too: settled like one.
 */
int
start(ProviderId provider, int account, int index, const Request &leased, const Secret &key)
{
    const Provider &to = providers[provider];
    char reason[128];

    while (flights[provider][index].used)
        index++;
    Flight &flight = flights[provider][index];
    flight = Flight{};
    flight.used = true;
    used_flights[provider]++;
    flight.provider = provider;
    flight.account = account;
    flight.attempts = leased.attempts;
    auto *ids =
        static_cast<int64 *>(MemoryContextAlloc(flights_context, sizeof(int64) * leased.count));
    memcpy(ids, leased.ids, sizeof(int64) * leased.count);
    flight.ending.ids = ids;
    flight.ending.count = leased.count;
    flight.ending.batch = leased.batch;
    flight.ending.token = leased.token;

    auto base_size = static_cast<int>(strlen(*to.base_url));
    while (base_size > 0 && (*to.base_url)[base_size - 1] == '/')
        base_size--;
    char *url = psprintf("%.*s%s", base_size, *to.base_url, leased.path);
    HttpRequest request;
    request.tag = static_cast<uint64_t>(provider) * max_requests_limit + index;
    request.url = url;
    request.bearer_token = {key.text, static_cast<size_t>(key.size)};
    request.content_type = leased.content_type;
    request.idempotency_key = leased.idempotency_key;
    request.extra_header = leased.batch ? to.batch_header : to.extra_header;
    request.body = leased.body;
    request.proxy = http_proxy;
    request.ca_file = ca_file;
    request.connect_timeout_ms = Min(connect_timeout_ms, request_timeout);
    request.total_timeout_ms = request_timeout;
    if (start_request(client, request, reason, sizeof(reason))) {
        open_flights[provider]++;
    } else {
        flight.answered = true;
        flight.ending.delivery.verdict = Verdict::bury;
        snprintf(flight.ending.delivery.error, sizeof(flight.ending.delivery.error), "not sent: %s",
                 reason);
    }
    return index;
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

    if (!client && !(client = open_http_client(user_agent, provider_count * max_requests_limit)))
        ereport(ERROR, (errmsg("skene_gate could not start libcurl")));
    if (!flights_context)
        flights_context =
            AllocSetContextCreate(TopMemoryContext, "skene_gate requests", ALLOCSET_DEFAULT_SIZES);
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
        for (int j = 0, flight = 0; j < outlook.leased; j++)
            flight = start(provider, outlook.account, flight, requests[i][j], keys[i]);
        wipe(&keys[i]);
        /* nobody misses the key of a provider to which nothing is sent */
        if (due.waiting[i] || problems[i][0] == '\0')
            change_problem(provider, due.waiting[i] ? problems[i] : "");
        if (outlook.turn_open)
            end_turn(provider, outlook.account, outlook.turn, outlook.leased);
        outlook.turn_open = false;
        next = Min(next, look_again(provider, due, problems[i]));
        show_in_flight(provider, used_flights[i]);
    }
    return next;
}

/* What an answer means. */
void
judge(Flight *flight, const HttpResponse &response)
{
    Ending &ending = flight->ending;
    double random = pg_prng_double(&pg_global_prng_state);

    flight->answered = true;
    open_flights[flight->provider]--;
    ending.status = response.status;
    const int64_t times[] = {response.dns_us, response.connect_us, response.tls_us,
                             response.first_byte_us, response.total_us};
    for (int i = 0; i < 5; i++)
        ending.milliseconds[i] = static_cast<float>(times[i]) / 1000;
    if (ending.batch) {
        auto *items = static_cast<BatchItem *>(
            MemoryContextAlloc(flights_context, sizeof(BatchItem) * ending.count));
        ending.delivery =
            judge_resend_batch(response, flight->attempts, random, items, ending.count);
        if (ending.delivery.verdict == Verdict::sent)
            ending.items = items;
        else
            pfree(items);
    } else {
        ending.delivery = providers[flight->provider].judge(response, flight->attempts, random);
    }
    note_answer(flight->provider, flight->account, ending.delivery);
}

/* Messages that a request has delivered. */
int
messages_sent(const Ending &ending)
{
    int sent = 0;
    if (ending.delivery.verdict != Verdict::sent)
        return 0;
    for (int i = 0; i < ending.count; i++)
        sent += !ending.items || !ending.items[i].refused;
    return sent;
}

/* Write down how flights ended; those whose rows are locked stay. */
void
settle_answers()
{
    constexpr int most = provider_count * max_requests_limit;
    Flight *answered[most];
    const Ending *endings[most];
    bool settled[most] = {};
    int count = 0;

    for (auto &of_provider : flights) {
        for (Flight &flight : of_provider) {
            if (flight.used && flight.answered) {
                endings[count] = &flight.ending;
                answered[count++] = &flight;
            }
        }
    }
    if (count == 0)
        return;
    settle_requests(endings, count, settled);
    for (int i = 0; i < count; i++) {
        Flight &flight = *answered[i];
        if (!settled[i])
            continue;
        int sent = messages_sent(flight.ending);
        if (sent > 0)
            report_success();
        if (flight.ending.delivery.verdict != Verdict::sent)
            report_error(flight.ending.delivery.error);
        note_settled(flight.provider, sent);
        used_flights[flight.provider]--;
        pfree(const_cast<int64 *>(flight.ending.ids));
        if (flight.ending.items)
            pfree(const_cast<BatchItem *>(flight.ending.items));
        flight = Flight{};
    }
    for (int i = 0; i < provider_count; i++)
        show_in_flight(static_cast<ProviderId>(i), used_flights[i]);
    wake_worker(find_slot(MyDatabaseId), wake_outbox); /* flights are free */
}

/* Wait for traffic, or the latch, up to timeout_ms. */
void
wait_for_traffic(int64 timeout_ms)
{
    static WaitEventSet *set = nullptr;
    WaitEvent event;

    if (!set) {
        WaitEventSet *fresh = create_wait_event_set(3);
        (void) AddWaitEventToSet(fresh, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
        (void) AddWaitEventToSet(fresh, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
        (void) AddWaitEventToSet(fresh, WL_SOCKET_READABLE, traffic_descriptor(client), nullptr,
                                 nullptr);
        set = fresh;
    }
    (void) WaitEventSetWait(set, static_cast<long>(timeout_ms), &event, 1, http_wait_event());
}

/* Move transfers on, and judge the answers that are there; true for providers that gave one. */
void
take_answers(int timeout_ms, bool *answered)
{
    HttpResponse response;

    pgstat_report_wait_start(http_wait_event());
    (void) poll_requests(client, timeout_ms);
    pgstat_report_wait_end();
    while (next_response(client, &response)) {
        Flight *flight =
            &flights[response.tag / max_requests_limit][response.tag % max_requests_limit];
        judge(flight, response);
        answered[flight->provider] = true;
    }
}

/* Will others answer soon? One that hangs is not waited for by the answers of another. */
bool
more_to_gather(const bool *answered)
{
    for (int i = 0; i < provider_count; i++) {
        if (answered[i] && open_flights[i] > 0)
            return true;
    }
    return false;
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

bool
deliveries_under_way()
{
    for (int open : open_flights) {
        if (open > 0)
            return true;
    }
    return false;
}

void
wait_for_deliveries(int64 timeout_ms)
{
    bool answered[provider_count] = {};

    pgstat_report_activity(STATE_RUNNING, "skene_gate: requests to providers");
    wait_for_traffic(timeout_ms);
    take_answers(0, answered);
    /* what is written together costs less */
    TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), gather_ms);
    int64 left;
    while (more_to_gather(answered) && (left = until - GetCurrentTimestamp()) > 0)
        take_answers(static_cast<int>(left / 1000) + 1, answered);
    pgstat_report_activity(STATE_IDLE, nullptr);
    settle_answers();
}

void
finish_deliveries(int64 timeout_ms)
{
    TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
    int64 left;

    while (deliveries_under_way() && (left = until - GetCurrentTimestamp()) > 0) {
        wait_for_deliveries(left / 1000 + 1);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
}

} // namespace skene
