/*
 * arguments.cpp: checking arguments.
 */
#include "gate/arguments.hpp"

namespace skene
{

namespace
{

/* Raise 22023 unless a text argument has 1 to max bytes. */
void
check_length(const char *what, size_t length, int max)
{
    if (length >= 1 && length <= static_cast<size_t>(max))
        return;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("%s must have 1 to %d bytes", what, max),
                    errdetail("It has %zu bytes.", length)));
}

/*
 * The type of a function's first argument: of the call's expression, or where there is
 * none, as in a call through the fast-path protocol, the declared one.
 */
Oid
first_argument_type(FunctionCallInfo fcinfo)
{
    Oid type = get_fn_expr_argtype(fcinfo->flinfo, 0);
    if (likely(OidIsValid(type)))
        return type;
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
    type = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->proargtypes.values[0];
    ReleaseSysCache(tuple);
    return type;
}

} // namespace

void
null_argument(const char *what)
{
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", what),
                    strcmp(what, "user id") == 0
                        ? errhint("A visitor who is not signed in has no id, and must not pass.")
                        : 0));
    pg_unreachable();
}

const char *
user_id_argument(FunctionCallInfo fcinfo)
{
    char *user_id;

    if (PG_ARGISNULL(0))
        null_argument("user id");
    switch (first_argument_type(fcinfo)) {
    case UUIDOID:
        return DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0)));
    case INT8OID:
        return DatumGetCString(DirectFunctionCall1(int8out, PG_GETARG_DATUM(0)));
    default:
        user_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
        check_length("user id", strlen(user_id), max_user_id_bytes);
        return user_id;
    }
}

const char *
feature_argument(FunctionCallInfo fcinfo, int position)
{
    if (PG_ARGISNULL(position))
        null_argument("feature");
    char *feature = text_to_cstring(PG_GETARG_TEXT_PP(position));
    check_length("feature", strlen(feature), max_name_bytes);
    return feature;
}

int64
amount_argument(FunctionCallInfo fcinfo, int position)
{
    if (PG_ARGISNULL(position))
        null_argument("amount");
    int64 amount = PG_GETARG_INT64(position);
    if (amount <= 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("amount must be greater than zero"),
                        errdetail("It is " INT64_FORMAT ".", amount),
                        errhint("To give units back, call skene_refund().")));
    return amount;
}

const char *
key_argument(FunctionCallInfo fcinfo, int position)
{
    if (PG_ARGISNULL(position))
        return nullptr;
    char *key = text_to_cstring(PG_GETARG_TEXT_PP(position));
    check_length("idempotency key", strlen(key), max_idempotency_key_bytes);
    return key;
}

} // namespace skene
