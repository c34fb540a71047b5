// config_document_test.cpp: what documents mean, and what they may not say.
#include "config_parsing.hpp"

#include <gtest/gtest.h>

using nlohmann::json;
using skene::test::parse;
using skene::test::Parsed;
using skene::test::read_value;
using skene::test::write_value;

namespace
{

// What each plan gets of the only feature, as {"plan": limit}.
json
limits(std::string_view text)
{
    Parsed parsed = parse(text);
    EXPECT_EQ(parsed.problem, "") << text;
    json result = json::object();
    if (parsed.problem.empty()) {
        for (const json &row : parsed.document["entitlements"])
            result[row["plan"].get<std::string>()] = row["usage_limit"];
    }
    return result;
}

struct Refusal {
    const char *text, *problem, *hint;
};

// Each text is refused with that problem, and a hint that contains those words.
void
expect_refused(std::initializer_list<Refusal> cases)
{
    for (const Refusal &c : cases) {
        Parsed parsed = parse(c.text);
        EXPECT_EQ(parsed.problem, c.problem) << c.text;
        EXPECT_NE(parsed.hint.find(c.hint), std::string::npos) << c.text << "\n" << parsed.hint;
        EXPECT_TRUE(parsed.bytes.empty()) << c.text;
    }
}

} // namespace

TEST(ConfigDocument, BecomesCanonicalRows)
{
    Parsed parsed = parse(R"({
        settings: { upgradeUrl: "https://example.com/up", emailFrom: "A <a@example.com>" },
        features: {
            seats: { limit: { team: 9_000, paid: null }, period: "lifetime", prompt: null },
            export: { limit: { free: 5, paid: Infinity }, period: "30d", warnAt: [90, 80, 80],
                      endpoints: ["POST /b", "GET /a/*"], message: "No more.",
                      prompt: { provider: "resend", template: "sorry" } },
        },
        templates: { sorry: { subject: "Sorry", text: "Hello" } },
        plans: { free: { default: true }, pro: { prices: "price_1" },
                 team: { rank: 7, prices: ["team_b", "team_a", "team_a"] } },
    })");
    EXPECT_EQ(parsed.problem, "");
    EXPECT_TRUE(parsed.warnings.empty());
    EXPECT_EQ(parsed.bytes, write_value(read_value(R"({
        "plans_implied": false,
        "plans": [
            {"plan": "free", "rank": 0, "is_default": true, "prices": []},
            {"plan": "pro", "rank": 1, "is_default": false, "prices": ["price_1"]},
            {"plan": "team", "rank": 7, "is_default": false, "prices": ["team_a", "team_b"]}],
        "features": [
            {"feature": "export", "period": "30d", "endpoints": ["GET /a/*", "POST /b"],
             "warn_at": [80, 90], "message": "No more.", "prompt_provider": "resend",
             "prompt_template": "sorry", "prompt_on": "denied", "prompt_sequence": null},
            {"feature": "seats", "period": "lifetime", "endpoints": [], "warn_at": [],
             "message": null, "prompt_provider": null, "prompt_template": null,
             "prompt_on": "denied", "prompt_sequence": null}],
        "entitlements": [
            {"feature": "export", "plan": "free", "period": "30d", "usage_limit": 5},
            {"feature": "export", "plan": "pro", "period": "30d", "usage_limit": null},
            {"feature": "export", "plan": "team", "period": "30d", "usage_limit": null},
            {"feature": "seats", "plan": "pro", "period": "lifetime", "usage_limit": null},
            {"feature": "seats", "plan": "team", "period": "lifetime", "usage_limit": 9000}],
        "templates": [
            {"template": "sorry", "locale": "", "subject": "Sorry", "html": null, "text": "Hello"}],
        "settings": [
            {"name": "emailFrom", "value": "A <a@example.com>"},
            {"name": "upgradeUrl", "value": "https://example.com/up"}]})")));
}

