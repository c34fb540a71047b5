/*
 * keys.hpp: idempotency keys of calls that were admitted.
 *
 * Invariant: of all calls with one key of one customer and feature, one is counted; a
 * key belongs to the transaction that claimed it and is free again if that rolls back.
 */
#pragma once

#include "gate/arguments.hpp"

namespace skene
{

enum class KeyUse : uint8 { consume, refund };

/* Has the request's key been used? Raises 22023 if it was for another amount. */
bool is_repeat(const Request &request, KeyUse use);

/* Claim the request's key; false if somebody else has (this waits for them to commit). */
bool claim_key(const Request &request, KeyUse use);

} // namespace skene
