/*
 * escrow_test.cpp: the arithmetic of counters against a model that counts one thing
 * after the other, and raced by threads.
 *
 * The model runs simulated transactions step by step, in an order that a seed decides;
 * a commit is seen by others before its reservations are settled one by one, as in the
 * server. A failure prints its seed: add it to kept_seeds. SKENE_SOAK=N multiplies the
 * length of both tests by N.
 */
#include "core/escrow.hpp"
#include "core/reservation.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace
{

using namespace skene;

constexpr uint32_t counter_count = 2;
constexpr uint32_t slot_count = 256;

/* How much longer than usual to test. */
int
soak_factor()
{
    const char *factor = std::getenv("SKENE_SOAK");
    return factor ? std::max(1, std::atoi(factor)) : 1;
}

/* What lies in shared memory. Counters and sessions are numbered from 1. */
struct Shared {
    std::array<Escrow, counter_count + 1> counters{};
    std::array<Reservation, slot_count> slots{};
    std::array<Wait, 16> waits{};

    uint32_t
    oldest_holder(uint32_t counter, uint32_t owner) const
    {
        return oldest_other_holder(slots.data(), slot_count, counter, owner);
    }
    bool
    circle(uint32_t owner, uint32_t xid) const
    {
        return closes_circle(slots.data(), slot_count, waits.data(), waits.size(), owner, xid);
    }
    bool
    quiet() const
    {
        return std::all_of(slots.begin(), slots.end(), [](const Reservation &slot) {
            return slot.counter == 0 && slot.owner == 0 && slot.xid == 0;
        });
    }
};

/* One session's reservations, as src/engine/reservations.cpp has them. */
struct Hold {
    uint32_t counter;
    uint32_t slot;
    int64_t amount;
    int64_t returned;
    size_t level;
};

OwnUse
own_use(const std::vector<Hold> &holds, uint32_t counter)
{
    OwnUse own = {0, 0};
    for (const Hold &hold : holds) {
        if (hold.counter != counter)
            continue;
        (hold.amount > 0 ? own.consumed : own.refunded) += std::abs(hold.amount);
        own.consumed -= hold.returned;
        own.refunded += hold.returned;
    }
    return own;
}

void
end_hold(Shared *shared, const Hold &hold, bool committed)
{
    if (hold.amount != 0)
        settle(shared->counters[hold.counter], hold.amount, committed);
    free_reservation(shared->slots[hold.slot]);
}

/* The model ------------------------------------------------------------------ */

struct Transaction {
    enum class State { running, waiting, settling, ended };
    State state = State::running;
    uint32_t owner;
    uint32_t hint = 0;
    uint32_t awaited = 0;             /* while waiting: a transaction id */
    bool committed = false;           /* while settling */
    size_t settle_down_to = 0;        /* while settling: of the holds, for a savepoint */
    std::vector<uint32_t> xids = {0}; /* by level; 0: none yet */
    std::vector<Hold> holds;
    struct Change {
        uint32_t counter;
        int64_t amount;
        size_t level;
    };
    std::vector<Change> changes; /* that the model knows of */
};

class Model
{
  public:
    explicit Model(uint64_t seed) : random(seed)
    {
        for (uint32_t c = 1; c <= counter_count; c++) {
            limits[c] = pick(0, 12);
            committed[c] = pick(0, limits[c] + 2); /* usage above the limit: a downgrade */
            set_committed(shared.counters[c], committed[c]);
            first[c] = committed[c];
        }
        sessions.resize(pick(2, 6));
        for (size_t i = 0; i < sessions.size(); i++)
            sessions[i].owner = i + 1;
    }

    void
    run(int steps)
    {
        for (int i = 0; i < steps && !::testing::Test::HasFailure(); i++) {
            step(&sessions[pick(0, sessions.size() - 1)], true);
            check();
        }
        for (int i = 0; i < 10000 && !all_ended(); i++) {
            step(&sessions[pick(0, sessions.size() - 1)], false);
            check();
        }
        ASSERT_TRUE(all_ended()) << "somebody waits for ever";
        EXPECT_TRUE(shared.quiet());
        for (uint32_t c = 1; c <= counter_count; c++) {
            EXPECT_EQ(shared.counters[c].lo, committed[c]);
            EXPECT_EQ(shared.counters[c].hi, committed[c]);
        }
    }

  private:
    Shared shared;
    std::mt19937_64 random;
    std::vector<Transaction> sessions;
    std::array<int64_t, counter_count + 1> limits{}, committed{}, first{};
    uint32_t next_xid = std::numeric_limits<uint32_t>::max() - 20; /* they wrap around */

    int64_t
    pick(int64_t low, int64_t high)
    {
        return std::uniform_int_distribution<int64_t>(low, high)(random);
    }

    bool
    all_ended() const
    {
        return std::all_of(sessions.begin(), sessions.end(), [](const Transaction &t) {
            return t.state == Transaction::State::ended;
        });
    }

    /*
     * Units of a counter that a transaction has changed. *highest: the most that can come of
     * it, if it rolls back to one of its savepoints or altogether.
     */
    static int64_t
    net(const Transaction &t, uint32_t counter, int64_t *highest)
    {
        int64_t sum = 0;
        size_t level = 0;
        *highest = 0;
        for (const Transaction::Change &change : t.changes) {
            if (change.level > level)
                *highest = std::max(*highest, sum);
            level = change.level;
            if (change.counter == counter)
                sum += change.amount;
        }
        *highest = std::max(*highest, sum);
        return sum;
    }

    void
    check()
    {
        for (uint32_t c = 1; c <= counter_count; c++) {
            int64_t most = committed[c];
            for (const Transaction &t : sessions) {
                int64_t highest;
                (void) net(t, c, &highest);
                most += highest;
            }
            /* whatever ends in whatever way: never above the limit, but by the usage there was */
            EXPECT_LE(most, std::max(limits[c], first[c]));
            EXPECT_LE(shared.counters[c].lo, committed[c]);
            EXPECT_GE(shared.counters[c].lo, 0);
            EXPECT_GE(shared.counters[c].hi, committed[c]);
        }
    }

    uint32_t
    current_xid(Transaction *t)
    {
        for (uint32_t &xid : t->xids) {
            while (xid == 0)
                xid = next_xid++;
        }
        return t->xids.back();
    }

    void
    take(Transaction *t, uint32_t counter, int64_t amount)
    {
        uint32_t slot =
            take_reservation(shared.slots.data(), slot_count, &t->hint, counter, t->owner);
        ASSERT_LT(slot, slot_count);
        publish_reservation(shared.slots[slot], current_xid(t));
        t->holds.push_back({counter, slot, amount, 0, t->xids.size()});
    }

    void
    drop_last(Transaction *t)
    {
        free_reservation(shared.slots[t->holds.back().slot]);
        t->holds.pop_back();
    }

    void
    note_change(Transaction *t, uint32_t counter, int64_t amount)
    {
        t->changes.push_back({counter, amount, t->xids.size()});
    }

    void
    consume(Transaction *t, uint32_t counter, int64_t amount)
    {
        int64_t highest;
        OwnUse own = own_use(t->holds, counter);
        Escrow &escrow = shared.counters[counter];
        int64_t own_net = net(*t, counter, &highest);

        take(t, counter, 0);
        switch (reserve(escrow, amount, limits[counter], own)) {
        case Offer::admitted:
            t->holds.back().amount = amount;
            note_change(t, counter, amount);
            break;
        case Offer::denied:
            drop_last(t);
            EXPECT_GT(committed[counter] + own_net + amount, limits[counter]) << "not justified";
            break;
        case Offer::ambiguous:
            drop_last(t);
            wait(t, counter);
            break;
        }
    }

    /* As for the quota that leaves the rest to grants. */
    void
    consume_some(Transaction *t, uint32_t counter, int64_t amount)
    {
        OwnUse own = own_use(t->holds, counter);
        Escrow &escrow = shared.counters[counter];
        int64_t room = certain_room(escrow, limits[counter], own);

        take(t, counter, 0);
        int64_t taken = reserve_up_to(escrow, amount, limits[counter], own);
        EXPECT_EQ(taken, std::min(amount, room)) << "nobody else was there";
        if (taken == 0) {
            drop_last(t);
            return;
        }
        t->holds.back().amount = taken;
        note_change(t, counter, taken);
    }

    void
    refund(Transaction *t, uint32_t counter, int64_t amount)
    {
        int64_t rest = 0;
        int64_t highest;
        OwnUse own = own_use(t->holds, counter);

        EXPECT_LE(used_by(shared.counters[counter], own),
                  committed[counter] + net(*t, counter, &highest));
        if (used_by(shared.counters[counter], own) < amount)
            return;
        int64_t returned = std::min(amount, own.consumed);
        rest = returned;
        for (auto hold = t->holds.rbegin(); hold != t->holds.rend() && rest > 0; hold++) {
            if (hold->level != t->xids.size())
                break;
            if (hold->counter != counter || hold->amount <= 0)
                continue;
            int64_t part = std::min(rest, hold->amount);
            settle(shared.counters[counter], part, false);
            hold->amount -= part;
            rest -= part;
        }
        if (rest > 0 || returned < amount) {
            take(t, counter, 0);
            t->holds.back().returned = rest;
        }
        if (returned < amount) {
            ASSERT_TRUE(reserve_refund(shared.counters[counter], amount - returned));
            t->holds.back().amount = returned - amount;
        }
        note_change(t, counter, -amount);
    }

    /* Does a chain of waits lead from a session back to itself? */
    bool
    waits_in_circle(const Transaction &from) const
    {
        const Transaction *t = &from;
        for (size_t i = 0; i <= sessions.size(); i++) {
            if (t->state != Transaction::State::waiting)
                return false;
            auto holder = std::find_if(sessions.begin(), sessions.end(), [&](const Transaction &s) {
                return std::any_of(s.holds.begin(), s.holds.end(), [&](const Hold &hold) {
                    return shared.slots[hold.slot].xid == t->awaited;
                });
            });
            if (holder == sessions.end())
                return false;
            t = &*holder;
            if (t == &from)
                return true;
        }
        return false;
    }

    void
    wait(Transaction *t, uint32_t counter)
    {
        t->awaited = shared.oldest_holder(counter, t->owner);
        ASSERT_NE(t->awaited, 0u) << "ambiguous, and nobody to wait for";
        t->state = Transaction::State::waiting;
        put_down_wait(shared.waits[t->owner], t->xids.back(), t->awaited);
        bool circle = shared.circle(t->owner, t->awaited);
        EXPECT_EQ(circle, waits_in_circle(*t));
        if (circle)
            end(t, false);
    }

    /* Is a transaction, or subtransaction, still there to be waited for? */
    bool
    in_progress(uint32_t xid) const
    {
        return std::any_of(shared.slots.begin(), shared.slots.end(),
                           [=](const Reservation &slot) { return slot.xid == xid; });
    }

    void
    stop_waiting(Transaction *t)
    {
        put_down_wait(shared.waits[t->owner], 0, 0);
        t->awaited = 0;
    }

    /* The instant from which others see it; settling comes after. */
    void
    end(Transaction *t, bool commit)
    {
        stop_waiting(t);
        for (const Transaction::Change &change : t->changes)
            committed[change.counter] += commit ? change.amount : 0;
        t->changes.clear();
        t->committed = commit;
        t->settle_down_to = 0;
        t->xids.clear();
        t->state = Transaction::State::settling;
    }

    /* Take back one of those that were given back; false when none is left. */
    bool
    take_back(Transaction *t)
    {
        for (Hold &back : t->holds) {
            for (Hold &hold : t->holds) {
                int64_t part = std::min(back.returned, hold.amount);
                if (hold.counter != back.counter || part <= 0)
                    continue;
                settle(shared.counters[hold.counter], part, false);
                hold.amount -= part;
                back.returned -= part;
                return true;
            }
            EXPECT_EQ(back.returned, 0) << "more was given back than reserved";
        }
        return false;
    }

    void
    roll_back_to_savepoint(Transaction *t)
    {
        size_t level = t->xids.size();
        while (!t->changes.empty() && t->changes.back().level == level)
            t->changes.pop_back();
        t->settle_down_to = t->holds.size();
        while (t->settle_down_to > 0 && t->holds[t->settle_down_to - 1].level == level)
            t->settle_down_to--;
        t->xids.pop_back();
        t->committed = false;
        t->state = Transaction::State::settling;
    }

    void
    release_savepoint(Transaction *t)
    {
        size_t level = t->xids.size();
        for (Hold &hold : t->holds)
            hold.level = std::min(hold.level, level - 1);
        for (Transaction::Change &change : t->changes)
            change.level = std::min(change.level, level - 1);
        t->xids.pop_back();
    }

    void
    step(Transaction *t, bool go_on)
    {
        switch (t->state) {
        case Transaction::State::waiting:
            if (in_progress(t->awaited))
                return;
            stop_waiting(t);
            t->state = Transaction::State::running;
            return;
        case Transaction::State::settling:
            if (t->committed && take_back(t))
                return;
            if (t->holds.size() > t->settle_down_to) {
                end_hold(&shared, t->holds.back(), t->committed);
                t->holds.pop_back();
            } else {
                t->state =
                    t->xids.empty() ? Transaction::State::ended : Transaction::State::running;
            }
            return;
        case Transaction::State::ended:
            if (go_on) {
                t->xids = {0};
                t->state = Transaction::State::running;
            }
            return;
        case Transaction::State::running:
            break;
        }
        uint32_t counter = pick(1, counter_count);
        int64_t what = go_on ? pick(0, 19) : pick(16, 19);
        if (what < 8)
            consume(t, counter, pick(1, 4));
        else if (what < 10)
            consume_some(t, counter, pick(1, 4));
        else if (what < 12)
            refund(t, counter, pick(1, 4));
        else if (what < 14 && t->xids.size() < 4)
            t->xids.push_back(0);
        else if (what < 16 && t->xids.size() > 1)
            pick(0, 1) ? roll_back_to_savepoint(t) : release_savepoint(t);
        else if (what >= 16)
            end(t, what < 18);
    }
};

/* Seeds that a broken version failed for once: see git log of this line. */
constexpr uint64_t kept_seeds[] = {1, 3, 17};

TEST(EscrowModel, CommittedStaysWithinBounds)
{
    std::vector<uint64_t> seeds(std::begin(kept_seeds), std::end(kept_seeds));
    std::random_device fresh;
    for (int i = 0; i < 2000 * soak_factor(); i++)
        seeds.push_back(fresh());
    for (uint64_t seed : seeds) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Model(seed).run(300);
        if (HasFailure())
            return;
    }
}

