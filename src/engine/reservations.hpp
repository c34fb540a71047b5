/*
 * reservations.hpp: what the current transaction has in flight on counters in shared
 * memory, and its settling when the transaction or a part of it ends.
 *
 * A hold keeps a window in shared memory; with an amount it is a reservation. Holds
 * belong to the subtransaction that took them: its abort gives them back, its commit
 * hands them to the parent. Invariant: after the end of a transaction none of its
 * holds is left, and settling neither allocates, waits nor fails.
 */
#pragma once

#include "server/prelude.hpp"

#include "core/escrow.hpp"

namespace skene
{

/* Part of a window in shared memory that holds concern. */
struct Held {
    Escrow escrow;
    std::atomic<uint32> refs;
};

/* Shared memory of this room. */
Size reservations_size();
void initialize_reservations(bool found, void *memory);

/* Make room for more holds; raises, so it comes before any lock is taken. */
void prepare_holds(int count);

/*
 * Hold a window by its number (not 0); false when max_reservations are taken. Never
 * raises; the window must be kept from eviction by its partition's lock meanwhile.
 */
bool hold_window(uint32 number, Held *window);

/* Raise 53400: no reservation was free. */
[[noreturn]] void too_many_reservations();

/* Where the holds taken from here on begin. */
int hold_mark();

/* Let go of the holds from mark on: reservations among them are taken back. */
void release_holds(int mark);

/* What this transaction has in flight on a window. */
OwnUse own_use(uint32 number);

/*
 * Publish the current (sub)transaction on the hold at this index, and note what was
 * reserved there. Publishing comes first: others must find whom to wait for.
 */
void publish_hold(int index, TransactionId xid);
void note_reserved(int index, int64 amount);

/*
 * Give back up to amount of what this transaction has reserved in a window; returns how
 * much. What this very subtransaction reserved is taken back. What an outer one did stays
 * reserved, for this one may yet be rolled back, and is noted on the hold at this index.
 */
int64 return_own(int index, int64 amount);

/*
 * Keep what was reserved from mark on until the transaction ends, merged into earlier
 * reservations of the same windows where possible; idle holds are let go.
 */
void keep_holds(int mark);

/*
 * The oldest transaction of another session with units of a window in flight;
 * InvalidTransactionId when there is none (any more).
 */
TransactionId oldest_holder(uint32 number);

/*
 * Before and after waiting for a transaction. False when waiting would close a circle of
 * transactions that wait for each other: then one of them must give up, and there is no
 * need to leave that to the deadlock detector, a second later.
 */
bool begin_wait(TransactionId xid);
void end_wait();

/* Is anything of this transaction in flight? */
bool has_holds();

/* Reservations in use, of all sessions. */
int count_reservations();

/* From transaction callbacks only. */
void settle_holds(bool committed);
void settle_holds_of_subtransaction(SubTransactionId subid, SubTransactionId parent,
                                    bool committed);

} // namespace skene
