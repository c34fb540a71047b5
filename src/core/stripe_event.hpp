/*
 * stripe_event.hpp: a Stripe event, of any API version, becomes one flat record.
 *
 * Field names and version differences: https://docs.stripe.com/api/events and the
 * changelog of 2025-03-31 (period moved from the subscription to its items).
 */
#pragma once

#include "core/bytes.hpp"

namespace skene
{

enum class EventVerdict { ok, not_json, not_an_event, thin_event, out_of_memory };

struct StripeEvent {
    EventVerdict verdict = EventVerdict::not_an_event;
    Bytes record;          /* flat JSON when ok; release with free_bytes() */
    char reason[256] = {}; /* which field is missing or wrong, when not ok */
};

/*
 * Flatten an event. customer_key is the metadata key that names our customer
 * ("skene_user_id" unless configured otherwise). Unknown event types are ok: the
 * record then says kind "other". The caller owns event->record.
 */
void flatten_stripe_event(std::string_view payload, std::string_view customer_key,
                          StripeEvent *event) noexcept;

} // namespace skene