TEST(Escrow, BoundsOfTheType)
{
    constexpr OwnUse none = {0, 0};
    Escrow counter{};

    set_committed(counter, 0);
    EXPECT_EQ(reserve(counter, no_limit, no_limit, none), Offer::admitted);
    EXPECT_EQ(counter.hi, no_limit);
    EXPECT_EQ(certain_room(counter, no_limit, none), 0);
    EXPECT_EQ(reserve(counter, 1, no_limit, none), Offer::ambiguous);
    settle(counter, no_limit, true);
    EXPECT_EQ(reserve(counter, 1, no_limit, none), Offer::denied);
    EXPECT_EQ(reserve_up_to(counter, 1, no_limit, none), 0);
    /* a refund of our own makes room below the limit, but hi stays within the type */
    ASSERT_TRUE(reserve_refund(counter, 5));
    EXPECT_EQ(reserve(counter, 1, no_limit, {0, 5}), Offer::ambiguous);
    EXPECT_EQ(reserve_up_to(counter, 1, no_limit, {0, 5}), 0);
    settle(counter, -5, true);
    EXPECT_EQ(counter.hi, no_limit - 5);
    EXPECT_EQ(counter.lo, no_limit - 5);

    /* units of our own, given back before they are committed, are no one else's */
    set_committed(counter, 0);
    EXPECT_EQ(reserve(counter, 5, 10, none), Offer::admitted);
    EXPECT_FALSE(reserve_refund(counter, 5));
    EXPECT_EQ(reserve(counter, 10, 10, {0, 5}), Offer::admitted);
    EXPECT_EQ(reserve(counter, 10, 10, none), Offer::ambiguous);
    EXPECT_EQ(reserve(counter, 11, 10, none), Offer::denied);
    settle(counter, 5, false);
    EXPECT_EQ(counter.lo, 0);
    EXPECT_EQ(counter.hi, 10);
}

