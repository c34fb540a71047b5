// endpoint_test.cpp: which pattern a request belongs to.
#include "core/endpoint.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <string>

using namespace skene;

TEST(Endpoint, AcceptsWellFormedPatterns)
{
    for (const char *pattern :
         {"POST /api/features/*", "/api/export", "* /api/export", "GET /", "/", "/*", "/*/",
          "DELETE /a/*/b/*", "/a:verb", "/caf\xc3\xa9", "/a%20b", "/a/b/"})
        EXPECT_TRUE(valid_endpoint(pattern)) << pattern;
}

TEST(Endpoint, RefusesEverythingElse)
{
    for (const char *pattern :
         {"",        " ",        "*",      "POST",     "POST ",       " /a",      "post /a",
          "Post /a", "POST  /a", "POST a", "a/b",      "POST /a b",   "POST /a ", "POST\t/a",
          "/a\n",    "/a?b=1",   "/a#b",   "** /a",    "P0ST /a",     "//",       "/a//b",
          "/a//",    "/a/b*",    "/a/**",  "/a/*.pdf", "GET,POST /a", "/a\x7f"})
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
        {"POST /api/features/*", "POST", "/api/features/a//", false},
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
    std::string slashes(10 << 20, '/');
    std::string escapes = "/";
    for (int i = 0; i < 3 << 20; i++)
        escapes += "%61";
    std::clock_t start = std::clock();
    EXPECT_EQ(match_endpoint(slashes, "POST", slashes), 0);
    EXPECT_EQ(match_endpoint("/*/*/*", "POST", slashes), 0);
    EXPECT_GT(match_endpoint(escapes, "POST", escapes), 0);
    EXPECT_FALSE(valid_endpoint(slashes));
    EXPECT_TRUE(valid_endpoint(escapes));
    EXPECT_LT(std::clock() - start, 5 * CLOCKS_PER_SEC);
}
