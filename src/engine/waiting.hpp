/*
 * waiting.hpp: waiting for a transaction whose end decides about the last units.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

/*
 * Wait until a transaction of another session has ended, holding nothing that it could
 * need: it is waited for by its lock, so the deadlock detector, lock_timeout,
 * statement_timeout and cancel all work. False when the deadline passed first; the
 * (sub)transaction must then be aborted, so the caller raises.
 */
bool wait_for_transaction(TransactionId xid, TimestampTz deadline);

} // namespace skene
