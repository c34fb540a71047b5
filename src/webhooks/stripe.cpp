/*
 * stripe.cpp: skene_stripe_webhook(): nothing of an event is believed, parsed or
 * stored before its signature is found good.
 */
#include "server/extension.hpp"
#include "server/owner.hpp"
#include "server/text.hpp"
#include "settings/secret_file.hpp"
#include "settings/settings.hpp"

#include "core/signature.hpp"
#include "core/stripe_event.hpp"

namespace skene
{

namespace
{

/* Stripe's largest events are a few hundred kB. */
constexpr size_t max_event_bytes = 1024 * 1024;
constexpr int64 tolerance_seconds = 300;

/* Why a signature was refused, in words for the log of the webhook's owner. */
const char *
refusal_detail(SignatureVerdict verdict)
{
    switch (verdict) {
    case SignatureVerdict::malformed_header:
        return "The Stripe-Signature header has no timestamp or no v1 signature.";
    case SignatureVerdict::too_old:
        return "It was signed more than 300 seconds ago.";
    case SignatureVerdict::in_future:
        return "It was signed more than 300 seconds ahead of this server's clock.";
    default:
        return "No v1 signature matches a configured secret.";
    }
}

/* Raise unless the payload was signed with one of the configured secrets. */
void
require_signature(std::string_view payload, std::string_view header)
{
    Secret secret;
    char reason[256];

    if (!read_secret("skene_gate.stripe_webhook_secret_file", stripe_webhook_secret_file, &secret,
                     reason, sizeof(reason)))
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("Stripe's webhook cannot be verified"), errdetail_internal("%s.", reason),
                 errhint("Put the endpoint's signing secret (whsec_...) into a file and name it in "
                         "skene_gate.stripe_webhook_secret_file.")));
    SignatureVerdict verdict =
        verify_stripe_signature(payload, header, {secret.text, static_cast<size_t>(secret.size)},
                                timestamptz_to_time_t(GetCurrentTimestamp()), tolerance_seconds);
    wipe(&secret);

    if (verdict == SignatureVerdict::valid)
        return;
    if (verdict == SignatureVerdict::out_of_memory)
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
    ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
                    errmsg("Stripe signature is not valid"),
                    errdetail_internal("%s", refusal_detail(verdict)),
                    errhint("Pass the raw request body and the Stripe-Signature header, unchanged; "
                            "compare the endpoint's signing secret. Answer HTTP 400.")));
}

/* The metadata key that names our customer in Stripe's objects. */
const char *
customer_key()
{
    static SPIPlanPtr plan = nullptr;

    run_prepared(&plan, "SELECT s.value FROM skene.settings s WHERE s.name = 'customerMetadataKey'",
                 0, nullptr, nullptr, nullptr, InvalidSnapshot, true, SPI_OK_SELECT);
    return SPI_processed > 0 ? text_column(1, CurrentMemoryContext) : "skene_user_id";
}

/* Flatten a verified event; raises 22023 when it is none. */
char *
flatten(std::string_view payload, const char *key)
{
    auto *event = static_cast<StripeEvent *>(palloc0(sizeof(StripeEvent)));

    flatten_stripe_event(payload, key, event);
    char *record = take_string(&event->record);
    switch (event->verdict) {
    case EventVerdict::ok:
        return record;
    case EventVerdict::out_of_memory:
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
        break;
    case EventVerdict::thin_event:
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("thin Stripe events are not supported"),
                        errhint("Let the endpoint send snapshot events.")));
        break;
    default:
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("not a Stripe event"),
                        event->reason[0] ? errdetail_internal("%s.", event->reason) : 0));
    }
    pg_unreachable();
}

} // namespace

SKENE_FUNCTION(skene_stripe_webhook)
{
    static SPIPlanPtr plan = nullptr;
    MemoryContext context = CurrentMemoryContext;
    OwnerScope scope;

    require_extension();
    if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("payload and signature must not be null"),
                        errhint("Pass the raw request body and the Stripe-Signature header.")));
    /* text, json and bytea are all a varlena of the bytes as they came */
    if (toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ > max_event_bytes)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("Stripe event is larger than %zu bytes", max_event_bytes),
                        errhint("Answer HTTP 400; Stripe sends nothing of this size.")));
    std::string_view payload = view_of(PG_GETARG_TEXT_PP(0));
    std::string_view header = view_of(PG_GETARG_TEXT_PP(1));

    require_signature(payload, header);

    enter_owner(&scope, owner_of_function(fcinfo->flinfo->fn_oid));
    char *record = flatten(payload, customer_key());
    const Oid types[] = {JSONBOID};
    Datum values[] = {DirectFunctionCall1(jsonb_in, CStringGetDatum(record))};
    run_prepared(&plan, "SELECT skene.apply_stripe_event($1)", 1, types, values, nullptr,
                 InvalidSnapshot, false, SPI_OK_SELECT);
    char *outcome = text_column(1, context);
    leave_owner(&scope);
    PG_RETURN_TEXT_P(cstring_to_text(outcome));
}

} // namespace skene
