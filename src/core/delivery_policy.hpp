/*
 * delivery_policy.hpp: what a provider's answer means for the row that was sent.
 *
 * Source: https://resend.com/docs/api-reference/errors and
 * https://resend.com/docs/dashboard/emails/idempotency-keys. 429 alone does not
 * mean "slow down": the error's name decides.
 */
#pragma once

#include "core/http_client.hpp"

namespace skene
{

enum class Verdict : uint8_t {
    sent,  /* accepted; provider_id is set when the answer named one */
    retry, /* same key, same bytes, not before wait_s */
    halt,  /* nothing to this provider before wait_s: its key or account is at fault */
    dead,  /* this message can never be accepted */
};

struct Delivery {
    Verdict verdict = Verdict::retry;
    int64_t wait_s = 0;
    char provider_id[128] = {};
    char error[256] = {}; /* the provider's name and message, control characters removed */
};

/*
 * Judge a Resend response. attempts counts this one (1 = first); random is a
 * number in [0, 1) for the jitter of the backoff (2 s doubling to 15 min).
 */
Delivery judge_resend(const HttpResponse &response, int32_t attempts, double random) noexcept;

} // namespace skene
