/*
 * resolution.hpp: what a customer may use of a feature at a moment, and the windows it
 * is counted in.
 */
#pragma once

#include "engine/epochs.hpp"

#include "core/escrow.hpp"

namespace skene
{

constexpr int max_user_id_bytes = 255;
constexpr int max_name_bytes = 63;
constexpr int max_period_bytes = 22;
constexpr int max_rules = 6;

/*
 * How a window limits: every rate must have room for the whole amount; the quota and,
 * when it is used up, the grants take the amount between them.
 */
enum class RuleKind : uint8 { rate, quota, grant };

struct Rule {
    char period[max_period_bytes + 1];
    RuleKind kind;
    TimestampTz start; /* DT_NOBEGIN: no bound */
    TimestampTz end;   /* DT_NOEND: no bound */
    int64 limit;       /* no_limit: unlimited */
};

/* Rules in the order in which they are reserved: rates, the quota, grants. */
struct Resolution {
    Stamp stamp;
    TimestampTz valid_until; /* an override, a grant or a subscription ends */
    int32 grace;             /* skene_gate.past_due_grace it was resolved with */
    bool has_plan;
    bool entitled;
    bool past_due;
    uint8 rule_count;
    uint8 quota; /* index of the quota among the rules */
    char plan[max_name_bytes + 1];
    Rule rules[max_rules];
};

} // namespace skene