TEST(ConfigDocument, GivesEqualBytesForEqualDocuments)
{
    EXPECT_EQ(parse("{features:{b:{limit:1,period:'day'},a:{limit:null,warnAt:[5,1]}}}").bytes,
              parse("{\"features\":{\"a\":{\"warnAt\":[1,5],\"limit\":Infinity},"
                    "\"b\":{\"period\":\"day\",\"limit\":1e0}}}")
                  .bytes);
}

TEST(ConfigDocument, HasFreeAndPaidWhereItHasFeaturesButNoPlans)
{
    json implied = read_value(
        R"([{"plan":"free","rank":0,"is_default":true,"prices":[]},
            {"plan":"paid","rank":1,"is_default":false,"prices":["*"]}])");
    EXPECT_EQ(parse("{features:{a:{limit:null}}}").document["plans"], implied);
    EXPECT_EQ(parse("{loops:[]}").document["plans"], implied);
    EXPECT_EQ(parse("{settings:{productName:'x'}}").document["plans"], json::array());
    EXPECT_EQ(parse("{templates:{t:{subject:'s',text:'t'}}}").document["plans"], json::array());
}

TEST(ConfigDocument, RanksPlansInTheOrderWritten)
{
    json plans =
        parse("{plans:{zoo:{},basic:{default:true},ant:{rank:9},bee:{}}}").document["plans"];
    json ranks = json::object();
    for (const json &row : plans)
        ranks[row["plan"].get<std::string>()] = row["rank"];
    EXPECT_EQ(ranks, read_value(R"({"basic":0,"zoo":1,"ant":9,"bee":3})"));
}

TEST(ConfigDocument, TakesThePlanNamedFreeForTheDefault)
{
    EXPECT_EQ(parse("{plans:{pro:{},free:{}}}").document["plans"][0],
              read_value(R"({"plan":"free","rank":0,"is_default":true,"prices":[]})"));
    EXPECT_EQ(parse("{plans:{pro:{default:true},free:{}}}").document["plans"][0]["is_default"],
              false);
}

TEST(ConfigDocument, RefusesPlansThatMakeNoSense)
{
    expect_refused({
        {"{plans:[]}", "1:8 plans must be an object, not an array", ""},
        {"{plans:{}}", "1:8 no plan is the default", "\"default\": true"},
        {"{plans:{pro:{}}}", "1:8 no plan is the default", "\"default\": true"},
        {"{plans:{free:{default:false}}}", "1:8 no plan is the default", "\"default\": true"},
        {"{plans:{a:{default:true},\nb:{default:true}}}",
         "2:12 plan \"b\" cannot be the default as well", "plan \"a\", at line 1, column 9."},
        {"{plans:{free:{default:1}}}", "1:23 default must be true or false, not a number", ""},
        {"{plans:{free:1}}", "1:14 plan \"free\" must be an object, not a number", ""},
        {"{plans:{free:{price:'x'}}}", "1:15 unknown key \"price\" in plan \"free\"",
         "Did you mean \"prices\"?"},
        {"{plans:{free:{rank:-1}}}",
         "1:20 rank must be a whole number from 0 to 2147483647, not \"-1\"", ""},
        {"{plans:{free:{rank:2147483648}}}",
         "1:20 rank must be a whole number from 0 to 2147483647, not \"2147483648\"", ""},
        {"{plans:{free:{prices:['']}}}", "1:23 each of prices must not be empty", ""},
        {"{plans:{free:{prices:[1]}}}", "1:23 each of prices must be a string, not a number", ""},
        {"{plans:{free:{},a:{prices:'p'},b:{prices:['q','p']}}}",
         "1:47 price \"p\" belongs to plan \"a\" already", "one plan"},
        {"{plans:{'a b':{}}}", "1:9 invalid plan name \"a b\"", "1 to 63 characters"},
        {"{plans:{'':{}}}", "1:9 invalid plan name \"\"", "1 to 63 characters"},
        {"{plans:{_a:{}}}", "1:9 invalid plan name \"_a\"", "begin with a letter or digit"},
        {"{plans:{é:{}}}", "1:9 invalid plan name \"é\"", "1 to 63 characters"},
    });
    EXPECT_EQ(parse("{plans:{free:{},'" + std::string(63, 'a') + "':{}}}").problem, "");
    EXPECT_NE(parse("{plans:{free:{},'" + std::string(64, 'a') + "':{}}}").problem, "");
    EXPECT_EQ(parse("{plans:{free:{},'0a_.:-Z':{}}}").problem, "");
}

