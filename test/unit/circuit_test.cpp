/*
 * circuit_test.cpp: the circuit breaker and the token bucket, on a clock of their own.
 */
#include "core/circuit.hpp"
#include "core/token_bucket.hpp"

#include <gtest/gtest.h>

#include <cmath>

using namespace skene;

namespace
{

constexpr int64_t second = 1000000;
constexpr int64_t start = 1000 * second;

Circuit
opened(int64_t now)
{
    Circuit circuit{};
    for (int i = 0; i < circuit_threshold; i++)
        note_failure(&circuit, now, 0);
    return circuit;
}

/* Requests that a bucket allows in a time, somebody asking every millisecond. */
int
allowed_within(TokenBucket *bucket, double rate, int64_t from, int64_t until)
{
    int count = 0;
    for (int64_t now = from; now < until; now += 1000)
        count += take_tokens(bucket, rate, now, 100);
    return count;
}

} // namespace

TEST(Circuit, OpensAfterFiveFailuresInARow)
{
    Circuit circuit{};
    for (int i = 1; i < circuit_threshold; i++)
        EXPECT_FALSE(note_failure(&circuit, start, 0));
    EXPECT_EQ(admit(circuit, start), Admission::all);
    note_success(&circuit);
    for (int i = 1; i < circuit_threshold; i++)
        EXPECT_FALSE(note_failure(&circuit, start, 0));
    EXPECT_EQ(admit(circuit, start), Admission::all);
    EXPECT_TRUE(note_failure(&circuit, start, 0));
    EXPECT_EQ(admit(circuit, start), Admission::none);
    EXPECT_EQ(admit(circuit, start + circuit_first_us - 1), Admission::none);
    EXPECT_FALSE(note_failure(&circuit, start + 1, 0)) << "a late answer changes nothing";
    EXPECT_EQ(circuit.until, start + circuit_first_us);
}

TEST(Circuit, LetsOneProbeThroughAndClosesWhenItSucceeds)
{
    Circuit circuit = opened(start);
    int64_t now = start + circuit_first_us;
    EXPECT_EQ(admit(circuit, now), Admission::probe);
    begin_probe(&circuit, now);
    EXPECT_EQ(admit(circuit, now), Admission::none) << "others wait for its answer";
    EXPECT_TRUE(note_success(&circuit));
    EXPECT_EQ(admit(circuit, now), Admission::all);
    EXPECT_FALSE(note_success(&circuit));
}

TEST(Circuit, StaysOpenLongerEachTimeAProbeFails)
{
    Circuit circuit = opened(start);
    int64_t now = start, last = circuit_first_us;
    for (int i = 0; i < 20; i++) {
        now = circuit.until;
        begin_probe(&circuit, now);
        EXPECT_FALSE(note_failure(&circuit, now, 0)) << "it was open already";
        int64_t wait = circuit.until - now;
        EXPECT_EQ(wait, std::min(2 * last, circuit_longest_us));
        last = wait;
    }
    note_success(&circuit);
    for (int i = 0; i < circuit_threshold; i++)
        note_failure(&circuit, now, 0);
    EXPECT_EQ(circuit.until, now + circuit_first_us) << "success forgets the past";
}

TEST(Circuit, CutsUpToAQuarterOfTheTimeByChance)
{
    for (double random : {0.0, 0.5, 0.999, std::nan(""), 7.0}) {
        Circuit circuit{};
        for (int i = 0; i < circuit_threshold; i++)
            note_failure(&circuit, start, random);
        EXPECT_LE(circuit.until, start + circuit_first_us);
        EXPECT_GE(circuit.until, start + circuit_first_us * 3 / 4);
    }
}

