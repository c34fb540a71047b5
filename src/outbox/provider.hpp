/*
 * provider.hpp: what is particular to each provider.
 */
#pragma once

#include "server/prelude.hpp"

#include "core/delivery_policy.hpp"

namespace skene
{

enum ProviderId : int { provider_resend, provider_stripe, provider_count };

struct Provider {
    const char *name;        /* as in skene.outbox.provider */
    const char *key_setting; /* names the file of its API key */
    char **key_file;
    char **base_url;
    double *rate;             /* requests a second */
    int *batch;               /* messages a request; null = always one */
    const char *extra_header; /* of every request; "" = none */
    const char *batch_header; /* of requests that carry a batch */
    Delivery (*judge)(const HttpResponse &, int32_t attempts, double random) noexcept;
};

extern const Provider providers[provider_count];

/* The provider of a name, or provider_count. */
ProviderId find_provider(const char *name);

} // namespace skene
