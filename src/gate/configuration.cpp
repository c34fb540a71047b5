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

struct LimitKey {
    char feature[max_name_bytes + 1];
    char plan[max_name_bytes + 1];
    int64 limit;
};

struct LimitEntry {
    LimitKey key;
    Explanation explanation;
};

struct Endpoint {
    const char *pattern;
    const char *feature;
};

MemoryContext copy_context = nullptr; /* holds all that follows */
HTAB *explanations = nullptr;
Endpoint *endpoints = nullptr;
int endpoint_count = -1; /* not read yet */
uint64 copy_epoch = 0;   /* 0: not to be used again */

/* Hash a key by its strings: most of its bytes are padding. */
uint32
hash_limit(const void *key, Size)
{
    auto *limit = static_cast<const LimitKey *>(key);
    return hash_combine(hash_text(limit->feature), hash_text(limit->plan)) ^
           static_cast<uint32>(limit->limit);
}

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
    explanations = nullptr;
    endpoints = nullptr;
    endpoint_count = -1;
    copy_epoch = keep ? epoch : 0;
}

Explanation
read_explanation(Oid function, const LimitKey &key)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, INT8OID};
    Datum values[] = {CStringGetTextDatum(key.feature), CStringGetTextDatum(key.plan),
                      Int64GetDatum(key.limit)};
    Explanation read = {};
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
    if (SPI_processed > 0) {
        read.message = text_column(1, copy_context);
        read.upgrade_plan = text_column(2, copy_context);
        read.upgrade_url = text_column(3, copy_context);
    }
    leave_owner(&scope);
    return read;
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
    LimitKey key;
    bool found;

    refresh_copy();
    if (!explanations) {
        HASHCTL info = {};
        info.keysize = sizeof(LimitKey);
        info.entrysize = sizeof(LimitEntry);
        info.hash = hash_limit;
        info.hcxt = copy_context;
        explanations = hash_create("skene_gate explanations", 64, &info,
                                   HASH_ELEM | HASH_FUNCTION | HASH_CONTEXT);
    }
    memset(&key, 0, sizeof(key));
    strlcpy(key.feature, feature, sizeof(key.feature));
    strlcpy(key.plan, plan, sizeof(key.plan));
    key.limit = limit;
    auto *entry = static_cast<LimitEntry *>(hash_search(explanations, &key, HASH_FIND, &found));
    if (!found) {
        Explanation read = read_explanation(function, key);
        entry = static_cast<LimitEntry *>(hash_search(explanations, &key, HASH_ENTER, &found));
        entry->explanation = read;
    }
    return &entry->explanation;
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
    return feature;
}

} // namespace skene