TEST(Circuit, OpensAtOnceWhenTheProviderHaltsUs)
{
    Circuit circuit{};
    EXPECT_TRUE(note_halt(&circuit, start, 300 * second));
    EXPECT_EQ(admit(circuit, start + 299 * second), Admission::none);
    EXPECT_FALSE(note_halt(&circuit, start + second, 10 * second));
    EXPECT_EQ(circuit.until, start + 300 * second) << "the longer wait counts";
    allow_probe(&circuit, start + 2 * second);
    EXPECT_EQ(admit(circuit, start + 2 * second), Admission::probe) << "somebody mended it";
    begin_probe(&circuit, start + 2 * second);
    EXPECT_FALSE(note_halt(&circuit, start + 3 * second, 300 * second));
    EXPECT_EQ(admit(circuit, start + 4 * second), Admission::none);
}

TEST(Circuit, OutlivesWhoeverHadTheProbe)
{
    Circuit circuit = opened(start);
    int64_t now = circuit.until;
    begin_probe(&circuit, now);
    EXPECT_EQ(admit(circuit, now + circuit_probe_us), Admission::probe);
    return_probe(&circuit, now + 1);
    EXPECT_EQ(admit(circuit, now + 1), Admission::probe) << "given back unused";
    Circuit closed{};
    return_probe(&closed, now);
    EXPECT_EQ(admit(closed, now), Admission::all);
}

TEST(TokenBucket, KeepsToTheRateInEverySecond)
{
    for (double rate : {0.5, 1.0, 2.0, 5.0, 10.0}) {
        TokenBucket bucket{};
        for (int i = 0; i < 4; i++) {
            int64_t from = start + i * 2 * second;
            EXPECT_LE(allowed_within(&bucket, rate, from, from + second), std::ceil(rate)) << rate;
            allowed_within(&bucket, rate, from + second, from + 2 * second);
        }
    }
    TokenBucket bucket{};
    int allowed = allowed_within(&bucket, 1000, start, start + 10 * second);
    EXPECT_GE(allowed, 9990);
    EXPECT_LE(allowed, 10050);
}

TEST(TokenBucket, DoesNotSaveUp)
{
    TokenBucket bucket{};
    EXPECT_EQ(take_tokens(&bucket, 2, start, 10), 1);
    EXPECT_EQ(take_tokens(&bucket, 2, start + 3600 * second, 10), 1);
    EXPECT_EQ(take_tokens(&bucket, 1000, start + 7200 * second, 1000), 50);
}

TEST(TokenBucket, SaysWhenToComeBack)
{
    TokenBucket bucket{};
    EXPECT_EQ(next_token_at(bucket, 2, start), start);
    EXPECT_EQ(take_tokens(&bucket, 2, start, 5), 1);
    int64_t next = next_token_at(bucket, 2, start);
    EXPECT_EQ(next, start + second / 2);
    EXPECT_EQ(take_tokens(&bucket, 2, next - 1000, 1), 0);
    EXPECT_EQ(take_tokens(&bucket, 2, next, 1), 1);
    return_tokens(&bucket, 2, 1);
    EXPECT_EQ(take_tokens(&bucket, 2, next, 1), 1) << "what was not used can be";
    return_tokens(&bucket, 2, 5);
    EXPECT_EQ(take_tokens(&bucket, 2, next, 5), 1) << "but not more than it holds";
}

TEST(TokenBucket, RestsWhenTold)
{
    TokenBucket bucket{};
    pause_bucket(&bucket, start + 10 * second);
    pause_bucket(&bucket, start + 5 * second);
    EXPECT_EQ(take_tokens(&bucket, 100, start + 9 * second, 1), 0);
    EXPECT_EQ(next_token_at(bucket, 100, start + 9 * second), start + 10 * second);
    EXPECT_EQ(take_tokens(&bucket, 100, start + 10 * second, 1), 1);
}

TEST(TokenBucket, SurvivesNonsense)
{
    TokenBucket bucket{};
    EXPECT_EQ(take_tokens(&bucket, 2, start, -1), 0);
    EXPECT_EQ(take_tokens(&bucket, 2, start - 10 * second, 1), 1) << "the clock went back";
    EXPECT_EQ(take_tokens(&bucket, 2, start - 10 * second, 1), 0);
}
