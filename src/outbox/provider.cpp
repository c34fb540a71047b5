/*
 * provider.cpp: the table of providers.
 */
#include "outbox/provider.hpp"

#include "settings/settings.hpp"

namespace skene
{

const Provider providers[provider_count] = {
    {"resend", "skene_gate.resend_api_key_file", &resend_api_key_file, &resend_base_url,
     &resend_rate, &resend_batch, "", "x-batch-validation: permissive", judge_resend},
    /* the version that bodies are written for, whatever the account's is */
    {"stripe", "skene_gate.stripe_api_key_file", &stripe_api_key_file, &stripe_base_url,
     &stripe_rate, nullptr, "Stripe-Version: 2025-09-30.clover", "", judge_stripe},
};

ProviderId
find_provider(const char *name)
{
    int id = 0;
    while (id < provider_count && strcmp(providers[id].name, name) != 0)
        id++;
    return static_cast<ProviderId>(id);
}

} // namespace skene