TEST(ConfigDocument, ReadsLimitsExactly)
{
    struct {
        const char *text;
        json value;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"007e0", nullptr}, // replaced below: refused
        {"100", 100},
        {"1_000", 1000},
        {"1e3", 1000},
        {"1.5e1", 15},
        {"2.50e+2", 250},
        {"100e-2", 1},
        {"5.", 5},
        {"0e999999999999", 0},
        {"9007199254740993", 9007199254740993},
        {"9223372036854775807", 9223372036854775807},
        {"9.223372036854775807e18", 9223372036854775807},
        {"92233720368547758070e-1", 9223372036854775807},
        {"null", nullptr},
        {"Infinity", nullptr},
        {"+Infinity", nullptr},
    };
    for (const auto &c : cases) {
        std::string text = "{features:{a:{period:'1d',limit:{free:" + std::string(c.text) + "}}}}";
        if (std::string_view(c.text) == "007e0")
            EXPECT_EQ(parse(text).problem, "1:39 malformed number");
        else
            EXPECT_EQ(limits(text), (json{{"free", c.value}})) << c.text;
    }
    for (const char *text :
         {"2.5", "-1", "1e-1", "9223372036854775808", "1e19", "1e999999999999999999", "-Infinity",
          "NaN", "1e18446744073709551617"}) {
        EXPECT_EQ(
            parse("{features:{a:{period:'1d',limit:{free:" + std::string(text) + "}}}}").problem,
            "1:39 limit must be a whole number from 0 to 9223372036854775807, null or "
            "Infinity, not \"" +
                std::string(text) + "\"");
    }
}

TEST(ConfigDocument, SpreadsPaidOverEveryPlanButTheDefault)
{
    std::string plans = "{plans:{free:{},pro:{},team:{}},features:{a:{period:'1d',limit:";
    EXPECT_EQ(limits(plans + "{free:1,paid:9}}}}"), (json{{"free", 1}, {"pro", 9}, {"team", 9}}));
    EXPECT_EQ(limits(plans + "{paid:null,team:3}}}}"), (json{{"pro", nullptr}, {"team", 3}}));
    EXPECT_EQ(limits(plans + "{team:3,paid:null}}}}"), (json{{"pro", nullptr}, {"team", 3}}));
    EXPECT_EQ(limits(plans + "7}}}"), (json{{"free", 7}, {"pro", 7}, {"team", 7}}));
    EXPECT_EQ(limits(plans + "Infinity}}}"),
              (json{{"free", nullptr}, {"pro", nullptr}, {"team", nullptr}}));
    EXPECT_EQ(limits("{plans:{free:{},pro:{},paid:{}},features:{a:{limit:{paid:null}}}}"),
              (json{{"paid", nullptr}}));
    EXPECT_EQ(limits("{features:{a:{limit:{paid:null}}}}"), (json{{"paid", nullptr}}));
}

