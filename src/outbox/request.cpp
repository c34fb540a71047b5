/*
 * request.cpp: the SQL of leasing and settling.
 *
 * Invariant: an end that cannot be written holds up no other: what fails together is
 * written one by one.
 */
#include "outbox/request.hpp"

#include "server/work.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

/* Longer than a request may take, its connection and settling included. */
int64
lease_ms()
{
    return 2 * static_cast<int64>(request_timeout) + 30 * 1000;
}

/* An array of ids, null for those that are gone. */
void
read_ids(Datum array, MemoryContext context, Request *request)
{
    Datum *elements;
    bool *nulls;

    deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
                      TYPALIGN_DOUBLE, &elements, &nulls, &request->count);
    request->ids =
        static_cast<int64 *>(MemoryContextAlloc(context, sizeof(int64) * Max(request->count, 1)));
    for (int i = 0; i < request->count; i++)
        request->ids[i] = nulls[i] ? 0 : DatumGetInt64(elements[i]);
}

const char *
verdict_name(Verdict verdict)
{
    switch (verdict) {
    case Verdict::sent:
        return "sent";
    case Verdict::wait:
        return "wait";
    case Verdict::halt:
        return "halt";
    case Verdict::bury:
        return "bury";
    default:
        return "retry";
    }
}

/* Add a key and a string. */
void
add_text(StringInfo json, const char *key, const char *value)
{
    appendStringInfo(json, ",\"%s\":", key);
    escape_json(json, value);
}

/* Add the objects that settle_outbox() reads: one for each row of a request. */
void
describe_ending(const Ending &ending, StringInfo json)
{
    static const char *const times[] = {"dns_ms", "connect_ms", "tls_ms", "first_byte_ms",
                                        "total_ms"};
    const Delivery &delivery = ending.delivery;
    char *token = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&ending.token)));

    for (int i = 0; i < ending.count; i++) {
        const char *verdict = verdict_name(delivery.verdict);
        const char *error = delivery.error;
        const char *sent_id = delivery.provider_id;
        if (ending.ids[i] == 0)
            continue;
        if (ending.items) {
            /* what a batch does not take is judged by an answer of its own */
            verdict = ending.items[i].refused ? "alone" : "sent";
            error = ending.items[i].error;
            sent_id = ending.items[i].provider_id;
        } else if (ending.batch && delivery.verdict == Verdict::bury) {
            verdict = "split";
        }
        appendStringInfo(json, "%s{\"id\":" INT64_FORMAT ",\"wait\":" INT64_FORMAT,
                         json->len > 1 ? "," : "", ending.ids[i], delivery.wait_s);
        appendStringInfo(json, ",\"uncertain\":%s,\"status\":%d",
                         delivery.uncertain ? "true" : "false", ending.status);
        add_text(json, "token", token);
        add_text(json, "verdict", verdict);
        add_text(json, "error", error);
        add_text(json, "sent_id", sent_id);
        for (int t = 0; t < 5; t++)
            appendStringInfo(json, ",\"%s\":%.3f", times[t], ending.milliseconds[t]);
        appendStringInfoChar(json, '}');
    }
}

struct Settling {
    const Ending *const *endings;
    int count;
    bool *settled;
};

/* The request that a row belongs to. */
int
ending_of(const Settling &settling, int64 id)
{
    for (int i = 0; i < settling.count; i++) {
        for (int j = 0; j < settling.endings[i]->count; j++) {
            if (settling.endings[i]->ids[j] == id)
                return i;
        }
    }
    return -1;
}

/* Say once for all of them that messages died. */
void
report_dead(const Settling &settling, int dead, int64 last_id)
{
    if (dead == 0)
        return;
    int last = ending_of(settling, last_id);
    ereport(WARNING,
            (errmsg_plural("skene_gate gave up on message " INT64_FORMAT ": %s",
                           "skene_gate gave up on several messages, the last of them "
                           "message " INT64_FORMAT ": %s",
                           dead, last_id, last < 0 ? "" : settling.endings[last]->delivery.error)));
}

