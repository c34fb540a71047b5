/*
 * escrow.hpp: the arithmetic of a counter that many transactions change at once.
 *
 * A transaction reserves units before it writes its event, and settles them when
 * it ends. Two words tell what the counter can become:
 *
 *     hi = committed + units in flight that would raise it
 *     lo = committed - units in flight that would lower it (refunds)
 *
 * Whatever the transactions in flight do, the committed value stays within [lo, hi].
 * So an offer that fits above hi is admitted by one compare-and-swap and can never
 * turn out wrong; one that does not even fit above lo is denied; anything between
 * depends on transactions that still run, and their end must be awaited.
 *
 * Escrow: O'Neil, "The Escrow Transactional Method", ACM TODS 11(4), 1986. Nothing here
 * locks, allocates or fails, so settling is safe in a commit callback. Plain atomics
 * only: this header is part of both halves, and lies in shared memory.
 */
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace skene
{

constexpr int64_t no_limit = std::numeric_limits<int64_t>::max();

struct Escrow {
    std::atomic<int64_t> hi;
    std::atomic<int64_t> lo;
};

/*
 * What the asking transaction itself has in flight on the counter; both >= 0. Units it
 * reserved and gave back before its end are not consumed, and are refunded.
 */
struct OwnUse {
    int64_t consumed;
    int64_t refunded;
};

enum class Offer : uint8_t { admitted, denied, ambiguous };

static_assert(std::atomic<int64_t>::is_always_lock_free);
static_assert(std::is_trivially_destructible_v<Escrow>);

/* Difference a - b, at most no_limit: lo may be below zero. */
inline int64_t
saturating_difference(int64_t a, int64_t b) noexcept
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference))
        return b < 0 ? no_limit : std::numeric_limits<int64_t>::min();
    return difference;
}

/* Set a counter to a committed value; nothing may be in flight. */
inline void
set_committed(Escrow &counter, int64_t committed) noexcept
{
    counter.hi.store(committed, std::memory_order_relaxed);
    counter.lo.store(committed, std::memory_order_release);
}

/* Units used as the asking transaction sees them: committed ones and its own. */
inline int64_t
used_by(const Escrow &counter, OwnUse own) noexcept
{
    return counter.lo.load(std::memory_order_acquire) + own.consumed;
}

/*
 * Units that would fit if every other transaction in flight gave its own back: more
 * can be denied at once.
 */
inline int64_t
room_at_best(const Escrow &counter, int64_t limit, OwnUse own) noexcept
{
    int64_t room = saturating_difference(limit, used_by(counter, own));
    return room > 0 ? room : 0;
}

/* Would amount (> 0) be admitted, as far as committed units and own ones tell? */
inline bool
may_fit(const Escrow &counter, int64_t amount, int64_t limit, OwnUse own) noexcept
{
    return amount <= room_at_best(counter, limit, own);
}

/* Units that fit whatever the other transactions in flight do. */
inline int64_t
certain_room(const Escrow &counter, int64_t limit, OwnUse own) noexcept
{
    int64_t hi = counter.hi.load(std::memory_order_acquire);
    int64_t room = saturating_difference(limit, hi - own.refunded);
    return room > 0 ? room : 0;
}

/*
 * Reserve as much of amount (> 0) as certainly fits under limit (>= 0); returns it.
 * Own refunds make room at once: what follows them is never kept without them.
 */
inline int64_t
reserve_up_to(Escrow &counter, int64_t amount, int64_t limit, OwnUse own) noexcept
{
    int64_t hi = counter.hi.load(std::memory_order_acquire);
    for (;;) {
        int64_t room = saturating_difference(limit, hi - own.refunded);
        if (room <= 0)
            return 0;
        int64_t part = amount < room ? amount : room;
        /* own refunds may have let hi above the limit, but never above the type */
        if (part > no_limit - hi)
            return 0;
        if (counter.hi.compare_exchange_weak(hi, hi + part, std::memory_order_acq_rel,
                                             std::memory_order_acquire))
            return part;
    }
}

/* Reserve amount (> 0) under limit (>= 0) if it certainly fits, all or nothing. */
inline Offer
reserve(Escrow &counter, int64_t amount, int64_t limit, OwnUse own) noexcept
{
    int64_t hi = counter.hi.load(std::memory_order_acquire);
    while (amount <= limit && hi - own.refunded <= limit - amount && hi <= no_limit - amount) {
        if (counter.hi.compare_exchange_weak(hi, hi + amount, std::memory_order_acq_rel,
                                             std::memory_order_acquire))
            return Offer::admitted;
    }
    return may_fit(counter, amount, limit, own) ? Offer::ambiguous : Offer::denied;
}

/*
 * Reserve a refund of amount (> 0) if as much is committed; false if not. Own reservations
 * are given back first, and otherwise: lo stays what there is whoever rolls back.
 */
inline bool
reserve_refund(Escrow &counter, int64_t amount) noexcept
{
    int64_t lo = counter.lo.load(std::memory_order_acquire);
    while (amount <= lo) {
        if (counter.lo.compare_exchange_weak(lo, lo - amount, std::memory_order_acq_rel,
                                             std::memory_order_acquire))
            return true;
    }
    return false;
}

/* Settle a reservation (amount > 0: consumed, < 0: refunded) of a transaction that ended. */
inline void
settle(Escrow &counter, int64_t amount, bool committed) noexcept
{
    bool raises = amount > 0;
    std::atomic<int64_t> &settled = raises == committed ? counter.lo : counter.hi;
    settled.fetch_add(committed ? amount : -amount, std::memory_order_acq_rel);
}

