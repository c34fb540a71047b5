// config_suggest_test.cpp: which name a mistyped word was meant to be.
#include "core/suggest.hpp"

#include <gtest/gtest.h>

#include <string>

using skene::closest_name;

namespace
{
constexpr std::string_view names[] = {"limit", "period", "endpoints", "warnAt", "day", "pro"};
}

TEST(ConfigSuggest, FindsTheNameThatWasMeant)
{
    struct {
        const char *word, *name;
    } cases[] = {
        {"limits", "limit"},        {"limt", "limit"},     {"lmiit", "limit"},
        {"LIMIT", "limit"},         {"warn_at", "warnAt"}, {"warn", "warnAt"},
        {"endpoint", "endpoints"},  {"end", "endpoints"},  {"days", "day"},
        {"periodically", "period"}, {"por", "pro"},
    };
    for (const auto &c : cases)
        EXPECT_EQ(closest_name(c.word, names), c.name) << c.word;
}

TEST(ConfigSuggest, IsSilentWhenNothingIsClose)
{
    for (const char *word : {"", "x", "p", "zzz", "abc", "limousine", "unlimited"})
        EXPECT_EQ(closest_name(word, names), "") << word;
    EXPECT_EQ(closest_name("limit", {}), "");
}

TEST(ConfigSuggest, LooksOnlyAtTheBeginningOfLongWords)
{
    EXPECT_EQ(closest_name(std::string(1000000, 'x'), names), "");
    EXPECT_EQ(closest_name("limit" + std::string(1000000, 'x'), names), "limit");
}
