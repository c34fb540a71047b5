/*
 * account.hpp: accounts at providers, as all workers of the server know them: one API
 * key has one rate limit and one circuit breaker, whichever databases send with it.
 *
 * Lives in shared memory and is forgotten with it: after a restart a provider is asked
 * once more than necessary. Of a key only a hash is kept.
 */
#pragma once

#include "outbox/provider.hpp"
#include "settings/secret_file.hpp"

namespace skene
{

size_t delivery_size();
void initialize_delivery();

/* The account of a key, from now on the one this database uses at the provider. */
int find_account(ProviderId provider, const Secret &key);

/* A permission to send. */
struct Turn {
    int requests; /* at most; 0 = none now */
    bool probe;   /* its answer decides whether others may send */
};

/* Ask for a turn of up to wanted requests; to be ended with how many became of it. */
Turn take_turn(ProviderId provider, int account, int wanted);
void end_turn(ProviderId provider, int account, const Turn &turn, int used);

/* When to ask again. */
TimestampTz next_turn(ProviderId provider, int account);

/* An answer came: for the account, and for what this database shows of itself. */
void note_answer(ProviderId provider, int account, const Delivery &delivery);
void note_settled(ProviderId provider, int sent_messages);
void show_in_flight(ProviderId provider, int requests);

/* The worker of a slot is gone, or the slot is another database's now. */
void forget_flights(int slot);
void forget_desks(int slot);

/* Providers that are left alone may be asked at once. */
void allow_probes();

} // namespace skene
