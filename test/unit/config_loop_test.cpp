// config_loop_test.cpp: published loops, as they are and as people change them.
#include "config_parsing.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

using nlohmann::json;
using skene::test::parse;
using skene::test::Parsed;
using skene::test::read_value;
using skene::test::write_value;

namespace
{

std::string
published_loop()
{
    std::ifstream file(SKENE_SOURCE_DIR "/examples/fastapi-postgresql/skene.config.ts");
    std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_FALSE(text.empty());
    return text;
}

const char *const published_rows = R"({
    "plans_implied": true,
    "plans": [{"plan": "free", "rank": 0, "is_default": true, "prices": []},
              {"plan": "paid", "rank": 1, "is_default": false, "prices": ["*"]}],
    "features": [
        {"feature": "api_features", "period": "30d", "endpoints": ["POST /api/features/*"],
         "warn_at": [], "prompt_provider": "resend", "prompt_template": "upgrade_prompt",
         "prompt_on": "denied", "prompt_sequence": null,
         "message": "You've reached your free tier limit. Upgrade to continue."}],
    "entitlements": [
        {"feature": "api_features", "plan": "free", "period": "30d", "usage_limit": 100},
        {"feature": "api_features", "plan": "paid", "period": "30d", "usage_limit": null}],
    "templates": [], "settings": []})";

// A step in JSON; the placeholders of a table are put in place of its parts.
std::string
step(std::string trigger = "type:'api',endpoint:'/a'",
     std::string condition = "type:'usage',limit:{free:1},period:'1d'",
     std::string action = "type:'block'", std::string rest = "")
{
    return "{trigger:{" + trigger + "},condition:{" + condition + "},action:{" + action + "}" +
           rest + "}";
}

std::string
replaced(std::string text, const std::string &from, const std::string &to)
{
    for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}

std::string
without_comments(std::string text)
{
    for (size_t at = 0; (at = text.find("//", at)) != text.npos; at++) {
        if (at == 0 || text[at - 1] != ':') // not that of a URL
            text.erase(at, text.find('\n', at) - at);
    }
    return text;
}

std::string
loop(std::string steps)
{
    return "{type:'freemium',steps:[" + steps + "]}";
}

} // namespace

TEST(ConfigLoop, AcceptsThePublishedFileAsItStands)
{
    Parsed parsed = parse(published_loop());
    EXPECT_EQ(parsed.problem, "");
    EXPECT_EQ(parsed.bytes, write_value(read_value(published_rows)));
    EXPECT_EQ(parsed.warnings,
              std::vector<std::string>{"24:22 unescaped apostrophe in a single-quoted string"});
}

TEST(ConfigLoop, AcceptsThePublishedFileHoweverItIsLaidOut)
{
    std::string text = published_loop();
    std::string flat = text;
    while (flat.find("\n ") != flat.npos)
        flat = replaced(flat, "\n ", "\n");
    std::string one_line = replaced(without_comments(text), "\n", "");
    std::string squeezed = one_line;
    while (squeezed.find("  ") != squeezed.npos)
        squeezed = replaced(squeezed, "  ", " ");
    for (char c : std::string_view("{}:,;()[]")) {
        squeezed = replaced(squeezed, {' ', c}, {c});
        squeezed = replaced(squeezed, {c, ' '}, {c});
    }
    std::string crlf = replaced(text, "\n", "\r\n");
    ASSERT_EQ(one_line.find('\n'), std::string::npos);

    for (const std::string &variant : {flat, one_line, squeezed, crlf, "\xEF\xBB\xBF" + text}) {
        Parsed parsed = parse(variant);
        EXPECT_EQ(parsed.problem, "") << variant;
        EXPECT_EQ(parsed.bytes, write_value(read_value(published_rows)));
        EXPECT_EQ(parsed.warnings.size(), 1u);
    }
}

