/*
 * delivery_policy.hpp: what a provider's answer means for the rows that were sent.
 *
 * Sources: https://resend.com/docs/api-reference/errors,
 * https://resend.com/docs/dashboard/emails/idempotency-keys and
 * https://docs.stripe.com/error-low-level. A status alone does not decide: Resend's 429
 * may mean "slow down" or "nothing more today", and Stripe says itself what to retry.
 */
#pragma once

#include "core/http_client.hpp"

namespace skene
{

enum class Verdict : uint8_t {
    sent,  /* accepted; provider_id is set when the answer named one */
    retry, /* this request again, same key, same bytes, not before wait_s */
    wait,  /* the same, and nothing else to this provider before wait_s: it asked for a pause */
    halt,  /* the same: its key, account or quota is at fault, which concerns every row */
    bury,  /* this request can never be accepted */
};

struct Delivery {
    Verdict verdict = Verdict::retry;
    bool uncertain = false; /* it may have been accepted all the same */
    bool failing = false;   /* the provider could not be reached, or failed: see circuit.hpp */
    int64_t wait_s = 0;
    char provider_id[128] = {};
    char error[256] = {}; /* the provider's name and message, in printable ASCII */
};

/*
 * Judge a response. attempts counts this one (1 = first); random is a number in [0, 1)
 * for the jitter of the backoff (2 s doubling to 15 min).
 */
Delivery judge_resend(const HttpResponse &response, int32_t attempts, double random) noexcept;
Delivery judge_stripe(const HttpResponse &response, int32_t attempts, double random) noexcept;

/* What became of one message of a batch that was accepted. */
struct BatchItem {
    bool refused = false; /* it was not taken; error says why */
    char provider_id[128] = {};
    char error[256] = {};
};

constexpr int max_batch_items = 100;

/*
 * Judge a response to POST /emails/batch in permissive mode. items are filled in when the
 * verdict is sent; bury says that the batch as such was refused, and none of it accepted.
 */
Delivery judge_resend_batch(const HttpResponse &response, int32_t attempts, double random,
                            BatchItem *items, int item_count) noexcept;

/* May this body of POST /emails stand in a batch? Attachments may not. */
bool fits_resend_batch(std::string_view body) noexcept;

} // namespace skene
