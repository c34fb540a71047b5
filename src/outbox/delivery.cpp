/*
 * delivery.cpp: sending rows of the outbox to their provider.
 *
 * Invariants: a row is sent only under a lease that is committed; between lease
 * and settlement no transaction is open; an answer is kept until its settlement
 * has committed. When the worker dies in between, the lease runs out and the same
 * bytes go out again under the same key.
 */
#include "outbox/delivery.hpp"

#include "server/clock.hpp"
#include "server/work.hpp"
#include "settings/secret_file.hpp"
#include "settings/settings.hpp"

#include "core/delivery_policy.hpp"
#include "core/http_client.hpp"

namespace skene
{

namespace
{

constexpr int max_flights = 8;
constexpr int64 secret_retry_ms = 60 * 1000;
constexpr const char *lease_time = "60 seconds"; /* more than a request may take */
constexpr const char *user_agent = "skene_gate/1.0 (PostgreSQL extension)";

/* One request under way, or answered and not yet settled. */
struct Flight {
    bool used;
    bool answered;
    int64 outbox_id;
    pg_uuid_t token;
    int32 attempts;
    int32 status;
    Delivery delivery;
};

Flight flights[max_flights];
HttpClient *client = nullptr;

/* A bucket of tokens, one a request, refilled at skene_gate.resend_rate. */
double tokens = 1.0;
TimestampTz refilled_at = 0;

/* Warn when delivery stops or starts for a reason of configuration, not each time. */
char standing_problem[256] = "";

void
change_problem(const char *problem)
{
    if (strcmp(standing_problem, problem) == 0)
        return;
    strlcpy(standing_problem, problem, sizeof(standing_problem));
    if (problem[0] != '\0') {
        report_error(problem);
        ereport(WARNING, (errmsg("skene_gate cannot deliver: %s", problem)));
    } else {
        ereport(LOG, (errmsg("skene_gate delivers again")));
    }
}

int
take_tokens(int wanted)
{
    TimestampTz now = gate_time();
    double burst = Max(1.0, resend_rate);

    if (refilled_at != 0)
        tokens += static_cast<double>(now - refilled_at) / USECS_PER_SEC * resend_rate;
    refilled_at = now;
    tokens = Min(tokens, burst);
    int taken = Min(wanted, static_cast<int>(tokens));
    tokens -= taken;
    return taken;
}

TimestampTz
next_token_at()
{
    return gate_time() + static_cast<int64>(Max(0.0, 1.0 - tokens) / resend_rate * USECS_PER_SEC) +
           1000;
}

TimestampTz
next_due()
{
    static SPIPlanPtr plan = nullptr;

    run_prepared(&plan, "SELECT skene.next_due()", 0, nullptr, nullptr, nullptr, InvalidSnapshot,
                 false, SPI_OK_SELECT);
    return time_column(1, DT_NOEND);
}

int
free_flights()
{
    int count = 0;
    for (const Flight &flight : flights)
        count += !flight.used;
    return count;
}

/* delivery = capture: nothing leaves. */
TimestampTz
capture()
{
    static SPIPlanPtr plan = nullptr;
    WorkScope scope;

    begin_work(&scope);
    run_prepared(&plan, "SELECT skene.capture_outbox()", 0, nullptr, nullptr, nullptr,
                 InvalidSnapshot, false, SPI_OK_SELECT);
    TimestampTz due = next_due();
    end_work(&scope);
    return due;
}

/* A row as leased; strings live in the worker's loop context. */
struct Leased {
    Flight flight;
    char *path;
    char *content_type;
    char *body;
    char *idempotency_key;
};

/* Lease up to wanted rows; commits. */
int
lease(int wanted, Leased *leased, TimestampTz *due)
{
    static SPIPlanPtr plan = nullptr;
    MemoryContext context = CurrentMemoryContext;
    const Oid types[] = {INT4OID, TEXTOID};
    WorkScope scope;

    begin_work(&scope);
    Datum values[] = {Int32GetDatum(wanted), CStringGetTextDatum(lease_time)};
    run_prepared(&plan,
                 "SELECT outbox_id, lease_token, attempts, path, content_type, body, "
                 "idempotency_key FROM skene.lease_outbox($1, $2::interval)",
                 2, types, values, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
    int count = static_cast<int>(SPI_processed);
    for (int i = 0; i < count; i++) {
        HeapTuple row = SPI_tuptable->vals[i];
        TupleDesc columns = SPI_tuptable->tupdesc;
        bool is_null;
        Leased &one = leased[i];
        auto text_of = [&](int column) {
            return MemoryContextStrdup(context, SPI_getvalue(row, columns, column));
        };
        one.flight = Flight{};
        one.flight.used = true;
        one.flight.outbox_id = DatumGetInt64(SPI_getbinval(row, columns, 1, &is_null));
        one.flight.token = *DatumGetUUIDP(SPI_getbinval(row, columns, 2, &is_null));
        one.flight.attempts = DatumGetInt32(SPI_getbinval(row, columns, 3, &is_null));
        one.path = text_of(4);
        one.content_type = text_of(5);
        one.body = text_of(6);
        one.idempotency_key = text_of(7);
    }
    *due = next_due();
    end_work(&scope);
    return count;
}

/* Start the request of a leased row. A refusal is an answer too: settled like one. */
void
start(const Leased &leased, const Secret &key)
{
    char reason[128];
    int index = 0;

    while (flights[index].used)
        index++;
    Flight &flight = flights[index];
    flight = leased.flight;

    char *url = psprintf("%s%s", resend_base_url, leased.path);
    HttpRequest request;
    request.tag = index;
    request.url = url;
    request.bearer_token = {key.text, static_cast<size_t>(key.size)};
    request.content_type = leased.content_type;
    request.idempotency_key = leased.idempotency_key;
    request.body = leased.body;
    if (!start_request(client, request, reason, sizeof(reason))) {
        flight.answered = true;
        flight.delivery.verdict = Verdict::bury;
        snprintf(flight.delivery.error, sizeof(flight.delivery.error), "not sent: %s", reason);
    }
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

/* delivery = on: lease and send as much as the rate and our slots allow. */
TimestampTz
send()
{
    Leased leased[max_flights];
    Secret key;
    char reason[256];
    TimestampTz due;

    int wanted = free_flights();
    if (wanted == 0)
        return DT_NOEND; /* a settlement looks again */
    if (!client && !(client = open_http_client(user_agent)))
        ereport(ERROR, (errmsg("skene_gate could not start libcurl")));
    if (!read_secret("skene_gate.resend_api_key_file", resend_api_key_file, &key, reason,
                     sizeof(reason))) {
        change_problem(reason);
        return TimestampTzPlusMilliseconds(gate_time(), secret_retry_ms);
    }
    if (!is_one_word(key)) {
        wipe(&key);
        change_problem("the file named by skene_gate.resend_api_key_file must hold one key and "
                       "nothing else");
        return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), secret_retry_ms);
    }
    wanted = take_tokens(wanted);
    if (wanted == 0) {
        wipe(&key);
        return next_token_at();
    }
    int count = lease(wanted, leased, &due);
    tokens += wanted - count;
    for (int i = 0; i < count; i++)
        start(leased[i], key);
    wipe(&key);
    if (count == wanted)
        return Min(due, next_token_at());
    return due;
}

const char *
verdict_name(Verdict verdict)
{
    switch (verdict) {
    case Verdict::sent:
        return "sent";
    case Verdict::halt:
        return "halt";
    case Verdict::bury:
        return "dead";
    default:
        return "retry";
    }
}

/* Write down how a flight ended, in a transaction of its own. */
void
settle(Flight *flight)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {INT8OID, UUIDOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, INT8OID};
    const Delivery &delivery = flight->delivery;
    WorkScope scope;

