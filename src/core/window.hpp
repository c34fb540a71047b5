/*
 * window.hpp: which window of a counter an instant falls into.
 *
 * Invariant: for one period, anchor and zone, every instant lies in exactly one
 * window [start, end), also at month ends and when clocks change.
 */
#pragma once

#include <cstdint>
#include <string_view>

namespace skene
{

enum class PeriodKind : uint8_t { fixed_days, minute, hour, day, week, month, year, lifetime };

struct Period {
    PeriodKind kind;
    int32_t days; /* length of a fixed_days window; 0 for the others */
};

/* Times are microseconds since 1970-01-01 UTC; these two mean "no bound". */
constexpr int64_t no_begin = INT64_MIN;
constexpr int64_t no_end = INT64_MAX;

struct Window {
    int64_t start; /* inclusive */
    int64_t end;   /* exclusive */
};

/* Seconds east of UTC that a zone's clocks show at an instant (Unix seconds). */
using UtcOffset = int32_t (*)(int64_t unix_seconds, const void *zone);

/*
 * Read "30d" (1d to 3660d), "minute", "hour", "day", "week", "month", "year" or
 * "lifetime"; false for anything else.
 */
bool parse_period(std::string_view text, Period *period) noexcept;

/*
 * The window that holds now. Fixed-day windows are counted in steps of n x 24 h
 * from anchor (now may lie before it); minutes and hours are those of UTC, so that
 * they tile time in every zone; longer calendar windows begin at local midnight of
 * the zone (weeks on Monday, as ISO 8601); lifetime is unbounded.
 */
Window window_at(Period period, int64_t now, int64_t anchor, UtcOffset offset,
                 const void *zone) noexcept;

} // namespace skene