/* Sessions 1, 2 and 3, transactions 10, 20 and 30: 1 waits for 2, 2 for 3, and 3 for 1. */
TEST(Escrow, CircleThroughOneThatHoldsNothing)
{
    auto shared = std::make_unique<Shared>();
    uint32_t hint = 0;
    auto hold = [&](uint32_t owner, uint32_t xid) {
        uint32_t slot = take_reservation(shared->slots.data(), slot_count, &hint, 1, owner);
        publish_reservation(shared->slots[slot], xid);
        return slot;
    };

    hold(1, 10);
    hold(3, 30);
    uint32_t in_vain = hold(2, 20);
    put_down_wait(shared->waits[1], 10, 20);
    EXPECT_FALSE(shared->circle(1, 20));
    put_down_wait(shared->waits[3], 30, 10);
    EXPECT_FALSE(shared->circle(3, 10));

    free_reservation(shared->slots[in_vain]);
    EXPECT_FALSE(shared->circle(1, 20)) << "2 may still end without waiting";
    put_down_wait(shared->waits[2], 20, 30);
    EXPECT_TRUE(shared->circle(2, 30));
    EXPECT_TRUE(shared->circle(1, 20));
    EXPECT_TRUE(shared->circle(3, 10));

    put_down_wait(shared->waits[2], 0, 0);
    EXPECT_FALSE(shared->circle(1, 20));
}