    begin_work(&scope);
    Datum values[] = {Int64GetDatum(flight->outbox_id),
                      UUIDPGetDatum(&flight->token),
                      CStringGetTextDatum(verdict_name(delivery.verdict)),
                      Int32GetDatum(flight->status),
                      CStringGetTextDatum(delivery.error),
                      CStringGetTextDatum(delivery.provider_id),
                      Int64GetDatum(delivery.wait_s)};
    run_prepared(&plan,
                 "SELECT skene.settle_outbox($1, $2, $3, nullif($4, 0), nullif($5, ''), "
                 "nullif($6, ''), $7 * interval '1 second')",
                 7, types, values, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
    end_work(&scope);

    if (delivery.verdict == Verdict::sent) {
        report_success();
        change_problem("");
    } else {
        report_error(delivery.error);
    }
    if (delivery.verdict == Verdict::bury)
        ereport(WARNING, (errmsg("skene_gate gave up on message " INT64_FORMAT ": %s",
                                 flight->outbox_id, delivery.error)));
    else if (delivery.verdict == Verdict::halt)
        change_problem(delivery.error);
    *flight = Flight{};
}

} // namespace

TimestampTz
empty_outbox()
{
    switch (delivery) {
    case delivery_capture:
        return capture();
    case delivery_on:
        return send();
    default:
        return DT_NOEND;
    }
}

int
deliveries_under_way()
{
    return max_flights - free_flights();
}

void
move_deliveries(int timeout_ms)
{
    HttpResponse response;
    bool settled = false;

    pgstat_report_wait_start(worker_wait_event());
    (void) poll_requests(client, timeout_ms);
    pgstat_report_wait_end();

    while (next_response(client, &response)) {
        Flight &flight = flights[response.tag];
        flight.answered = true;
        flight.status = response.status;
        flight.delivery =
            judge_resend(response, flight.attempts, pg_prng_double(&pg_global_prng_state));
    }
    for (Flight &flight : flights) {
        if (flight.used && flight.answered) {
            settle(&flight);
            settled = true;
        }
    }
    if (settled)
        wake_worker(find_slot(MyDatabaseId), wake_outbox); /* a slot is free */
}

} // namespace skene
