/*
 * window.cpp: window arithmetic.
 *
 * A calendar window is found from the local date of an instant, then checked
 * against the instant itself: where clocks change at midnight the date alone
 * could name a window that does not hold it.
 */
#include "core/window.hpp"

namespace skene
{

namespace
{

constexpr int64_t second = 1000000;
constexpr int64_t day_seconds = 86400;
constexpr int32_t max_fixed_days = 3660;

struct NamedPeriod {
    std::string_view name;
    PeriodKind kind;
};

constexpr NamedPeriod named_periods[] = {
    {"minute", PeriodKind::minute},     {"hour", PeriodKind::hour},   {"day", PeriodKind::day},
    {"week", PeriodKind::week},         {"month", PeriodKind::month}, {"year", PeriodKind::year},
    {"lifetime", PeriodKind::lifetime},
};

/* Divide rounding towards minus infinity; divisor > 0. */
int64_t
floor_div(int64_t value, int64_t divisor)
{
    int64_t quotient = value / divisor;
    return value % divisor < 0 ? quotient - 1 : quotient;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (H. Hinnant, days_from_civil). */
int64_t
days_from_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* Year and month of a day number (H. Hinnant, civil_from_days). */
void
date_from_days(int64_t days, int64_t *year, int *month)
{
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int shifted_month = static_cast<int>((5 * day_of_year + 2) / 153);
    *month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

/* First day, as a day number, of the step-th calendar window after the one that holds day. */
int64_t
window_day(PeriodKind kind, int64_t day, int step)
{
    int64_t year;
    int month;

    switch (kind) {
    case PeriodKind::week:
        /* 1970-01-01 was a Thursday; weeks begin on Monday */
        return floor_div(day + 3, 7) * 7 - 3 + 7 * step;
    case PeriodKind::month:
        date_from_days(day, &year, &month);
        month += step;
        year += floor_div(month - 1, 12);
        month = static_cast<int>(month - 1 - floor_div(month - 1, 12) * 12) + 1;
        return days_from_date(year, month, 1);
    case PeriodKind::year:
        date_from_days(day, &year, &month);
        return days_from_date(year + step, 1, 1);
    default:
        return day + step;
    }
}

/* The first Unix second in (before, after] with the offset of after; there is one change. */
int64_t
clock_change(int64_t before, int64_t after, UtcOffset offset, const void *zone)
{
    int32_t old_offset = offset(before, zone);
    while (after - before > 1) {
        int64_t middle = before + (after - before) / 2;
        (offset(middle, zone) == old_offset ? before : after) = middle;
    }
    return after;
}

/*
 * The instant, in microseconds, at which a zone's clocks first reach a day: its
 * midnight, or the moment they skip that.
 */
int64_t
local_midnight(int64_t day, UtcOffset offset, const void *zone)
{
    int64_t local = day * day_seconds;
    int64_t before = local - day_seconds;
    int64_t after = local + day_seconds;
    int32_t old_offset = offset(before, zone);
    int32_t new_offset = offset(after, zone);

    if (old_offset == new_offset)
        return (local - old_offset) * second;
    int64_t change = clock_change(before, after, offset, zone);
    if (local - old_offset < change)
        return (local - old_offset) * second;
    return (change + new_offset > local ? change : local - new_offset) * second;
}

Window
calendar_window(PeriodKind kind, int64_t now, UtcOffset offset, const void *zone)
{
    int64_t unix_seconds = floor_div(now, second);
    int64_t today = floor_div(unix_seconds + offset(unix_seconds, zone), day_seconds);

    for (int shift : {0, -1, 1}) {
        int64_t first = window_day(kind, today, shift);
        Window window = {local_midnight(first, offset, zone),
                         local_midnight(window_day(kind, first, 1), offset, zone)};
        if (window.start <= now && now < window.end)
            return window;
    }
    /* unreachable while a zone's offset changes by less than a day */
    return {now, now + 1};
}

/* Windows of a fixed length are steps from a fixed point. */
Window
stepped_window(int64_t length, int64_t now, int64_t anchor)
{
    int64_t start = anchor + floor_div(now - anchor, length) * length;
    return {start, start + length};
}

} // namespace

bool
parse_period(std::string_view text, Period *period) noexcept
{
    for (const NamedPeriod &named : named_periods) {
        if (text == named.name) {
            *period = {named.kind, 0};
            return true;
        }
    }
    if (text.size() < 2 || text.size() > 5 || text.back() != 'd' || text[0] == '0')
        return false;
    int32_t days = 0;
    for (char digit : text.substr(0, text.size() - 1)) {
        if (digit < '0' || digit > '9')
            return false;
        days = days * 10 + (digit - '0');
    }
    if (days > max_fixed_days)
        return false;
    *period = {PeriodKind::fixed_days, days};
    return true;
}

Window
window_at(Period period, int64_t now, int64_t anchor, UtcOffset offset, const void *zone) noexcept
{
    switch (period.kind) {
    case PeriodKind::fixed_days:
        return stepped_window(period.days * day_seconds * second, now, anchor);
    case PeriodKind::minute:
        return stepped_window(60 * second, now, 0);
    case PeriodKind::hour:
        return stepped_window(3600 * second, now, 0);
    case PeriodKind::lifetime:
        return {no_begin, no_end};
    default:
        return calendar_window(period.kind, now, offset, zone);
    }
}

} // namespace skene