TEST(ConfigLoop, AcceptsThePublishedLoopAsStrictJson)
{
    Parsed parsed = parse(R"({"type": "freemium", "opinion": "Enforce usage limits",
        "steps": [{"trigger": {"type": "api", "endpoint": "/api/features/*", "method": "POST"},
            "condition": {"type": "usage", "limit": {"free": 100, "paid": null}, "period": "30d"},
            "action": {"type": "block",
                "message": "You've reached your free tier limit. Upgrade to continue.",
                "upgradePrompt": {"type": "email", "provider": "resend",
                                  "template": "upgrade_prompt"}}}],
        "recovery": {"retries": 0}})");
    EXPECT_EQ(parsed.problem, "");
    EXPECT_TRUE(parsed.warnings.empty());
    EXPECT_EQ(parsed.bytes, write_value(read_value(published_rows)));
}

TEST(ConfigLoop, RefusesEveryBeginningOfThePublishedFile)
{
    std::string text = published_loop();
    size_t whole = text.rfind('}') + 1; // from here only ");" is missing
    for (size_t length = 0; length <= whole; length++) {
        Parsed parsed = parse(text.substr(0, length));
        EXPECT_NE(parsed.problem, "") << length;
    }
}

TEST(ConfigLoop, MayStandInADocumentOrInAnArray)
{
    std::string one = loop(step());
    std::string rows = parse(one).bytes;
    EXPECT_NE(rows, "");
    EXPECT_EQ(parse("[" + one + "]").bytes, rows);
    EXPECT_EQ(parse("{loops:[" + one + "]}").bytes, rows);
    EXPECT_EQ(parse("export default [defineLoop(" + one + "), defineLoop(" + one + ")]").bytes,
              rows);
}

TEST(ConfigLoop, KnowsThePlansAndTemplatesOfItsDocument)
{
    Parsed parsed = parse("{loops:[" +
                          loop(step("type:'api',endpoint:'/a'",
                                    "type:'usage',limit:{free:1,paid:2},period:'1d',warnAt:[50]",
                                    "type:'block',upgradePrompt:{type:'email',provider:'resend',"
                                    "template:'t'}")) +
                          "],plans:{free:{},pro:{},team:{}},"
                          "templates:{t:{subject:'s',text:'x'}}}");
    ASSERT_EQ(parsed.problem, "");
    EXPECT_TRUE(parsed.warnings.empty());
    EXPECT_EQ(parsed.document["entitlements"].size(), 3u);
    EXPECT_EQ(parsed.document["features"][0]["warn_at"], json::array({50}));
    EXPECT_EQ(parsed.document["features"][0]["prompt_template"], "t");
}

TEST(ConfigLoop, NamesAFeatureAfterItsEndpoint)
{
    struct {
        const char *endpoint, *name;
    } cases[] = {
        {"/api/features/*", "api_features"},
        {"/api/*/export", "api_export"},
        {"/export", "export"},
        {"/api/v1.2/pdf-export", "api_v1_2_pdf_export"},
        {"/a/b/", "a_b"},
    };
    for (const auto &c : cases) {
        Parsed parsed = parse(loop(step("type:'api',endpoint:'" + std::string(c.endpoint) + "'")));
        ASSERT_EQ(parsed.problem, "") << c.endpoint;
        EXPECT_EQ(parsed.document["features"][0]["feature"], c.name);
        EXPECT_EQ(parsed.document["features"][0]["endpoints"], json::array({c.endpoint}));
    }
    Parsed named = parse(loop(step("type:'api',endpoint:'/*',method:'post'",
                                   "type:'usage',limit:null", "type:'block'", ",feature:'all'")));
    ASSERT_EQ(named.problem, "");
    EXPECT_EQ(named.document["features"][0]["feature"], "all");
    EXPECT_EQ(named.document["features"][0]["endpoints"], json::array({"POST /*"}));
    EXPECT_EQ(parse(loop(step("type:'api',endpoint:'/*'"))).problem,
              "1:55 endpoint \"/*\" makes no feature name");
    EXPECT_EQ(parse(loop(step("type:'api',endpoint:'/_x'"))).problem,
              "1:55 endpoint \"/_x\" makes no feature name");
}

