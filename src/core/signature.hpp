/*
 * signature.hpp: webhook signatures.
 *
 * Stripe: https://docs.stripe.com/webhooks#verify-manually. The HMAC key is the
 * whole secret string, "whsec_" included; only scheme v1 counts.
 */
#pragma once

#include <cstdint>
#include <string_view>

namespace skene
{

enum class SignatureVerdict {
    valid,
    no_secret,        /* every configured secret is empty or white space */
    malformed_header, /* no timestamp, or no v1 signature */
    mismatch,         /* no v1 signature matches any secret */
    too_old,          /* signed more than tolerance seconds ago */
    in_future,        /* signed more than tolerance seconds ahead of our clock */
    out_of_memory,
};

/*
 * Check a Stripe-Signature header over the raw body.
 *
 * secrets: one secret a line, so that a secret can be rolled without a gap; blank
 * lines and lines that begin with '#' are skipped, surrounding white space is
 * trimmed. now and tolerance are in seconds. Comparison is constant-time.
 */
SignatureVerdict verify_stripe_signature(std::string_view payload, std::string_view header,
                                         std::string_view secrets, int64_t now,
                                         int64_t tolerance) noexcept;

} // namespace skene
