/*
 * render.cpp: skene.render_email(), skene.valid_address() and skene.fits_batch(), the
 * server's side of e-mail rendering; and the trigger that wakes the worker for a new row.
 */
#include "server/extension.hpp"
#include "server/shared.hpp"
#include "server/text.hpp"

#include "core/delivery_policy.hpp"
#include "core/email.hpp"

namespace skene
{

namespace
{

/* A text argument, empty when null. */
std::string_view
view_argument(FunctionCallInfo fcinfo, int position)
{
    if (PG_ARGISNULL(position))
        return {};
    return view_of(PG_GETARG_TEXT_PP(position));
}

} // namespace

SKENE_FUNCTION(skene_render_email)
{
    require_extension();
    char *variables = PG_ARGISNULL(7)
                          ? pstrdup("{}")
                          : DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(7)));
    EmailRequest request = {
        .from = view_argument(fcinfo, 0),
        .to = view_argument(fcinfo, 1),
        .reply_to = view_argument(fcinfo, 2),
        .subject = view_argument(fcinfo, 3),
        .html = view_argument(fcinfo, 4),
        .text = view_argument(fcinfo, 5),
        .hosted_template = view_argument(fcinfo, 6),
        .variables = variables,
        .unsubscribe_url = view_argument(fcinfo, 8),
        .postal_address = view_argument(fcinfo, 9),
    };
    auto *result = static_cast<EmailResult *>(palloc0(sizeof(EmailResult)));

    render_email(request, result);
    char *body = take_string(&result->body);
    if (!result->ok)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", result->problem)));
    PG_RETURN_TEXT_P(cstring_to_text(body));
}

SKENE_FUNCTION(skene_valid_address)
{
    PG_RETURN_BOOL(valid_address(view_of(PG_GETARG_TEXT_PP(0))));
}

SKENE_FUNCTION(skene_fits_batch)
{
    PG_RETURN_BOOL(fits_resend_batch(view_of(PG_GETARG_TEXT_PP(0))));
}

SKENE_FUNCTION(skene_note_enqueue)
{
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("note_enqueue must be called as a trigger")));
    wake_at_commit(MyDatabaseId, wake_outbox);
    return PointerGetDatum(nullptr);
}

} // namespace skene