TEST(ConfigDocument, RefusesFeaturesThatMakeNoSense)
{
    expect_refused({
        {"{features:1}", "1:11 features must be an object, not a number", ""},
        {"{features:{a:1}}", "1:14 feature \"a\" must be an object, not a number", ""},
        {"{features:{'a/b':{}}}", "1:12 invalid feature name \"a/b\"", "1 to 63 characters"},
        {"{features:{a:{limits:1}}}", "1:15 unknown key \"limits\" in feature \"a\"",
         "Did you mean \"limit\"?"},
        {"{features:{a:{zzz:1}}}", "1:15 unknown key \"zzz\" in feature \"a\"",
         "The keys known here are: limit, period, endpoints,"},
        {"{features:{a:{limit:'5'}}}",
         "1:21 limit must be a number, null or Infinity, not a string", "without quotes"},
        {"{features:{a:{limit:{free:\"Infinity\"}}}}",
         "1:27 limit must be a number, null or Infinity, not a string", "null means unlimited"},
        {"{features:{a:{limit:{free:true}}}}",
         "1:27 limit must be a whole number from 0 to 9223372036854775807, null or Infinity, not a "
         "boolean",
         ""},
        {"{features:{a:{limit:[5]}}}",
         "1:21 limit must be a number, null or Infinity, or an object with one for each plan", ""},
        {"{plans:{free:{},pro:{}},\nfeatures:{a:{limit:{free:1,prp:2}}}}",
         "2:28 limit names the unknown plan \"prp\"", "Did you mean \"pro\"?"},
        {"{plans:{free:{}},features:{a:{limit:{enterprise:2}}}}",
         "1:38 limit names the unknown plan \"enterprise\"",
         "The plans of this document are: free."},
        {"{features:{a:{limit:5}}}", "1:12 feature \"a\" has a limit but no period", "\"30d\""},
        {"{features:{a:{limit:5,period:30}}}",
         "1:30 period must be a string such as \"30d\" or \"month\"", ""},
        {"{features:{a:{limit:5,period:'30 days'}}}", "1:30 unknown period \"30 days\"",
         "minute, hour, day, week, month, year, lifetime."},
        {"{features:{a:{limit:5,period:'monthly'}}}", "1:30 unknown period \"monthly\"",
         "Did you mean \"month\"?"},
        {"{features:{a:{limit:5,period:'billing'}}}",
         "1:30 period \"billing\" is not supported by this version", "Use \"month\""},
        {"{features:{a:{limit:null,period:'0d'}}}", "1:33 unknown period \"0d\"", "1d to 3660d"},
        {"{features:{a:{endpoints:['post /x']}}}", "1:26 invalid endpoint \"post /x\"",
         "upper-case method"},
        {"{features:{a:{endpoints:[1]}}}", "1:26 each of endpoints must be a string, not a number",
         ""},
        {"{features:{a:{warnAt:[0]}}}",
         "1:23 warnAt must be whole numbers from 1 to 100 (per cent), not \"0\"", ""},
        {"{features:{a:{warnAt:101}}}",
         "1:22 warnAt must be whole numbers from 1 to 100 (per cent), not \"101\"", ""},
        {"{features:{a:{promptOn:'always'}}}",
         "1:24 promptOn must be \"denied\" or \"reached\", not \"always\"", ""},
        {"{features:{a:{promptOn:true}}}", "1:24 promptOn must be a string, not a boolean", ""},
        {"{features:{a:{message:5}}}", "1:23 message must be a string, not a number", ""},
        {"{features:{a:{message:{}}}}", "1:23 message must be a string, not an object", ""},
        {"{features:{a:{message:''}}}", "1:23 message must not be empty", ""},
        {"{features:{a:{prompt:true}}}", "1:22 prompt must be an object, null or false", ""},
        {"{features:{a:{prompt:{type:'sms'}}}}",
         "1:28 type of prompt must be \"email\", not \"sms\"", ""},
        {"{features:{a:{prompt:{provider:'ses'}}}}",
         "1:32 provider of prompt must be \"resend\", not \"ses\"", ""},
        {"{features:{a:{prompt:{template:'resend:'}}}}", "1:32 invalid template name \"\"",
         "1 to 63"},
        {"{features:{a:{prompt:null,\nupgradePrompt:null}}}",
         "2:1 upgradePrompt is another name of prompt, which is given at line 1, column 15",
         "Keep one"},
    });
}