/* Settle requests with one statement. */
void
settle_step(const void *argument)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID};
    const auto &settling = *static_cast<const Settling *>(argument);
    StringInfoData json;
    int dead = 0;
    int64 last_dead = 0;

    initStringInfo(&json);
    appendStringInfoChar(&json, '[');
    for (int i = 0; i < settling.count; i++)
        describe_ending(*settling.endings[i], &json);
    appendStringInfoChar(&json, ']');
    Datum values[] = {CStringGetTextDatum(json.data)};
    run_prepared(&plan, "SELECT outbox_id, became = 'dead' FROM skene.settle_outbox($1::jsonb)", 1,
                 types, values, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
    for (int i = 0; i < settling.count; i++)
        settling.settled[i] = true;
    for (uint64 i = 0; i < SPI_processed; i++) {
        bool is_null;
        HeapTuple row = SPI_tuptable->vals[i];
        int64 id = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &is_null));
        int ending = ending_of(settling, id);
        if (DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &is_null))) {
            dead++;
            last_dead = id;
        } else if (ending >= 0) {
            settling.settled[ending] = false;
        }
    }
    report_dead(settling, dead, last_dead);
}

/*
 * Settle one request by itself. An error that is its own is logged: its lease runs out
 * then, and it is sent again under its key.
 */
void
settle_alone(const Ending *const *ending, bool *settled)
{
    Settling one = {ending, 1, settled};
    ErrorData *error = run_guarded(settle_step, &one);
    if (!error)
        return;
    *settled = !may_pass(error->sqlerrcode);
    report_error(error->message);
    if (*settled)
        ereport(
            WARNING,
            (errmsg("skene_gate could not write down what became of message " INT64_FORMAT ": %s",
                    (*ending)->ids[0], error->message)));
    FreeErrorData(error);
}

} // namespace

int
lease_requests(ProviderId provider, int wanted, bool probe, MemoryContext context,
               Request *requests)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, INT4OID, INT4OID, BOOLOID, INT8OID};
    const Provider &to = providers[provider];
    Datum values[] = {CStringGetTextDatum(to.name), Int32GetDatum(wanted),
                      Int32GetDatum(to.batch ? *to.batch : 1), BoolGetDatum(probe),
                      Int64GetDatum(lease_ms())};

    run_prepared(&plan,
                 "SELECT outbox_ids, lease_token, attempts, batch, path, content_type, body, "
                 "idempotency_key FROM skene.lease_outbox($1, $2, $3, $4, "
                 "$5 * interval '1 millisecond')",
                 5, types, values, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
    int count = static_cast<int>(SPI_processed);
    for (int i = 0; i < count; i++) {
        HeapTuple row = SPI_tuptable->vals[i];
        TupleDesc columns = SPI_tuptable->tupdesc;
        Request &one = requests[i];
        bool is_null;
        auto text_of = [&](int column) {
            return MemoryContextStrdup(context, SPI_getvalue(row, columns, column));
        };
        read_ids(SPI_getbinval(row, columns, 1, &is_null), context, &one);
        one.token = *DatumGetUUIDP(SPI_getbinval(row, columns, 2, &is_null));
        one.attempts = DatumGetInt32(SPI_getbinval(row, columns, 3, &is_null));
        one.batch = DatumGetBool(SPI_getbinval(row, columns, 4, &is_null));
        one.path = text_of(5);
        one.content_type = text_of(6);
        one.body = text_of(7);
        one.idempotency_key = text_of(8);
    }
    return count;
}

void
read_due(Due *due)
{
    static SPIPlanPtr plan = nullptr;

    *due = Due{};
    due->lease = DT_NOEND;
    for (TimestampTz &next : due->next)
        next = DT_NOEND;
    run_prepared(&plan,
                 "SELECT coalesce(provider, ''), waiting, next_attempt_at FROM skene.next_due()", 0,
                 nullptr, nullptr, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
    for (uint64 i = 0; i < SPI_processed; i++) {
        HeapTuple row = SPI_tuptable->vals[i];
        TupleDesc columns = SPI_tuptable->tupdesc;
        bool is_null;
        ProviderId provider = find_provider(SPI_getvalue(row, columns, 1));
        Datum next = SPI_getbinval(row, columns, 3, &is_null);
        TimestampTz at = is_null ? DT_NOEND : DatumGetTimestampTz(next);
        if (provider == provider_count) {
            due->lease = Min(due->lease, at);
        } else {
            due->waiting[provider] = DatumGetBool(SPI_getbinval(row, columns, 2, &is_null));
            due->next[provider] = at;
        }
    }
}

void
settle_requests(const Ending *const *endings, int count, bool *settled)
{
    WorkScope scope;
    Settling all = {endings, count, settled};

    begin_work(&scope);
    ErrorData *error = run_guarded(settle_step, &all);
    if (error) {
        FreeErrorData(error);
        for (int i = 0; i < count; i++)
            settle_alone(&endings[i], &settled[i]);
    }
    end_work(&scope);
}

} // namespace skene
