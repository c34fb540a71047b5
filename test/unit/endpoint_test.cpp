// endpoint_test.cpp: which pattern a request belongs to.
#include "core/endpoint.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <random>
#include <sstream>
#include <string>
#include <vector>

using namespace skene;

TEST(Endpoint, AcceptsWellFormedPatterns)
{
    for (const char *pattern : {"POST /api/features/*", "/api/export", "* /api/export", "GET /",
                                "/", "/*", "/*/", "DELETE /a/*/b/*", "/a:verb", "/caf\xc3\xa9",
                                "/a%20b", "/a/b/", "/.well-known/...", "/a.b"})
        EXPECT_TRUE(valid_endpoint(pattern)) << pattern;
}

TEST(Endpoint, RefusesEverythingElse)
{
    for (const char *pattern :
         {"",        " ",        "*",      "POST",     "POST ",       " /a",      "post /a",
          "Post /a", "POST  /a", "POST a", "a/b",      "POST /a b",   "POST /a ", "POST\t/a",
          "/a\n",    "/a?b=1",   "/a#b",   "** /a",    "P0ST /a",     "//",       "/a//b",
          "/a//",    "/a/b*",    "/a/**",  "/a/*.pdf", "GET,POST /a", "/a\x7f",   "/a/./b",
          "/a/..",   "/.",       "/%2E./a"})
        EXPECT_FALSE(valid_endpoint(pattern)) << '"' << pattern << '"';
    EXPECT_FALSE(valid_endpoint(std::string_view("/a\0b", 4)));
    EXPECT_FALSE(valid_endpoint(std::string_view()));
}

TEST(Endpoint, LimitsThePatternToAsManySegmentsAsTheRankCanHold)
{
    std::string pattern;
    std::string path;
    for (int i = 0; i < 28; i++) {
        pattern += i % 2 ? "/*" : "/a";
        path += "/a";
    }
    EXPECT_TRUE(valid_endpoint(pattern));
    EXPECT_TRUE(valid_endpoint(pattern + "/"));
    EXPECT_GT(match_endpoint("POST " + path, "POST", path), match_endpoint(path, "POST", path));
    EXPECT_GT(match_endpoint(pattern, "POST", path), 0);
    EXPECT_FALSE(valid_endpoint(pattern + "/a"));
    EXPECT_EQ(match_endpoint(pattern + "/a", "POST", path + "/a"), 0);
}

TEST(Endpoint, MatchesTheRequestsItNames)
{
    struct {
        const char *pattern, *method, *path;
        bool match;
    } cases[] = {
        {"POST /api/features/*", "POST", "/api/features/export", true},
        {"POST /api/features/*", "post", "/api/features/export", true},
        {"POST /api/features/*", "GET", "/api/features/export", false},
        {"POST /api/features/*", "", "/api/features/export", false},
        {"POST /api/features/*", "POST", "/api/features", false},
        {"POST /api/features/*", "POST", "/api/features/", false},
        {"POST /api/features/*", "POST", "/api/features//", false},
        {"POST /api/features/*", "POST", "/api/features/a/b", false},
        {"POST /api/features/*", "POST", "/api/features/a/", true},
        {"POST /api/features/*", "POST", "/api/features/a//", true},
        {"POST /api/features/*", "POST", "/api/features/a?x=/b", true},
        {"POST /api/features/*", "POST", "/api/features/a/?x=1#y", true},
        {"POST /api/features/*", "POST", "/api/features/?x=1", false},
        {"POST /api/features/*", "POST", "/api/features/a#/b", true},
        {"/api/*/x", "PATCH", "/api/1/x", true},
        {"/api/*/x", "", "/api/1/x", true},
        {"/api/*/x", "PATCH", "/api/1/y", false},
        {"/api/*/x", "PATCH", "/api//x", false},
        {"* /a/", "PUT", "/a", true},
        {"/a", "PUT", "/a/", true},
        {"/a", "PUT", "/A", false},
        {"/a", "PUT", "/ab", false},
        {"/ab", "PUT", "/a", false},
        {"/a", "PUT", "a", false},
        {"/a", "PUT", "", false},
        {"/a", "PUT", "?/a", false},
        {"/", "GET", "/", true},
        {"/", "GET", "/?q", true},
        {"/", "GET", "//", true},
        {"/", "GET", "/a/..", true},
        {"/", "GET", "/a", false},
        {"/*", "GET", "/", false},
        {"/*", "GET", "/a", true},
        {"PO /a", "POST", "/a", false},
        {"POST /a", "PO", "/a", false},
        {"", "GET", "/a", false},
        {"GET", "GET", "/a", false},
    };
    for (auto &c : cases)
        EXPECT_EQ(match_endpoint(c.pattern, c.method, c.path) > 0, c.match)
            << c.pattern << " against " << c.method << ' ' << c.path;
}

TEST(Endpoint, CannotBeAvoidedByPercentEncoding)
{
    EXPECT_GT(match_endpoint("POST /api/export", "POST", "/api/%65xport"), 0);
    EXPECT_GT(match_endpoint("POST /api/export", "POST", "/%61%70%69/%65%78%70%6F%72%74"), 0);
    EXPECT_GT(match_endpoint("/caf\xc3\xa9", "GET", "/caf%C3%a9"), 0);
    EXPECT_GT(match_endpoint("/a%20b", "GET", "/a%20b"), 0);
    EXPECT_EQ(match_endpoint("/api/export", "POST", "/api%2Fexport"), 0);
    EXPECT_EQ(match_endpoint("/a", "POST", "/%"), 0);
    EXPECT_EQ(match_endpoint("/a", "POST", "/%6"), 0);
    EXPECT_EQ(match_endpoint("/a", "POST", "/%6g"), 0);
    EXPECT_GT(match_endpoint("/100%", "GET", "/100%"), 0);
}