TEST(ConfigLoop, SharesOneCounterAmongStepsThatAgree)
{
    std::string get = step("type:'api',endpoint:'/a',method:'GET'");
    std::string post = step("type:'api',endpoint:'/a',method:'POST'");
    Parsed parsed = parse(loop(get + "," + post));
    ASSERT_EQ(parsed.problem, "");
    ASSERT_EQ(parsed.document["features"].size(), 1u);
    EXPECT_EQ(parsed.document["features"][0]["endpoints"], json::array({"GET /a", "POST /a"}));

    std::string api = "type:'api',endpoint:'/a'";
    struct {
        std::string other;
        const char *differs;
    } cases[] = {
        {step(api, "type:'usage',limit:{free:2},period:'1d'"), "limit"},
        {step(api, "type:'usage',limit:{free:1},period:'2d'"), "period"},
        {step(api, "type:'usage',limit:{free:1},period:'1d',warnAt:1"), "warnAt"},
        {step(api, "type:'usage',limit:{free:1},period:'1d'", "type:'block',message:'m'"),
         "message"},
        {step(api, "type:'usage',limit:{free:1},period:'1d'", "type:'block',upgradePrompt:null"),
         "prompt"},
    };
    for (const auto &c : cases)
        EXPECT_EQ(parse(loop(get + ",\n" + c.other)).problem, "2:1 feature \"a\" has another " +
                                                                  std::string(c.differs) +
                                                                  " at line 1, column 25");
}

TEST(ConfigLoop, RefusesWhatALoopCannotSay)
{
    struct {
        std::string text;
        const char *problem;
    } cases[] = {
        {"{steps:[]}", "1:1 loop needs \"type\""},
        {"{type:'freemium'}", "1:1 loop needs \"steps\""},
        {"{type:'freemium',steps:[]}", "1:24 steps must be an array of at least one step"},
        {"{type:'freemium',steps:{}}", "1:24 steps must be an array of at least one step"},
        {"{type:'trial',steps:[]}", "1:7 type of loop must be \"freemium\", not \"trial\""},
        {"{type:'freemium',step:[]}", "1:18 unknown key \"step\" in loop"},
        {"{type:'freemium',opinion:5,steps:[]}", "1:26 opinion must be a string, not a number"},
        {"{type:'freemium',recovery:{retry:1},steps:[]}", "1:28 unknown key \"retry\" in recovery"},
        {"{type:'freemium',recovery:{retries:-1},steps:[]}",
         "1:36 retries must be a whole number, 0 or more, not \"-1\""},
        {loop("5"), "1:25 step must be an object, not a number"},
        {loop("{}"), "1:25 step needs \"trigger\""},
        {loop("{trigger:{type:'api',endpoint:'/a'}}"), "1:25 step needs \"condition\""},
        {loop(step("type:'cron'")), "1:40 type of trigger must be \"api\", not \"cron\""},
        {loop(step("type:'api'")), "1:34 trigger needs \"endpoint\""},
        {loop(step("type:'api',endpoint:'a'")), "1:55 invalid endpoint \"a\""},
        {loop(step("type:'api',endpoint:'/a',method:'P T'")), "1:67 invalid method \"P T\""},
        {loop(step("type:'api',endpoint:'/a'", "type:'usage'")), "1:71 condition needs \"limit\""},
        {loop(step("type:'api',endpoint:'/a'", "type:'usage',limit:{free:1}")),
         "1:25 feature \"a\" has a limit but no period"},
        {loop(step("type:'api',endpoint:'/a'", "type:'usage',limit:null", "type:'throttle'")),
         "1:110 type of action must be \"block\", not \"throttle\""},
        {loop(step("type:'api',endpoint:'/a'", "type:'usage',limit:null",
                   "type:'block',prompt:null")),
         "1:118 unknown key \"prompt\" in action"},
        {loop(step("type:'api',endpoint:'/a'", "type:'usage',limit:null", "type:'block'",
                   ",feature:'a b'")),
         "1:127 invalid feature name \"a b\""},
    };
    for (const auto &c : cases)
        EXPECT_EQ(parse(c.text).problem, c.problem) << c.text;
}
