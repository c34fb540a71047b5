/*
 * token_bucket.cpp: the arithmetic of token_bucket.hpp.
 */
#include "core/token_bucket.hpp"

#include <algorithm>
#include <cmath>

namespace skene
{

namespace
{

constexpr double us_per_s = 1e6;

double
capacity(double rate)
{
    return std::max(1.0, rate / 20);
}

} // namespace

int
take_tokens(TokenBucket *bucket, double rate, int64_t now, int wanted) noexcept
{
    if (bucket->refilled_at == 0)
        bucket->tokens = capacity(rate);
    else
        bucket->tokens +=
            static_cast<double>(std::max<int64_t>(now - bucket->refilled_at, 0)) / us_per_s * rate;
    bucket->tokens = std::min(bucket->tokens, capacity(rate));
    bucket->refilled_at = now;
    if (now < bucket->paused_until)
        return 0;
    int taken = std::clamp(static_cast<int>(bucket->tokens), 0, std::max(wanted, 0));
    bucket->tokens -= taken;
    return taken;
}

void
return_tokens(TokenBucket *bucket, double rate, int count) noexcept
{
    bucket->tokens = std::min(bucket->tokens + count, capacity(rate));
}

void
pause_bucket(TokenBucket *bucket, int64_t until) noexcept
{
    bucket->paused_until = std::max(bucket->paused_until, until);
}

int64_t
next_token_at(const TokenBucket &bucket, double rate, int64_t now) noexcept
{
    if (bucket.refilled_at == 0)
        return std::max(now, bucket.paused_until);
    double missing_us = std::max(0.0, 1.0 - bucket.tokens) / rate * us_per_s;
    int64_t filled_at = bucket.refilled_at + static_cast<int64_t>(std::ceil(missing_us));
    return std::max({now, filled_at, bucket.paused_until});
}

} // namespace skene
