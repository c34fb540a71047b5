/*
 * arguments.hpp: what callers pass in, checked before anything is touched.
 */
#pragma once

#include "gate/denials.hpp"

namespace skene
{

constexpr int max_idempotency_key_bytes = 255;

/* What a counting or looking function was asked; strings are palloc'ed. */
struct Request {
    Oid function; /* being called; its owner is the extension's */
    const char *user_id;
    const char *feature;
    int64 amount;
    const char *idempotency_key; /* null: none */
};

/*
 * Read the id in argument 0: text as it is, uuid in lower case, bigint in decimal.
 * Raises 22004 for null, 22023 for a bad length.
 */
const char *user_id_argument(FunctionCallInfo fcinfo);

/* Raise unless amount, key and feature are within bounds. */
int64 amount_argument(FunctionCallInfo fcinfo, int position);
const char *key_argument(FunctionCallInfo fcinfo, int position);
const char *feature_argument(FunctionCallInfo fcinfo, int position);

/* Raise 22004: an argument must not be null. */
[[noreturn]] void null_argument(const char *what);

} // namespace skene
