/*
 * configuration.hpp: this session's copy of what the configuration says to people and
 * requests: messages, plans to upgrade to, endpoints.
 *
 * Built on demand, one entry at a time, and thrown away when the configuration's epoch
 * changes; not kept where no epoch tells of changes: in a transaction that made them,
 * and on a standby.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/* Strings live until the next call; null is null. */
struct Explanation {
    const char *message;      /* of the feature */
    const char *upgrade_plan; /* the lowest one that allows more */
    const char *upgrade_url;
};

/* What to say to a customer of a plan who may use limit units of a feature. */
const Explanation *explain_limit(Oid function, const char *feature, const char *plan, int64 limit);

/* The feature whose endpoints match a request best, palloc'ed; null when none does. */
const char *feature_of_endpoint(Oid function, const char *method, const char *path);

} // namespace skene
