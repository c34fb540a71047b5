/*
 * configuration.cpp: the session's copy of messages and endpoints.
 */
#include "gate/configuration.hpp"

#include "core/endpoint.hpp"
#include "engine/resolution.hpp"
#include "server/owner.hpp"
#include "server/text.hpp"

namespace skene
{

namespace
{

/*
 * What is said of a limit. Its strings are allocated with it, and so lie beside it: among
 * many backends each finds the memory that is its own alone cold when it is its turn.
 */
struct Explained {
    Explained *next; /* of the same bucket */
    const char *feature;
    const char *plan;
    int64 limit;
    Explanation explanation;
};

struct Endpoint {
    const char *pattern;
    const char *feature;
};

constexpr uint32 bucket_count = 256;   /* a power of two */
constexpr int max_explanations = 1024; /* customers of their own limits may be many */

MemoryContext copy_context = nullptr; /* holds all that follows */
Explained *buckets[bucket_count];
int explanation_count = 0;
Endpoint *endpoints = nullptr;
int endpoint_count = -1; /* not read yet */
uint64 copy_epoch = 0;   /* 0: not to be used again */

/* Throw the copy away if it is not that of the current epoch. */
void
refresh_copy()
{
    bool keep = !RecoveryInProgress() && !configuration_changed_here();
    uint64 epoch = configuration_epoch();

    if (copy_context && keep && copy_epoch == epoch)
        return;
    if (copy_context)
        MemoryContextReset(copy_context);
    else
        copy_context = AllocSetContextCreate(TopMemoryContext, "skene_gate configuration",
                                             ALLOCSET_SMALL_SIZES);
    memset(buckets, 0, sizeof(buckets));
    explanation_count = 0;
    endpoints = nullptr;
    endpoint_count = -1;
    copy_epoch = keep ? epoch : 0;
}

Explained *
read_explanation(Oid function, const char *feature, const char *plan_name, int64 limit)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, INT8OID};
    Datum values[] = {CStringGetTextDatum(feature), CStringGetTextDatum(plan_name),
                      Int64GetDatum(limit)};
    OwnerScope scope;

    enter_owner(&scope, owner_of_function(function));
    run_prepared(&plan, R"sql(
SELECT f.message,
       (SELECT u.plan
          FROM skene.plans u JOIN skene.entitlements g ON g.plan = u.plan AND g.period = f.period
         WHERE g.feature = $1
           AND u.rank > coalesce((SELECT p.rank FROM skene.plans p WHERE p.plan = $2), 0)
           AND (g.usage_limit IS NULL OR g.usage_limit > $3)
         ORDER BY u.rank, u.plan LIMIT 1) AS upgrade_plan,
       (SELECT s.value FROM skene.settings s WHERE s.name = 'upgradeUrl') AS upgrade_url
  FROM skene.features f WHERE f.feature = $1)sql",
                 3, types, values, nullptr, GetLatestSnapshot(), true, SPI_OK_SELECT);
    auto *made = static_cast<Explained *>(MemoryContextAllocZero(copy_context, sizeof(Explained)));
    made->feature = MemoryContextStrdup(copy_context, feature);
    made->plan = MemoryContextStrdup(copy_context, plan_name);
    made->limit = limit;
    if (SPI_processed > 0) {
        made->explanation.message = text_column(1, copy_context);
        made->explanation.upgrade_plan = text_column(2, copy_context);
        made->explanation.upgrade_url = text_column(3, copy_context);
    }
    leave_owner(&scope);
    return made;
}

void
read_endpoints(Oid function)
{
    static SPIPlanPtr plan = nullptr;
    OwnerScope scope;

    enter_owner(&scope, owner_of_function(function));
    run_prepared(&plan,
                 "SELECT e, f.feature FROM skene.features f, unnest(f.endpoints) e ORDER BY 2, 1",
                 0, nullptr, nullptr, nullptr, GetLatestSnapshot(), true, SPI_OK_SELECT);
    auto count = static_cast<int>(SPI_processed);
    endpoints =
        static_cast<Endpoint *>(MemoryContextAlloc(copy_context, sizeof(Endpoint) * Max(count, 1)));
    for (int row = 0; row < count; row++) {
        HeapTuple tuple = SPI_tuptable->vals[row];
        TupleDesc descriptor = SPI_tuptable->tupdesc;
        endpoints[row].pattern =
            MemoryContextStrdup(copy_context, SPI_getvalue(tuple, descriptor, 1));
        endpoints[row].feature =
            MemoryContextStrdup(copy_context, SPI_getvalue(tuple, descriptor, 2));
    }
    endpoint_count = count;
    leave_owner(&scope);
}

} // namespace

const Explanation *
explain_limit(Oid function, const char *feature, const char *plan, int64 limit)
{
    if (explanation_count == max_explanations)
        copy_epoch = 0; /* full: begin anew */
    refresh_copy();
    uint32 hash = hash_combine(hash_text(feature), hash_text(plan)) ^ static_cast<uint32>(limit);
    Explained **bucket = &buckets[hash & (bucket_count - 1)];
    for (Explained *known = *bucket; known; known = known->next) {
        if (known->limit == limit && strcmp(known->feature, feature) == 0 &&
            strcmp(known->plan, plan) == 0)
            return &known->explanation;
    }
    Explained *made = read_explanation(function, feature, plan, limit);
    made->next = *bucket;
    *bucket = made;
    explanation_count++;
    return &made->explanation;
}

const char *
feature_of_endpoint(Oid function, const char *method, const char *path)
{
    const char *feature = nullptr;
    int best = 0;

    refresh_copy();
    if (endpoint_count < 0)
        read_endpoints(function);
    for (int i = 0; i < endpoint_count; i++) {
        int rank = match_endpoint(endpoints[i].pattern, method, path);
        if (rank > best) {
            best = rank;
            feature = endpoints[i].feature;
        }
    }
    /* the copy may be thrown away before the call has been answered */
    return feature ? pstrdup(feature) : nullptr;
}

} // namespace skene
