/*
 * request.hpp: requests as rows of the outbox: leased before they are sent, settled when
 * their end is known. Each is one row, or the rows of one batch.
 */
#pragma once

#include "outbox/provider.hpp"

namespace skene
{

/* A leased request. What it points to lives in the context that lease_requests() was given. */
struct Request {
    int count;  /* messages */
    int64 *ids; /* in the batch's order; 0 = gone since */
    pg_uuid_t token;
    int32 attempts;
    bool batch;
    char *path;
    char *content_type;
    char *body;
    char *idempotency_key;
};

/* How a request ended. */
struct Ending {
    const int64 *ids;
    int count;
    bool batch;
    pg_uuid_t token;
    Delivery delivery;
    int32 status;
    const BatchItem *items; /* of an accepted batch, in its order; else null */
    float milliseconds[5];  /* dns, connect, tls, first byte, total */
};

/*
 * Lease up to wanted requests of a provider, within a transaction of the caller's that
 * must commit before any of them is sent.
 */
int lease_requests(ProviderId provider, int wanted, bool probe, MemoryContext context,
                   Request *requests);

/* What the outbox waits for. */
struct Due {
    bool waiting[provider_count];     /* rows are due now */
    TimestampTz next[provider_count]; /* when the next one becomes due */
    TimestampTz lease;                /* when a lease runs out */
};

void read_due(Due *due);

/*
 * Settle requests in a transaction of their own. settled[i] says of which the end is
 * written; others have a row that somebody has locked, or failed for a reason that passes.
 */
void settle_requests(const Ending *const *endings, int count, bool *settled);

} // namespace skene
