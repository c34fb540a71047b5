/*
 * reservations.cpp: this session's list of holds, and the slots that show them to others.
 */
#include "engine/reservations.hpp"

#include "core/reservation.hpp"
#include "settings/settings.hpp"

namespace skene
{

namespace
{

struct Hold {
    Held *window;
    uint32 number;
    uint32 slot;
    int64 amount;   /* > 0 consumed, < 0 refunded */
    int64 returned; /* of what earlier holds consumed, given back if all of it commits */
    SubTransactionId subid;
};

Reservation *slots = nullptr;
Wait *waits = nullptr; /* by session */
bool waiting = false;

/* Holds in the order they were taken, so those of a subtransaction are at the end. */
Hold *holds = nullptr;
int hold_count = 0;
int hold_capacity = 0;
uint32 next_slot = 0;

uint32
own_number()
{
    return static_cast<uint32>(my_proc_number()) + 1;
}

/* Owner numbers are below this. */
uint32
session_count()
{
    return static_cast<uint32>(MaxBackends) + 64;
}

bool
is_idle(const Hold &hold)
{
    return hold.amount == 0 && hold.returned == 0;
}

/* Settle what a hold reserved, then let go of it: others look in the other order. */
void
end_hold(const Hold &hold, bool committed)
{
    if (hold.amount != 0)
        settle(hold.window->escrow, hold.amount, committed);
    free_reservation(slots[hold.slot]);
    hold.window->refs.fetch_sub(1, std::memory_order_release);
}

/*
 * Take back up to amount of what was reserved in a window, by one subtransaction or, with
 * InvalidSubTransactionId, by any; returns how much.
 */
int64
take_back(uint32 number, int64 amount, SubTransactionId subid)
{
    int64 rest = amount;

    for (int i = hold_count - 1; i >= 0 && rest > 0; i--) {
        if (subid != InvalidSubTransactionId && holds[i].subid != subid)
            break; /* its holds are the last ones */
        if (holds[i].number != number || holds[i].amount <= 0)
            continue;
        int64 part = Min(rest, holds[i].amount);
        settle(holds[i].window->escrow, part, false);
        holds[i].amount -= part;
        rest -= part;
    }
    return amount - rest;
}

} // namespace

Size
reservations_size()
{
    return add_size(mul_size(sizeof(Reservation), max_reservations),
                    mul_size(sizeof(Wait), session_count()));
}

void
initialize_reservations(bool found, void *memory)
{
    slots = static_cast<Reservation *>(memory);
    waits = reinterpret_cast<Wait *>(slots + max_reservations);
    hold_count = 0;
    waiting = false;
    if (!found)
        memset(memory, 0, reservations_size());
}

void
prepare_holds(int count)
{
    if (likely(hold_count + count <= hold_capacity))
        return;
    int capacity = Max(64, 2 * (hold_count + count));
    Size size = sizeof(Hold) * capacity;
    if (holds)
        holds = static_cast<Hold *>(repalloc_huge(holds, size));
    else
        holds = static_cast<Hold *>(MemoryContextAllocHuge(TopMemoryContext, size));
    hold_capacity = capacity;
    if (next_slot == 0)
        next_slot = static_cast<uint32>(my_proc_number()) * 8 % max_reservations;
}

bool
hold_window(uint32 number, Held *window)
{
    uint32 slot = take_reservation(slots, max_reservations, &next_slot, number, own_number());
    if (slot == static_cast<uint32>(max_reservations))
        return false;
    window->refs.fetch_add(1, std::memory_order_acquire);
    holds[hold_count++] = {window, number, slot, 0, 0, GetCurrentSubTransactionId()};
    return true;
}

void
too_many_reservations()
{
    ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                    errmsg("too many reservations of usage are in flight"),
                    errdetail("Transactions under way hold all %d.", max_reservations),
                    errhint("Consume for fewer customers in one transaction, or raise "
                            "skene_gate.max_reservations and restart the server.")));
    pg_unreachable();
}

