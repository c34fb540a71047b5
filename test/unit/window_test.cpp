// window_test.cpp: windows tile time, whatever the period, the zone and the hour.
#include "core/window.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <cstdlib>
#include <random>
#include <string>

using namespace skene;

namespace
{

constexpr int64_t second = 1000000;
constexpr int64_t day = 86400 * second;

/* The C library's zone database stands in for PostgreSQL's. */
int32_t
libc_offset(int64_t unix_seconds, const void *)
{
    time_t instant = static_cast<time_t>(unix_seconds);
    struct tm local;
    localtime_r(&instant, &local);
    return static_cast<int32_t>(local.tm_gmtoff);
}

void
use_zone(const char *name)
{
    setenv("TZ", name, 1);
    tzset();
}

int64_t
utc(int year, int month, int mday, int hour = 0, int minute = 0)
{
    struct tm parts = {};
    parts.tm_year = year - 1900;
    parts.tm_mon = month - 1;
    parts.tm_mday = mday;
    parts.tm_hour = hour;
    parts.tm_min = minute;
    return static_cast<int64_t>(timegm(&parts)) * second;
}

Window
at(const char *period, int64_t now, int64_t anchor = 0)
{
    Period parsed;
    EXPECT_TRUE(parse_period(period, &parsed)) << period;
    return window_at(parsed, now, anchor, libc_offset, nullptr);
}

} // namespace

TEST(Period, AcceptsWhatTheContractNames)
{
    Period period;
    for (const char *text :
         {"1d", "30d", "3660d", "minute", "hour", "day", "week", "month", "year", "lifetime"})
        EXPECT_TRUE(parse_period(text, &period)) << text;
    EXPECT_TRUE(parse_period("30d", &period));
    EXPECT_EQ(period.kind, PeriodKind::fixed_days);
    EXPECT_EQ(period.days, 30);
}

TEST(Period, RefusesEverythingElse)
{
    Period period;
    for (const char *text : {"", "d", "0d", "030d", "-1d", "3661d", "99999d", "30", "30D", "30 d",
                             "days", "Month", "billing", "1h", "30dd"})
        EXPECT_FALSE(parse_period(text, &period)) << text;
}

TEST(Window, FixedDaysCountFromTheAnchorAlsoBeforeIt)
{
    use_zone("UTC");
    int64_t anchor = utc(2026, 1, 31, 13, 37);
    EXPECT_EQ(at("30d", anchor, anchor).start, anchor);
    EXPECT_EQ(at("30d", anchor + 30 * day - 1, anchor).start, anchor);
    EXPECT_EQ(at("30d", anchor + 30 * day, anchor).start, anchor + 30 * day);
    EXPECT_EQ(at("30d", anchor - 1, anchor).start, anchor - 30 * day);
    EXPECT_EQ(at("30d", anchor - 1, anchor).end, anchor);
}

TEST(Window, MonthsEndWhereTheCalendarSaysSo)
{
    use_zone("UTC");
    EXPECT_EQ(at("month", utc(2024, 2, 29, 23, 59)).start, utc(2024, 2, 1));
    EXPECT_EQ(at("month", utc(2024, 2, 29, 23, 59)).end, utc(2024, 3, 1));
    EXPECT_EQ(at("month", utc(2026, 12, 31, 23)).end, utc(2027, 1, 1));
    EXPECT_EQ(at("month", utc(1999, 12, 31)).start, utc(1999, 12, 1));
    EXPECT_EQ(at("year", utc(2026, 12, 31, 23)).start, utc(2026, 1, 1));
}

TEST(Window, WeeksBeginOnMonday)
{
    use_zone("UTC");
    EXPECT_EQ(at("week", utc(2026, 11, 21)).start, utc(2026, 11, 16));
    EXPECT_EQ(at("week", utc(2026, 11, 22, 23)).end, utc(2026, 11, 23));
    EXPECT_EQ(at("week", utc(1969, 12, 30)).start, utc(1969, 12, 29));
}

TEST(Window, DaysHave23And25HoursWhenClocksChange)
{
    use_zone("Europe/Berlin");
    Window spring = at("day", utc(2026, 3, 29, 12));
    EXPECT_EQ(spring.end - spring.start, 23 * 3600 * second);
    Window autumn = at("day", utc(2026, 10, 25, 12));
    EXPECT_EQ(autumn.end - autumn.start, 25 * 3600 * second);
    EXPECT_EQ(at("day", utc(2026, 6, 30, 22)).start, utc(2026, 6, 30, 22));
}

TEST(Window, BeginsWhenTheLocalDateIsFirstSeen)
{
    use_zone("America/Havana"); /* midnight came twice */
    EXPECT_EQ(at("day", utc(2023, 11, 5, 4, 30)).start, utc(2023, 11, 5, 4));
    EXPECT_EQ(at("day", utc(2023, 11, 5, 5, 30)).start, utc(2023, 11, 5, 4));
    use_zone("America/St_Johns"); /* clocks went back over midnight */
    EXPECT_EQ(at("day", utc(2006, 10, 29, 3)).start, utc(2006, 10, 29, 2, 30));
    EXPECT_EQ(at("day", utc(2006, 10, 29, 3)).end, utc(2006, 10, 30, 3, 30));
    use_zone("America/Sao_Paulo"); /* midnight was skipped */
    EXPECT_EQ(at("day", utc(2018, 11, 4, 12)).start, utc(2018, 11, 4, 3));
    use_zone("Pacific/Apia"); /* a day was skipped */
    EXPECT_EQ(at("day", utc(2011, 12, 30, 9, 59)).start, utc(2011, 12, 29, 10));
    EXPECT_EQ(at("day", utc(2011, 12, 30, 10)).start, utc(2011, 12, 30, 10));
    EXPECT_EQ(at("day", utc(2011, 12, 30, 10)).end, utc(2011, 12, 31, 10));
}

TEST(Window, LifetimeHasNoBounds)
{
    Window window = at("lifetime", utc(2026, 1, 1));
    EXPECT_EQ(window.start, no_begin);
    EXPECT_EQ(window.end, no_end);
}

TEST(Window, TilesTimeInEveryZone)
{
    std::mt19937_64 random(20261121);
    for (const char *zone : {"UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe",
                             "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia", "Asia/Beirut"}) {
        use_zone(zone);
        for (int round = 0; round < 4000; round++) {
            int64_t now = static_cast<int64_t>(random() % 2524608000u) * second +
                          static_cast<int64_t>(random() % second);
            for (const char *period :
                 {"1d", "30d", "minute", "hour", "day", "week", "month", "year"}) {
                Window window = at(period, now, 12345);
                ASSERT_LE(window.start, now) << zone << ' ' << period;
                ASSERT_LT(now, window.end) << zone << ' ' << period;
                ASSERT_EQ(at(period, window.start, 12345).start, window.start)
                    << zone << ' ' << period << ' ' << now;
                ASSERT_EQ(at(period, window.end, 12345).start, window.end)
                    << zone << ' ' << period << ' ' << now;
                ASSERT_EQ(at(period, window.end - 1, 12345).start, window.start)
                    << zone << ' ' << period << ' ' << now;
            }
        }
    }
}
