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

} // namespace skene
