/*
 * circuit.cpp: the transitions of circuit.hpp.
 */
#include "core/circuit.hpp"

#include <algorithm>

namespace skene
{

namespace
{

/* Open, again or for the first time; true when it was not open before. */
bool
open_circuit(Circuit *circuit, int64_t until)
{
    bool was_closed = circuit->state == CircuitState::closed;
    circuit->state = CircuitState::open;
    circuit->until = until;
    circuit->failures = 0;
    circuit->openings++;
    return was_closed;
}

} // namespace

Admission
admit(const Circuit &circuit, int64_t now) noexcept
{
    if (circuit.state == CircuitState::closed)
        return Admission::all;
    return now >= circuit.until ? Admission::probe : Admission::none;
}

void
begin_probe(Circuit *circuit, int64_t now) noexcept
{
    circuit->state = CircuitState::probing;
    circuit->until = now + circuit_probe_us;
}

void
return_probe(Circuit *circuit, int64_t now) noexcept
{
    if (circuit->state != CircuitState::probing)
        return;
    circuit->state = CircuitState::open;
    circuit->until = now;
}

bool
note_success(Circuit *circuit) noexcept
{
    bool was_open = circuit->state != CircuitState::closed;
    *circuit = Circuit{};
    return was_open;
}

bool
note_failure(Circuit *circuit, int64_t now, double random) noexcept
{
    if (circuit->state == CircuitState::open)
        return false; /* sent before it opened */
    if (circuit->state == CircuitState::closed && ++circuit->failures < circuit_threshold)
        return false;
    int64_t wait =
        std::min(circuit_first_us << std::clamp(circuit->openings, 0, 10), circuit_longest_us);
    if (!(random >= 0 && random < 1))
        random = 0.5;
    wait -= static_cast<int64_t>(static_cast<double>(wait) * random / 4);
    return open_circuit(circuit, now + wait);
}

bool
note_halt(Circuit *circuit, int64_t now, int64_t wait_us) noexcept
{
    /* sent before it opened: the longer wait counts */
    if (circuit->state == CircuitState::open) {
        circuit->until = std::max(circuit->until, now + wait_us);
        return false;
    }
    return open_circuit(circuit, now + wait_us);
}

void
allow_probe(Circuit *circuit, int64_t now) noexcept
{
    if (circuit->state == CircuitState::open)
        circuit->until = std::min(circuit->until, now);
}

} // namespace skene