int
hold_mark()
{
    return hold_count;
}

void
release_holds(int mark)
{
    while (hold_count > mark) {
        const Hold &hold = holds[--hold_count];
        end_hold(hold, false);
        next_slot = hold.slot;
    }
}

OwnUse
own_use(uint32 number)
{
    OwnUse own = {0, 0};
    for (int i = 0; i < hold_count; i++) {
        if (holds[i].number != number)
            continue;
        if (holds[i].amount > 0)
            own.consumed += holds[i].amount;
        else
            own.refunded -= holds[i].amount;
        own.consumed -= holds[i].returned;
        own.refunded += holds[i].returned;
    }
    return own;
}

void
publish_hold(int index, TransactionId xid)
{
    publish_reservation(slots[holds[index].slot], xid);
}

void
note_reserved(int index, int64 amount)
{
    holds[index].amount += amount;
}

int64
return_own(int index, int64 amount)
{
    uint32 number = holds[index].number;
    /* what was given back already is not given back again */
    int64 all = Min(amount, own_use(number).consumed);

    /* an end that takes away what an outer transaction reserved takes this away, too */
    holds[index].returned += all - take_back(number, all, GetCurrentSubTransactionId());
    return all;
}

void
keep_holds(int mark)
{
    int kept = mark;

    for (int i = mark; i < hold_count; i++) {
        Hold &hold = holds[i];
        Hold *earlier = nullptr;

        /* holds of this subtransaction are the last ones */
        for (int k = mark - 1; k >= 0 && !is_idle(hold) && holds[k].subid == hold.subid; k--) {
            if (holds[k].number == hold.number && (holds[k].amount > 0) == (hold.amount > 0) &&
                !is_idle(holds[k])) {
                earlier = &holds[k];
                break;
            }
        }
        if (earlier) {
            earlier->amount += hold.amount;
            earlier->returned += hold.returned;
        }
        if (earlier || is_idle(hold)) {
            free_reservation(slots[hold.slot]);
            hold.window->refs.fetch_sub(1, std::memory_order_release);
        } else {
            holds[kept++] = hold;
        }
    }
    hold_count = kept;
}

TransactionId
oldest_holder(uint32 number)
{
    return oldest_other_holder(slots, max_reservations, number, own_number());
}

bool
begin_wait(TransactionId xid)
{
    put_down_wait(waits[own_number()], GetCurrentTransactionIdIfAny(), xid);
    waiting = true;
    if (!closes_circle(slots, max_reservations, waits, session_count(), own_number(), xid))
        return true;
    end_wait();
    return false;
}

void
end_wait()
{
    if (waiting)
        put_down_wait(waits[own_number()], 0, 0);
    waiting = false;
}

bool
has_holds()
{
    return hold_count > 0;
}

int
count_reservations()
{
    int count = 0;
    for (int i = 0; i < max_reservations; i++)
        count += slots[i].counter.load(std::memory_order_relaxed) != 0;
    return count;
}

void
settle_holds(bool committed)
{
    end_wait();
    /* before the rest is settled: nobody is to see it as committed */
    for (int i = 0; committed && i < hold_count; i++) {
        if (holds[i].returned > 0)
            (void) take_back(holds[i].number, holds[i].returned, InvalidSubTransactionId);
    }
    while (hold_count > 0)
        end_hold(holds[--hold_count], committed);
}

void
settle_holds_of_subtransaction(SubTransactionId subid, SubTransactionId parent, bool committed)
{
    if (committed) {
        for (int i = hold_count - 1; i >= 0 && holds[i].subid == subid; i--)
            holds[i].subid = parent;
    } else {
        end_wait();
        while (hold_count > 0 && holds[hold_count - 1].subid == subid)
            end_hold(holds[--hold_count], false);
    }
}

} // namespace skene
