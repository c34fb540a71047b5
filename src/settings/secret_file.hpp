/*
 * secret_file.hpp: secrets are read from files when they are needed, and never
 * stored, logged or shown.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

constexpr int max_secret_bytes = 8192;

struct Secret {
    char text[max_secret_bytes + 1];
    int size;
};

/*
 * Read the file that a setting names into *secret. False with a reason (which
 * names the setting, never the content) when it is unset, unreadable, open to
 * others (rules of ssl_key_file), inside the data directory, empty or too large.
 * Wipe *secret after use.
 */
bool read_secret(const char *setting, const char *path, Secret *secret, char *reason,
                 size_t reason_size);

void wipe(Secret *secret);

} // namespace skene