TEST(Endpoint, CannotBeAvoidedByAnotherSpellingOfThePath)
{
    for (const char *path :
         {"//api/export/7", "/api//export/7", "/api/./export/7", "/api/x/../export/7",
          "/api/export/7//", "/api/export/7/.", "/api/export/7/x/..", "/../api/export/7",
          "/x/y/../../api/export/7", "/api/%2e/export/7", "/api/x/%2E./export/7",
          "/api/x//../export/7", "/api//../export/7", "https://host/api/export/7",
          "http://u:p@host:80//api/x/../export/7?x=/../..", "HTTP://h/api/export/7/#/.."})
        EXPECT_GT(match_endpoint("POST /api/export/*", "POST", path), 0) << path;
    for (const char *path :
         {"/api/export/..", "/api/export/7/..", "/api/export/.", "/api/export/.../7",
          "/API/export/7", "/api/export/7/%2e%2e", "api/export/7", "x/https://host/api/export/7",
          "://host/api/export/7", "https://api/export/7", "https:/api/export/7", "*"})
        EXPECT_EQ(match_endpoint("POST /api/export/*", "POST", path), 0) << path;
    EXPECT_GT(match_endpoint("/", "GET", "https://host"), 0);
    EXPECT_GT(match_endpoint("/", "GET", "https://host?x=/a"), 0);
    EXPECT_GT(match_endpoint("/host/a", "GET", "//host/a"), 0);
}

/* Segments of a path, by the letter of RFC 3986, 5.2.4, empty ones removed before or after. */
static std::vector<std::string>
plain_segments(const std::string &path, bool merge_slashes)
{
    std::vector<std::string> segments;
    std::stringstream rest(path.substr(1));
    for (std::string segment; std::getline(rest, segment, '/');) {
        for (size_t at; (at = segment.find("%2e")) != segment.npos;)
            segment.replace(at, 3, ".");
        if (segment == "..") {
            if (!segments.empty())
                segments.pop_back();
        } else if (segment != "." && !(merge_slashes && segment.empty())) {
            segments.push_back(segment);
        }
    }
    std::erase(segments, "");
    return segments;
}

TEST(Endpoint, TakesAnyPathAsServersDo)
{
    const char *pieces[] = {"/", "/", "/", ".", ".", "a", "b", "%2e"};
    const std::vector<std::string> patterns[] = {{}, {"a"}, {"*"}, {"a", "*"}, {"*", "b", "*"}};
    std::mt19937 random(1);
    int matches = 0;
    for (int i = 0; i < 20000; i++) {
        std::string path = "/";
        for (int length = random() % 14; length > 0; length--)
            path += pieces[random() % std::size(pieces)];
        for (auto &wanted : patterns) {
            std::string pattern;
            for (auto &segment : wanted)
                pattern += "/" + segment;
            bool expected = false;
            for (bool merge_slashes : {true, false}) {
                auto segments = plain_segments(path, merge_slashes);
                expected |= std::equal(
                    segments.begin(), segments.end(), wanted.begin(), wanted.end(),
                    [](auto &left, auto &right) { return right == "*" || left == right; });
            }
            ASSERT_EQ(match_endpoint(pattern.empty() ? "/" : pattern, "GET", path) > 0, expected)
                << pattern << " against " << path;
            matches += expected;
        }
    }
    EXPECT_GT(matches, 1000);
}

TEST(Endpoint, RanksTheMostSpecificPatternHighest)
{
    /* every pattern matches the request; each is more specific than the one after it */
    const char *order[] = {"POST /a/b/c", "/a/b/c", "POST /a/b/*", "* /a/b/*", "/a/*/c",
                           "/a/*/*",      "/*/b/c", "/*/b/*",      "/*/*/c",   "/*/*/*"};
    for (size_t i = 0; i + 1 < std::size(order); i++)
        EXPECT_GT(match_endpoint(order[i], "POST", "/a/b/c"),
                  match_endpoint(order[i + 1], "POST", "/a/b/c"))
            << order[i] << " against " << order[i + 1];
    EXPECT_GT(match_endpoint("/*/*/*", "POST", "/a/b/c"), 0);
    EXPECT_EQ(match_endpoint("/a/b/*", "POST", "/a/b/c"),
              match_endpoint("* /a/b/*/", "POST", "/a/b/c/"));
}

TEST(Endpoint, TakesTimeInProportionToHostileInput)
{
    std::string slashes(3 << 20, '/');
    std::string escapes = "/";
    for (int i = 0; i < 1 << 20; i++)
        escapes += "%61";
    std::clock_t start = std::clock();
    std::string parents;
    for (int i = 0; i < 1 << 20; i++)
        parents += i % 2 ? "/%2e." : "/a";
    EXPECT_EQ(match_endpoint("/a", "POST", slashes), 0);
    EXPECT_EQ(match_endpoint("/*/*/*", "POST", parents), 0);
    EXPECT_GT(match_endpoint("/a", "POST", parents + "/a"), 0);
    EXPECT_EQ(match_endpoint("/*/*/*", "POST", slashes), 0);
    EXPECT_GT(match_endpoint(escapes, "POST", escapes), 0);
    EXPECT_FALSE(valid_endpoint(slashes));
    EXPECT_TRUE(valid_endpoint(escapes));
    EXPECT_LT(std::clock() - start, 5 * CLOCKS_PER_SEC);
}
