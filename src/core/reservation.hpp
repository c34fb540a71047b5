/*
 * reservation.hpp: who has units of a counter in flight, and who waits for whom.
 *
 * A slot is taken before the counter is touched and freed after it is settled, so whoever
 * finds an answer ambiguous finds the transactions it depends on. A session puts down what
 * it is about to wait for before it looks for a circle, so of those that close one at once
 * the last sees it. Nothing here locks, allocates or fails. Plain atomics only: this header
 * is part of both halves, and lies in shared memory.
 */
#pragma once

#include <atomic>
#include <cstdint>

namespace skene
{

/* A reservation, as others see it: who may still give units of a counter back. */
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
 * Put down that a session is about to wait, or with zeros that it is not: in one order
 * with the look for circles that follows.
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