TEST(Escrow, SlotsRunOutAndComeBack)
{
    std::array<Reservation, 4> slots{};
    uint32_t hint = 2;

    for (uint32_t i = 0; i < 4; i++)
        EXPECT_EQ(take_reservation(slots.data(), 4, &hint, 7, 1), (i + 2) % 4);
    EXPECT_EQ(take_reservation(slots.data(), 4, &hint, 7, 1), 4u);
    /* taken, but nothing reserved yet: nobody to wait for */
    EXPECT_EQ(oldest_other_holder(slots.data(), 4, 7, 2), 0u);
    publish_reservation(slots[0], 5);
    publish_reservation(slots[1], 0xfffffff0); /* older: ids wrap around */
    EXPECT_EQ(oldest_other_holder(slots.data(), 4, 7, 2), 0xfffffff0);
    EXPECT_EQ(oldest_other_holder(slots.data(), 4, 7, 1), 0u);
    EXPECT_EQ(oldest_other_holder(slots.data(), 4, 8, 2), 0u);
    free_reservation(slots[1]);
    EXPECT_EQ(oldest_other_holder(slots.data(), 4, 7, 2), 5u);
    EXPECT_EQ(take_reservation(slots.data(), 4, &hint, 7, 1), 1u);
}

/* The race ------------------------------------------------------------------- */

