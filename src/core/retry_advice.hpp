/*
 * retry_advice.hpp: what a response's headers say about trying again.
 */
#pragma once

#include <cstdint>
#include <string_view>

namespace skene
{

struct RetryAdvice {
    int64_t retry_after_s = -1; /* Retry-After, as seconds from now; -1 = none */
    int should_retry = -1;      /* Stripe-Should-Retry: 1 true, 0 false, -1 = not said */
};

constexpr int64_t max_retry_after_s = 86400;

/*
 * Take what one header line, "Name: value", says, now being Unix seconds; the last line of
 * a name counts, other headers change nothing.
 */
void read_header(std::string_view line, int64_t now, RetryAdvice *advice) noexcept;

/*
 * Seconds to wait from now (Unix seconds) that a Retry-After asks for, at most
 * max_retry_after_s: delta-seconds or an HTTP-date (RFC 9110, 10.2.3). -1 when it cannot
 * be read.
 */
int64_t parse_retry_after(std::string_view value, int64_t now) noexcept;

} // namespace skene
