/*
 * bytes.hpp: the currency of the boundary between the two halves.
 *
 * Core functions hand variable-length results to the PostgreSQL half as Bytes:
 * malloc'ed, NUL-terminated, owned by the receiver, given back with free_bytes().
 * The struct is trivially destructible, so an ereport() that jumps over one
 * leaks at worst; it never runs half a destructor.
 */
#pragma once

#include <cstddef>
#include <string_view>

namespace skene
{

struct Bytes {
    char *data = nullptr;
    size_t size = 0;
};

/* Copy text into fresh Bytes; false when out of memory (out is then empty). */
bool copy_bytes(std::string_view text, Bytes *out) noexcept;

/* Release what a core function returned; harmless on empty Bytes. */
void free_bytes(Bytes *bytes) noexcept;

inline std::string_view
view(const Bytes &bytes)
{
    return {bytes.data, bytes.size};
}

} // namespace skene
