/*
 * flights.cpp: starting requests, waiting for answers, judging them.
 *
 * Invariants: an answer is kept until its settlement has committed. Each provider has
 * flights of its own: one that hangs takes none from the other. No transaction is open
 * while we wait.
 */
#include "outbox/flights.hpp"

#include "outbox/account.hpp"
#include "server/clock.hpp"
#include "server/work.hpp"
#include "settings/settings.hpp"

#include "core/http_client.hpp"

namespace skene
{

namespace
{

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

void
prepare_flights()
{
    if (!client && !(client = open_http_client(user_agent, provider_count * max_requests_limit)))
        ereport(ERROR, (errmsg("skene_gate could not start libcurl")));
    if (!flights_context)
        flights_context =
            AllocSetContextCreate(TopMemoryContext, "skene_gate requests", ALLOCSET_DEFAULT_SIZES);
}

int
free_flights(ProviderId provider)
{
    return Max(0, max_requests - used_flights[provider]);
}

void
start_flights(ProviderId provider, int account, const Request *requests, int count,
              const Secret &key)
{
    for (int i = 0, flight = 0; i < count; i++)
        flight = start(provider, account, flight, requests[i], key);
    show_in_flight(provider, used_flights[provider]);
}

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

bool
answers_left()
{
    for (int i = 0; i < provider_count; i++) {
        if (used_flights[i] > open_flights[i])
            return true;
    }
    return false;
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
