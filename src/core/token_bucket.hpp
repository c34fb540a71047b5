/*
 * token_bucket.hpp: how many requests a provider may be sent now.
 *
 * Plain words for shared memory, under the caller's lock. Times are microseconds of a
 * clock that does not go back. A full bucket holds one token, or a twentieth of a second's
 * at higher rates: providers count by the second, and a burst would come on top.
 */
#pragma once

#include <cstdint>

namespace skene
{

struct TokenBucket {
    double tokens;
    int64_t refilled_at; /* 0 = never: it is full */
    int64_t paused_until;
};

/* Take up to wanted tokens of a bucket that fills at rate a second; returns how many. */
int take_tokens(TokenBucket *bucket, double rate, int64_t now, int wanted) noexcept;

/* Put back what was taken and not used. */
void return_tokens(TokenBucket *bucket, double rate, int count) noexcept;

/* Give none before a time; an earlier pause that lasts longer stays. */
void pause_bucket(TokenBucket *bucket, int64_t until) noexcept;

/* When there will be a token. */
int64_t next_token_at(const TokenBucket &bucket, double rate, int64_t now) noexcept;

} // namespace skene
