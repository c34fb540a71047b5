/*
 * circuit.hpp: whether a provider is asked at all.
 *
 *            5 failures in a row, or a halt              time is up: one request
 *   closed ----------------------------------> open ------------------------------> probing
 *     ^                                         ^   failed: open for twice as long     |
 *     |                                         +--------------------------------------+
 *     +------------------------ an answer that is no failure -------------------------+
 *
 * Plain words for shared memory, under the caller's lock: of all who send with one key,
 * one gets the probe. Times are microseconds of a clock that does not go back. A probe
 * whose sender died counts as failed when its time is up.
 */
#pragma once

#include <cstdint>

namespace skene
{

enum class CircuitState : uint8_t { closed, open, probing };

struct Circuit {
    CircuitState state;
    int32_t failures; /* in a row, while closed */
    int32_t openings; /* in a row */
    int64_t until;    /* open: no request before; probing: then the probe is given up */
};

constexpr int32_t circuit_threshold = 5;
constexpr int64_t circuit_first_us = 5 * 1000000LL;
constexpr int64_t circuit_longest_us = 300 * 1000000LL;
constexpr int64_t circuit_probe_us = 120 * 1000000LL;

enum class Admission : uint8_t { all, probe, none };

/* May requests be sent? For a probe follow with begin_probe(), under the same lock. */
Admission admit(const Circuit &circuit, int64_t now) noexcept;
void begin_probe(Circuit *circuit, int64_t now) noexcept;

/* There was nothing to send: whoever has something next may probe. */
void return_probe(Circuit *circuit, int64_t now) noexcept;

/* What an answer does to it; true when it closed, or opened. random is in [0, 1). */
bool note_success(Circuit *circuit) noexcept;
bool note_failure(Circuit *circuit, int64_t now, double random) noexcept;
bool note_halt(Circuit *circuit, int64_t now, int64_t wait_us) noexcept;

/* Somebody says that it is mended: probe at once. */
void allow_probe(Circuit *circuit, int64_t now) noexcept;

} // namespace skene