/* Threads as sessions: what only they could do to each other. */
class Race
{
  public:
    explicit Race(bool with_refunds) : with_refunds(with_refunds) {}

    void
    run(uint64_t seed)
    {
        for (uint32_t c = 1; c <= counter_count; c++)
            set_committed(shared.counters[c], 0);
        std::vector<std::thread> threads;
        for (uint32_t owner = 1; owner <= session_count; owner++)
            threads.emplace_back([=, this] { play(owner, seed * 100 + owner); });
        for (std::thread &thread : threads)
            thread.join();
        EXPECT_TRUE(shared.quiet());
        for (uint32_t c = 1; c <= counter_count; c++) {
            EXPECT_EQ(shared.counters[c].lo, committed[c]);
            EXPECT_EQ(shared.counters[c].hi, committed[c]);
        }
        EXPECT_EQ(failures, 0);
    }

  private:
    static constexpr uint32_t session_count = 6;
    static constexpr int64_t limit = 40;
    static constexpr int transactions = 60;

    Shared shared;
    bool with_refunds;
    std::array<std::atomic<int64_t>, counter_count + 1> committed{};
    std::array<std::atomic<uint32_t>, session_count + 1> running{}; /* transaction ids */
    std::atomic<uint32_t> next_xid{1};
    std::atomic<int> failures{0};

    void
    expect(bool holds)
    {
        if (!holds)
            failures++;
    }

    /* Is a transaction among the running ones? */
    bool
    in_progress(uint32_t xid) const
    {
        return std::any_of(running.begin(), running.end(),
                           [=](const std::atomic<uint32_t> &other) { return other == xid; });
    }

    struct Session {
        uint32_t owner;
        uint32_t hint;
        uint32_t xid;
        std::vector<Hold> holds;
        std::mt19937_64 random;
    };

