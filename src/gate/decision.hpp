/*
 * decision.hpp: the answer of the gate and the forms it takes: a row, JSON, an error.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

enum class Reason : uint8 {
    ok,
    unlimited,
    limit_reached,
    not_entitled,
    past_due,
    rate_limited, /* waiting helps */
    contended     /* depends on transactions under way */
};

/* Strings last until the next decision; null is SQL null. */
struct Decision {
    bool allowed;
    Reason reason;
    const char *feature;
    int64 used;
    bool has_limit;
    int64 usage_limit;
    int64 remaining;
    TimestampTz resets_at; /* DT_NOEND: never */
    TimestampTz decided_at;
    const char *plan;
    const char *upgrade_plan;
    const char *message;
    const char *upgrade_url;
    bool replayed;
    bool counted; /* false: no feature was concerned; the numbers are null */
};

/* The row, for a function in FROM (see require_from_clause) that returns skene_decision. */
Datum decision_row(FunctionCallInfo fcinfo, const Decision &decision);

/*
 * Raise for a denial: PT402, PT429 for a rate limit; DETAIL is the decision as JSON,
 * HINT how to go on. A contended call is no denial: 55P03.
 */
[[noreturn]] void raise_denial(const Decision &decision);

/* Raise 55P03: transactions under way held the last units for too long. */
[[noreturn]] void raise_contention(const char *feature);

/* Raise 0A000 unless a row function is called in FROM. */
void require_from_clause(FunctionCallInfo fcinfo);

} // namespace skene
