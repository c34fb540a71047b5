/*
 * keys.cpp: finding and claiming idempotency keys.
 */
#include "gate/keys.hpp"

#include "engine/events.hpp"
#include "server/owner.hpp"

namespace skene
{

namespace
{

const char *
use_name(KeyUse use)
{
    return use == KeyUse::consume ? "consume" : "refund";
}

/* Amount that a key was first used with, or -1, under a latest snapshot. */
int64
find_key(const Request &request, KeyUse use)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
    Datum values[] = {CStringGetTextDatum(request.user_id), CStringGetTextDatum(request.feature),
                      CStringGetTextDatum(use_name(use)),
                      CStringGetTextDatum(request.idempotency_key)};
    OwnerScope scope;

    enter_owner(&scope, owner_of_function(request.function));
    run_prepared(&plan, R"sql(
SELECT k.amount FROM skene.idempotency_keys k
 WHERE k.user_id = $1 AND k.feature = $2 AND k.operation = $3 AND k.idempotency_key = $4)sql",
                 4, types, values, nullptr, latest_snapshot(), true, SPI_OK_SELECT);
    int64 amount = SPI_processed == 0 ? -1 : int64_column(1, 0);
    leave_owner(&scope);
    return amount;
}

} // namespace

bool
is_repeat(const Request &request, KeyUse use)
{
    if (!request.idempotency_key)
        return false;
    int64 amount = find_key(request, use);
    if (amount >= 0 && amount != request.amount)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("idempotency key was used with another amount"),
                        errdetail("It was " INT64_FORMAT ", now it is " INT64_FORMAT ".", amount,
                                  request.amount),
                        errhint("Use a new key for a new request.")));
    return amount >= 0;
}

bool
claim_key(const Request &request, KeyUse use)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID};
    OwnerScope scope;

    if (!request.idempotency_key)
        return true;
    Datum values[] = {CStringGetTextDatum(request.user_id), CStringGetTextDatum(request.feature),
                      CStringGetTextDatum(use_name(use)),
                      CStringGetTextDatum(request.idempotency_key), Int64GetDatum(request.amount)};
    enter_owner(&scope, owner_of_function(request.function));
    run_prepared(&plan, R"sql(
INSERT INTO skene.idempotency_keys (user_id, feature, operation, idempotency_key, amount)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id, feature, operation, idempotency_key) DO NOTHING)sql",
                 5, types, values, nullptr, InvalidSnapshot, false, SPI_OK_INSERT);
    bool claimed = SPI_processed > 0;
    leave_owner(&scope);
    return claimed;
}

} // namespace skene