    /* Count amount, waiting where it must; false if the transaction has to give up. */
    bool
    count(Session *me, uint32_t counter, int64_t amount)
    {
        Escrow &escrow = shared.counters[counter];
        for (;;) {
            OwnUse own = own_use(me->holds, counter);
            uint32_t slot =
                take_reservation(shared.slots.data(), slot_count, &me->hint, counter, me->owner);
            publish_reservation(shared.slots[slot], me->xid);
            Offer offer = amount > 0                        ? reserve(escrow, amount, limit, own)
                          : reserve_refund(escrow, -amount) ? Offer::admitted
                                                            : Offer::denied;
            if (offer == Offer::admitted) {
                me->holds.push_back({counter, slot, amount, 0, 1});
                return true;
            }
            std::this_thread::yield(); /* let others see it, who will wait for us in vain */
            free_reservation(shared.slots[slot]);
            if (offer == Offer::denied) {
                expect(with_refunds || committed[counter] + own.consumed + amount > limit);
                return true;
            }
            uint32_t xid = shared.oldest_holder(counter, me->owner);
            if (xid == 0)
                continue;
            put_down_wait(shared.waits[me->owner], me->xid, xid);
            bool circle = shared.circle(me->owner, xid);
            while (!circle && in_progress(xid))
                std::this_thread::yield();
            put_down_wait(shared.waits[me->owner], 0, 0);
            if (circle)
                return false;
        }
    }

    void
    end(Session *me, bool commit)
    {
        /* refunds first: committed is what others may see at one instant */
        std::stable_sort(me->holds.begin(), me->holds.end(),
                         [](const Hold &a, const Hold &b) { return a.amount < b.amount; });
        for (const Hold &hold : me->holds) {
            if (commit)
                expect((committed[hold.counter] += hold.amount) <= limit);
        }
        while (!me->holds.empty()) {
            end_hold(&shared, me->holds.back(), commit);
            me->holds.pop_back();
        }
        running[me->owner] = 0;
    }

    void
    play(uint32_t owner, uint64_t seed)
    {
        Session me = {owner, owner * 8, 0, {}, std::mt19937_64(seed)};
        for (int i = 0; i < transactions; i++) {
            me.xid = next_xid++;
            running[owner] = me.xid;
            bool going = true;
            for (int calls = 1 + me.random() % 3; going && calls > 0; calls--) {
                int64_t amount = 1 + me.random() % 3;
                if (with_refunds && me.random() % 3 == 0)
                    amount = -amount;
                going = count(&me, 1 + me.random() % counter_count, amount);
            }
            end(&me, going && me.random() % 3 != 0);
        }
    }
};

TEST(EscrowRace, ThreadsStayWithinLimits)
{
    for (int round = 0; round < 40 * soak_factor() && !HasFailure(); round++) {
        SCOPED_TRACE("round " + std::to_string(round));
        /* too big for the stack of an instrumented build */
        std::make_unique<Race>(round % 2 == 1)->run(round);
    }
}

/* Nothing but the two words, as fast as threads can: an update that is lost is seen. */
TEST(EscrowRace, NoUpdateIsLost)
{
    constexpr int64_t limit = 1000;
    constexpr OwnUse none = {0, 0};
    Escrow counter{};
    std::atomic<int64_t> committed{limit / 2};
    std::atomic<int> ready{0};
    std::atomic<int> failures{0};
    std::vector<std::thread> threads;

    set_committed(counter, limit / 2);
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&, t] {
            int64_t units = 0;
            ready++;
            while (ready < 4)
                std::this_thread::yield();
            for (int i = 0; i < 1000000 * soak_factor(); i++) {
                bool commits = (i + t) % 3 != 0;
                bool refunds = (i / 64 + t) % 2 == 0;
                bool reserved = refunds      ? reserve_refund(counter, 1)
                                : i % 2 == 0 ? reserve(counter, 1, limit, none) == Offer::admitted
                                             : reserve_up_to(counter, 1, limit, none) == 1;
                if (!reserved)
                    continue;
                failures += counter.hi > limit || counter.lo < 0;
                settle(counter, refunds ? -1 : 1, commits);
                units += commits ? (refunds ? -1 : 1) : 0;
            }
            committed += units;
        });
    }
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(failures, 0);
    EXPECT_EQ(counter.lo, committed);
    EXPECT_EQ(counter.hi, committed);
}

} // namespace