TEST(ConfigDocument, GivesFeaturesTheirDefaults)
{
    EXPECT_EQ(parse("{features:{a:{limit:null}}}").document["features"][0], read_value(R"(
        {"feature": "a", "period": "30d", "endpoints": [], "warn_at": [], "message": null,
         "prompt_provider": "resend", "prompt_template": "upgrade_prompt",
         "prompt_on": "denied", "prompt_sequence": null})"));
}

TEST(ConfigDocument, ReadsSequences)
{
    Parsed parsed = parse("{templates:{t:{subject:'s',html:'h'}},features:{a:{limit:null,"
                          "prompt:{template:'t',sequence:[{after:'0'},{after:'2d'},"
                          "{after:'14d',template:'resend:last'}]}}}}");
    EXPECT_EQ(parsed.problem, "");
    EXPECT_TRUE(parsed.warnings.empty());
    EXPECT_EQ(parsed.document["features"][0]["prompt_sequence"], read_value(R"(
        [{"after": "0", "template": "t"}, {"after": "2d", "template": "t"},
         {"after": "14d", "template": "resend:last"}])"));
    EXPECT_EQ(parse("{features:{a:{limit:null,prompt:{sequence:[{after:'1d'}]}}}}")
                  .document["features"][0]["prompt_sequence"],
              read_value(R"([{"after": "1d", "template": "upgrade_prompt"}])"));
    std::string ten = "{after:'0'}";
    for (int day = 1; day < 10; day++)
        ten += ",{after:'" + std::to_string(day) + "d'}";
    auto with = [](const std::string &steps) {
        return "{features:{a:{limit:null,\nprompt:{sequence:[" + steps + "]}}}}";
    };
    EXPECT_EQ(parse(with(ten)).problem, "");
    expect_refused({
        {with(ten + ",{after:'10d'}").c_str(), "2:18 sequence must be an array of 1 to 10 steps",
         "without a template"},
        {with("").c_str(), "2:18 sequence must be an array of 1 to 10 steps", ""},
        {with("{}").c_str(), "2:19 step of sequence needs \"after\"", ""},
        {with("{after:0}").c_str(), "2:26 after must be a string such as \"2d\"", ""},
        {with("{after:'2h'}").c_str(), "2:26 after must be \"0\" or whole days, not \"2h\"",
         "1d to 3660d"},
        {with("{after:'month'}").c_str(), "2:26 after must be \"0\" or whole days, not \"month\"",
         ""},
        {with("{after:'2d'},\n{after:'2d'}").c_str(),
         "3:8 each step of a sequence must come later than the one before", "from the prompt"},
        {with("{after:'0',templat:'t'}").c_str(),
         "2:30 unknown key \"templat\" in step of sequence", "template"},
        {with("{after:'0',template:'a b'}").c_str(), "2:39 invalid template name \"a b\"", ""},
        {"{features:{a:{limit:null,prompt:{sequence:{}}}}}",
         "1:43 sequence must be an array of 1 to 10 steps", ""},
    });
}

TEST(ConfigDocument, ReadsPromptsOfEveryForm)
{
    struct {
        const char *text;
        json provider, name;
    } cases[] = {
        {"prompt:null", nullptr, nullptr},
        {"prompt:false", nullptr, nullptr},
        {"prompt:{}", "resend", "upgrade_prompt"},
        {"prompt:{template:'resend:Hosted.One'}", "resend", "resend:Hosted.One"},
        {"upgradePrompt:{type:'email',provider:'resend',template:'t'}", "resend", "t"},
        {"upgradePrompt:undefined", "resend", "upgrade_prompt"},
    };
    for (const auto &c : cases) {
        Parsed parsed = parse("{templates:{t:{subject:'s',html:'h'}},features:{a:{limit:null," +
                              std::string(c.text) + "}}}");
        ASSERT_EQ(parsed.problem, "") << c.text;
        EXPECT_TRUE(parsed.warnings.empty()) << c.text;
        EXPECT_EQ(parsed.document["features"][0]["prompt_provider"], c.provider) << c.text;
        EXPECT_EQ(parsed.document["features"][0]["prompt_template"], c.name) << c.text;
    }
}

TEST(ConfigDocument, WarnsOfWhatIsProbablyNotMeant)
{
    struct {
        const char *text, *warning;
    } cases[] = {
        {"{features:{a:{limit:null,prompt:{template:'mine'}}}}",
         "1:43 template \"mine\" is not in this document"},
        {"{features:{a:{}}}", "1:12 no plan gets feature \"a\""},
        {"{features:{a:{limit:{}}}}", "1:12 no plan gets feature \"a\""},
        {"{features:{a:{limit:null,endpoints:['GET /u/:id']}}}",
         "1:37 endpoint segment \":id\" is taken literally"},
        {"{features:{a:{limit:null,endpoints:'/u/{id}'}}}",
         "1:36 endpoint segment \"{id}\" is taken literally"},
    };
    for (const auto &c : cases) {
        Parsed parsed = parse(c.text);
        EXPECT_EQ(parsed.problem, "") << c.text;
        EXPECT_EQ(parsed.warnings, std::vector<std::string>{c.warning}) << c.text;
    }
}

TEST(ConfigDocument, ReadsTemplates)
{
    EXPECT_EQ(parse("{templates:{b:{subject:'s',html:'h',text:null},a:{subject:'é',text:'t'}}}")
                  .document["templates"],
              read_value(R"([
        {"template":"a","locale":"","subject":"é","html":null,"text":"t"},
        {"template":"b","locale":"","subject":"s","html":"h","text":null}])"));
    expect_refused({
        {"{templates:{t:{html:'h'}}}", "1:15 template \"t\" needs \"subject\"", ""},
        {"{templates:{t:{subject:'s'}}}", "1:15 template \"t\" needs \"html\" or \"text\"", ""},
        {"{templates:{t:{subject:1}}}", "1:24 subject must be a string, not a number", ""},
        {"{templates:{t:{subject:'s',body:'x'}}}", "1:28 unknown key \"body\" in template \"t\"",
         "subject, html, text, locales."},
        {"{templates:{'resend:x':{}}}", "1:13 template \"resend:x\" cannot be declared here",
         "hosted at Resend"},
        {"{templates:{'a b':{}}}", "1:13 invalid template name \"a b\"", "1 to 63"},
    });
}

TEST(ConfigDocument, ReadsSettings)
{
    for (const char *link :
         {"https://a.example/x?y=1#z", "http://localhost", "http://localhost:3000/up",
          "http://127.0.0.1/x", "http://[::1]:80/", "https://[2001:db8::1]/"})
        EXPECT_EQ(parse("{settings:{upgradeUrl:'" + std::string(link) + "'}}").problem, "") << link;
    for (const char *link :
         {"http://a.example", "https://", "https:///x", "ftp://a.example", "a.example",
          "javascript:alert(1)", "http://localhost.evil.example", "http://localhost@evil.example",
          "http://localhost:1@evil.example", "https://acme.example@evil.example",
          "http://127.0.0.1.evil.example", "http://[::1].evil.example", "https://a b"})
        EXPECT_EQ(parse("{settings:{upgradeUrl:'" + std::string(link) + "'}}").problem,
                  "1:23 upgradeUrl must be an https:// address")
            << link;
    expect_refused({
        {"{settings:{billingUrl:'http://a.example'}}",
         "1:23 billingUrl must be an https:// address", "localhost only"},
        {"{settings:{unsubscribeUrl:'https://a.example/#x'}}",
         "1:27 unsubscribeUrl must not contain any of # < > \"", "query"},
        {"{settings:{marketingConsent:'yes'}}",
         "1:29 marketingConsent must be \"opt-in\" or \"opt-out\", not \"yes\"", ""},
        {"{settings:{promptCap:3}}", "1:22 promptCap must be a string, not a number", ""},
        {"{settings:{emailfrom:'x'}}", "1:12 unknown key \"emailfrom\" in settings",
         "Did you mean \"emailFrom\"?"},
        {"{settings:{zzz:'x'}}", "1:12 unknown key \"zzz\" in settings", "emailFrom, replyTo,"},
        {"{settings:{timeZone:''}}", "1:21 timeZone must not be empty", ""},
        {"{settings:{timeZone:null}}", "1:21 timeZone must be a string, not null", ""},
        {"{settings:{emailFrom:'Acme'}}",
         "1:22 emailFrom must be an e-mail address or \"Name <address>\"", "double quotes"},
        {"{settings:{replyTo:'Acme, Inc. <a@example.com>'}}",
         "1:20 replyTo must be an e-mail address or \"Name <address>\"", "double quotes"},
        {"{settings:{emailFrom:'a\\nBcc: b'}}",
         "1:22 emailFrom must not contain control characters", ""},
        {"{settings:{productName:'a\xC2\x85z'}}",
         "1:24 productName must not contain control characters", ""},
        {"{settings:{customerMetadataKey:'a[b]'}}",
         "1:32 customerMetadataKey must have at most 40 characters and no square brackets",
         "Stripe"},
    });
}

TEST(ConfigDocument, ReadsTemplatesByLocale)
{
    Parsed parsed = parse("{templates:{t:{subject:'s',text:'x',locales:{de:{subject:'d',text:'y'},"
                          "'zh-Hant-TW':{subject:'z',html:'h'}}}}}");
    EXPECT_EQ(parsed.problem, "");
    EXPECT_EQ(parsed.document["templates"], read_value(R"(
        [{"template": "t", "locale": "", "subject": "s", "html": null, "text": "x"},
         {"template": "t", "locale": "de", "subject": "d", "html": null, "text": "y"},
         {"template": "t", "locale": "zh-Hant-TW", "subject": "z", "html": "h", "text": null}])"));
    for (const char *locale : {"d", "de_AT", "de-", "-de", "", "1a", "deutschland", "de-austria12",
                               "de--at", "aa-a2345678-b2345678-c2345678-d2345678"})
        EXPECT_EQ(parse("{templates:{t:{subject:'s',text:'x',locales:{'" + std::string(locale) +
                        "':{subject:'d',text:'y'}}}}}")
                      .problem,
                  "1:46 invalid locale \"" + std::string(locale) + "\"");
    expect_refused({
        {"{templates:{t:{subject:'s',text:'x',locales:{de:{text:'y'}}}}}",
         "1:49 locale \"de\" of template \"t\" needs \"subject\"", ""},
        {"{templates:{t:{subject:'s',text:'x',locales:{de:{subject:'y'}}}}}",
         "1:49 locale \"de\" of template \"t\" needs \"html\" or \"text\"", ""},
        {"{templates:{t:{subject:'s',text:'x',locales:{de:{subject:'y',locales:{}}}}}}",
         "1:62 unknown key \"locales\" in locale \"de\" of template \"t\"", ""},
        {"{templates:{t:{subject:'s',text:'x',locales:['de']}}}",
         "1:45 locales of template \"t\" must be an object, not an array", ""},
    });
}

TEST(ConfigDocument, ReadsTheCapOfPrompts)
{
    for (const char *cap : {"1 per 1d", "3 per 7d", "9999 per 3660d"})
        EXPECT_EQ(parse("{settings:{promptCap:'" + std::string(cap) + "'}}").problem, "") << cap;
    for (const char *cap :
         {"3", "0 per 7d", "03 per 7d", "3 per week", "3 per 7", "3  per 7d", " 3 per 7d",
          "3 per 7d ", "-3 per 7d", "10000 per 7d", "3 per 0d", " per 7d"})
        EXPECT_EQ(parse("{settings:{promptCap:'" + std::string(cap) + "'}}").problem,
                  "1:22 promptCap must be a number of prompts and of days, not \"" +
                      std::string(cap) + "\"");
}

TEST(ConfigDocument, RefusesRootsThatAreNoDocument)
{
    expect_refused({
        {"{}", "1:1 the document is empty", ""},
        {"[]", "1:1 the document is empty", ""},
        {"\n 5", "2:2 the document must be an object, not a number", ""},
        {"null", "1:1 the document must be an object, not null", ""},
        {"undefined", "1:1 the document must be an object, not undefined", ""},
        {"{feature:{}}", "1:2 unknown key \"feature\" in the document",
         "Did you mean \"features\"?"},
        {"{\" loops\tis\xC2\x85\":1}", "1:2 unknown key \" loops is \" in the document", ""},
        {"{x:{}}", "1:2 unknown key \"x\" in the document",
         "plans, features, templates, settings, loops."},
        {"{loops:{}}", "1:8 loops must be an array", ""},
        {"[undefined]", "1:2 loop must be an object, not undefined", ""},
    });
}
