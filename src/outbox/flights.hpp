/*
 * flights.hpp: requests under way, from lease to settlement. Worker only.
 */
#pragma once

#include "outbox/provider.hpp"
#include "outbox/request.hpp"
#include "settings/secret_file.hpp"

namespace skene
{

/* Make ready to start requests; raises when libcurl cannot start. */
void prepare_flights();

/* How many requests may be started now. */
int free_flights(ProviderId provider);

/*
 * Start the requests of leased rows, no more than there are free flights. One that cannot
 * be sent has its answer at once.
 */
void start_flights(ProviderId provider, int account, const Request *requests, int count,
                   const Secret &key);

/* Are there answers to wait for? */
bool deliveries_under_way();

/* Wait for answers, or the latch, up to timeout_ms, and settle what came. */
void wait_for_deliveries(int64 timeout_ms);

/* The worker is about to end: wait for what is under way, but no longer than this. */
void finish_deliveries(int64 timeout_ms);

/* Write down how flights ended; those whose rows somebody has locked stay. */
void settle_answers();

/* Are there answers that could not be settled yet? */
bool answers_left();

} // namespace skene
