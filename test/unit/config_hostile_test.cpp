// config_hostile_test.cpp: text made to hurt is refused or read in linear time.
#include "config_parsing.hpp"

#include <gtest/gtest.h>

#include <ctime>

using skene::test::parse;
using skene::test::Parsed;
using skene::test::write_value;

namespace
{

constexpr size_t mebibyte = 1024 * 1024;

std::string
repeat(std::string_view part, size_t size)
{
    std::string text;
    text.reserve(size);
    while (text.size() + part.size() <= size)
        text += part;
    return text;
}

} // namespace

TEST(ConfigHostile, NestsAtMost64Deep)
{
    std::string open(64, '['), close(64, ']');
    EXPECT_EQ(parse(open + close).problem, "1:2 loop must be an object, not an array");
    EXPECT_EQ(parse("[" + open + close + "]").problem,
              "1:65 the document is nested more than 64 levels deep");
    for (const char *part : {"[", "{a:", "f(", "[{a:", "f<a>("})
        EXPECT_NE(parse(repeat(part, mebibyte)).problem.find("64 levels"), std::string::npos);
}

TEST(ConfigHostile, IsAtMostOneMebibyteLong)
{
    std::string text = "{settings:{productName:'x'}}";
    EXPECT_EQ(parse(text + std::string(mebibyte - text.size(), ' ')).problem, "");
    EXPECT_EQ(parse(text + std::string(mebibyte - text.size() + 1, ' ')).problem,
              "0:0 the document is larger than 1 MiB");
}

TEST(ConfigHostile, KeepsTheFirstWarningsOnly)
{
    Parsed parsed = parse("{settings:{productName:'" + repeat("a'", 10000) + "a'}}");
    EXPECT_EQ(parsed.problem, "");
    EXPECT_EQ(parsed.warnings.size(), static_cast<size_t>(skene::max_config_warnings));
}

TEST(ConfigHostile, CutsLongNamesInMessagesBetweenCharacters)
{
    for (size_t shift = 0; shift < 4; shift++) {
        std::string key = std::string(shift, 'x') + repeat("😀", 100000);
        Parsed parsed = parse("{settings:{'" + key + "':1}}");
        EXPECT_LT(parsed.problem.size(), 512u);
        EXPECT_NO_THROW(write_value(parsed.problem)); // throws when it is not UTF-8
        EXPECT_NO_THROW(write_value(parsed.hint));
    }
}

TEST(ConfigHostile, BoundsTheRowsThatAShortTextAsksFor)
{
    std::string plans, features;
    for (int i = 0; i < 500; i++)
        plans += "p" + std::to_string(i) + ":{},";
    for (int i = 0; i < 1000; i++)
        features += "f" + std::to_string(i) + ":{limit:null},";
    std::string more_plans = plans;
    for (int i = 500; i < 1000; i++)
        more_plans += "p" + std::to_string(i) + ":{},";

    EXPECT_EQ(parse("{plans:{" + more_plans + "free:{}}}").problem,
              "1:8 the document has more than 1000 plans");
    EXPECT_NE(parse("{plans:{" + plans + "free:{}},features:{" + features + "}}")
                  .problem.find("more than 100000 limits"),
              std::string::npos);
}

TEST(ConfigHostile, TakesLinearTime)
{
    constexpr size_t quarter = mebibyte / 4; // where there is much to build, sanitizers are slow
    std::string many_keys = "{";
    for (int i = 0; many_keys.size() < quarter; i++)
        many_keys += "k" + std::to_string(i) + ":1,";
    std::string many_features = "{features:{";
    for (int i = 0; many_features.size() < quarter; i++)
        many_features += "f" + std::to_string(i) + ":{limit:{free:1},period:'day'},";

    struct {
        const char *name;
        std::string text;
    } cases[] = {
        {"double quotes", repeat("\"", mebibyte)},
        {"single quotes", repeat("'", mebibyte)},
        {"backticks", repeat("`", mebibyte)},
        {"backslashes", "'" + repeat("\\", mebibyte - 1)},
        {"apostrophes between letters", "'" + repeat("a'", mebibyte - 1)},
        {"the same, closed", "{settings:{productName:'" + repeat("a'", mebibyte - 40) + "a'}}"},
        {"apostrophes and keywords", "'" + repeat("x'asas", mebibyte - 1)},
        {"letters", repeat("a", mebibyte)},
        {"dots", "a" + repeat(".a", mebibyte - 1)},
        {"digits", "[" + repeat("9", mebibyte - 2) + "]"},
        {"a long number", "{features:{a:{limit:" + repeat("10", mebibyte - 50) + "}}}"},
        {"underscores", "[" + repeat("1_", mebibyte - 2)},
        {"zeros", "{plans:{free:{rank:0." + repeat("0", mebibyte - 50) + "}}}"},
        {"comment openers", repeat("/*", mebibyte)},
        {"comments", repeat("/**/", mebibyte)},
        {"line comments", repeat("//\n", mebibyte)},
        {"semicolons", repeat(";", mebibyte)},
        {"imports", repeat("import'a'\n", mebibyte)},
        {"constants", repeat("const a={};", mebibyte)},
        {"types", "{a:1} as " + repeat("a|", quarter)},
        {"assertions", "{a:1} " + repeat("as a ", quarter)},
        {"generics", "f" + repeat("<", mebibyte - 1)},
        {"empty arrays", "[" + repeat("[],", quarter) + "]"},
        {"zero items", "[" + repeat("0,", quarter) + "]"},
        {"line ends", repeat("\r\n", mebibyte)},
        {"keys", many_keys + "}"},
        {"features", many_features + "}}"},
        {"an unknown key", "{settings:{" + repeat("a", mebibyte - 20) + ":1}}"},
        {"slashes", "{features:{a:{endpoints:'/" + repeat("a/", mebibyte - 40) + "'}}}"},
        {"warnings", "{features:{a:{endpoints:'" + repeat("/:a", mebibyte - 40) + "'}}}"},
    };
    for (const auto &c : cases) {
        ASSERT_LE(c.text.size(), mebibyte) << c.name;
        std::clock_t start = std::clock();
        parse(c.text);
        std::clock_t taken = std::clock() - start;
        // a fraction of a second; minutes if anything were quadratic
        EXPECT_LT(taken, 30 * CLOCKS_PER_SEC) << c.name;
    }
}