/*
 * A reservation, as others see it: who may still give units of a counter back. The
 * slot is taken before the counter is touched and freed after it is settled, so
 * whoever finds an answer ambiguous finds the transactions it depends on.
 */
struct Reservation {
    std::atomic<uint32_t> counter; /* number of the counter; 0 = the slot is free */
    std::atomic<uint32_t> owner;   /* of the session, not 0 */
    std::atomic<uint32_t> xid;     /* of the (sub)transaction; 0 = nothing is reserved yet */
};

/*
 * Take a free slot for a counter, searching from *hint on; returns its index, or
 * size when all are taken. *hint becomes where the next search should begin.
 */
inline uint32_t
take_reservation(Reservation *slots, uint32_t size, uint32_t *hint, uint32_t counter,
                 uint32_t owner) noexcept
{
    for (uint32_t i = 0; i < size; i++) {
        uint32_t index = *hint < size ? *hint : 0;
        *hint = index + 1;
        uint32_t free = 0;
        if (slots[index].counter.load(std::memory_order_relaxed) != 0)
            continue;
        if (slots[index].counter.compare_exchange_strong(free, counter,
                                                         std::memory_order_acq_rel)) {
            slots[index].owner.store(owner, std::memory_order_release);
            return index;
        }
    }
    return size;
}

/* Publish the transaction to wait for; before the counter is touched. */
inline void
publish_reservation(Reservation &slot, uint32_t xid) noexcept
{
    slot.xid.store(xid, std::memory_order_release);
}

/* Free a slot; after the counter is settled. */
inline void
free_reservation(Reservation &slot) noexcept
{
    slot.xid.store(0, std::memory_order_relaxed);
    slot.owner.store(0, std::memory_order_relaxed);
    slot.counter.store(0, std::memory_order_release);
}

/*
 * The oldest transaction of another session that has units of a counter in flight;
 * 0 when none has. Transaction ids are compared modulo 2^32, as the server does.
 */
inline uint32_t
oldest_other_holder(const Reservation *slots, uint32_t size, uint32_t counter,
                    uint32_t owner) noexcept
{
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < size; i++) {
        if (slots[i].counter.load(std::memory_order_acquire) != counter)
            continue;
        uint32_t xid = slots[i].xid.load(std::memory_order_acquire);
        uint32_t holder = slots[i].owner.load(std::memory_order_acquire);
        /* the slot may have changed hands while we read it */
        if (xid == 0 || holder == owner || holder == 0 ||
            slots[i].counter.load(std::memory_order_acquire) != counter)
            continue;
        if (oldest == 0 || static_cast<int32_t>(xid - oldest) < 0)
            oldest = xid;
    }
    return oldest;
}

/* The session that published a transaction; 0 when it has ended, or holds nothing now. */
inline uint32_t
owner_of_transaction(const Reservation *slots, uint32_t size, uint32_t xid) noexcept
{
    for (uint32_t i = 0; i < size; i++) {
        if (slots[i].xid.load(std::memory_order_acquire) != xid)
            continue;
        uint32_t owner = slots[i].owner.load(std::memory_order_acquire);
        /* the slot may have changed hands while we read it; the transaction may have others */
        if (owner != 0 && slots[i].xid.load(std::memory_order_acquire) == xid)
            return owner;
    }
    return 0;
}

/* What a session waits for, in shared memory by owner number; zero while it does not. */
struct Wait {
    std::atomic<uint32_t> own_xid; /* (sub)transaction that waits; 0 if it has no id */
    std::atomic<uint32_t> awaited_xid;
};

/*
 * Put down that a session is about to wait, or with zeros that it is not. In one order
 * with the look for circles that follows: of sessions that close one at once, the last
 * sees the waits of all others.
 */
inline void
put_down_wait(Wait &wait, uint32_t own_xid, uint32_t awaited_xid) noexcept
{
    wait.own_xid.store(own_xid, std::memory_order_seq_cst);
    wait.awaited_xid.store(awaited_xid, std::memory_order_seq_cst);
}

/*
 * The session that waits by a transaction; 0 when none does. It may hold nothing: who
 * tried in vain let go of its slot, but who saw the slot may have begun to wait for it.
 */
inline uint32_t
waiter_of_transaction(const Wait *waits, uint32_t sessions, uint32_t xid) noexcept
{
    for (uint32_t i = 1; i < sessions; i++) {
        if (waits[i].own_xid.load(std::memory_order_seq_cst) == xid)
            return i;
    }
    return 0;
}

/*
 * Would waiting for a transaction close a circle of sessions that wait for each other?
 * The session has put its own wait down already. Owners are below sessions.
 */
inline bool
closes_circle(const Reservation *slots, uint32_t size, const Wait *waits, uint32_t sessions,
              uint32_t owner, uint32_t xid) noexcept
{
    for (uint32_t step = 0; step < sessions && xid != 0; step++) {
        uint32_t holder = owner_of_transaction(slots, size, xid);
        if (holder == 0)
            holder = waiter_of_transaction(waits, sessions, xid);
        if (holder == owner)
            return true;
        if (holder == 0 || holder >= sessions)
            return false;
        xid = waits[holder].awaited_xid.load(std::memory_order_seq_cst);
    }
    return false;
}

} // namespace skene
