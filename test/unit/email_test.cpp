// email_test.cpp: what a template and a stranger's values become.
#include "core/email.hpp"
#include "json_values.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <string>

using namespace skene;
using nlohmann::json;
using skene::test::read_value;
using skene::test::write_value;

namespace
{

/* A request that is fine, to be spoilt one field at a time. */
EmailRequest
plain_request()
{
    EmailRequest request;
    request.from = "Acme <billing@acme.example>";
    request.to = "zoe@example.com";
    request.subject = "Hello";
    request.text = "Hello there";
    return request;
}

/* The body, or the problem in angle brackets. */
std::string
render(const EmailRequest &request)
{
    EmailResult result;
    render_email(request, &result);
    std::string outcome =
        result.ok ? std::string(view(result.body)) : "<" + std::string(result.problem) + ">";
    EXPECT_EQ(result.ok, result.problem[0] == '\0');
    EXPECT_EQ(result.ok, result.body.data != nullptr);
    free_bytes(&result.body);
    return outcome;
}

/* One part of the body, or the problem in angle brackets; "-" when the part is absent. */
std::string
part(const EmailRequest &request, const char *name)
{
    std::string outcome = render(request);
    return outcome[0] == '<' ? outcome : read_value(outcome).value(name, "-");
}

std::string
subject(const std::string &source, const json &variables = json::object())
{
    std::string text = write_value(variables);
    EmailRequest request = plain_request();
    request.subject = source;
    request.variables = text;
    return part(request, "subject");
}

std::string
html(const std::string &source, const json &variables = json::object())
{
    std::string text = write_value(variables);
    EmailRequest request = plain_request();
    request.html = source;
    request.variables = text;
    return part(request, "html");
}

std::string
text(const std::string &source, const json &variables = json::object())
{
    std::string dumped = write_value(variables);
    EmailRequest request = plain_request();
    request.text = source;
    request.html = "x"; /* so that text may come out empty */
    request.variables = dumped;
    return part(request, "text");
}

std::string
repeated(const std::string &piece, int times)
{
    std::string result;
    for (int i = 0; i < times; i++)
        result += piece;
    return result;
}

} // namespace

TEST(Email, WritesTheBodyOfARequest)
{
    EmailRequest request = plain_request();
    EXPECT_EQ(render(request), "{\"from\":\"Acme <billing@acme.example>\",\"subject\":\"Hello\","
                               "\"text\":\"Hello there\",\"to\":[\"zoe@example.com\"]}");
    request.html = "<p>Hi {{name}}, {{used}} of {{limit}}</p>";
    request.text = "Hi {{name}}, {{used}} of {{limit}}\n";
    request.subject = "{{name}}: limit reached";
    request.reply_to = "help@acme.example";
    request.variables = "{\"name\":\"Zo\xc3\xab & Co\",\"used\":5,\"limit\":5}";
    EXPECT_EQ(render(request),
              "{\"from\":\"Acme <billing@acme.example>\","
              "\"html\":\"<p>Hi Zo\xc3\xab &amp; Co, 5 of 5</p>\","
              "\"reply_to\":\"help@acme.example\",\"subject\":\"Zo\xc3\xab & Co: limit reached\","
              "\"text\":\"Hi Zo\xc3\xab & Co, 5 of 5\\n\",\"to\":[\"zoe@example.com\"]}");
}

TEST(Email, GivesEqualBytesForEqualInput)
{
    EmailRequest request = plain_request();
    request.text = "{{a}}{{b}}{{c}}";
    request.variables = "{\"c\":1.25,\"a\":\"x\",\"b\":null}";
    std::string first = render(request);
    request.variables = " {\"b\" : null, \"a\":\"x\", \"c\":1.25} ";
    EXPECT_EQ(render(request), first);
}

TEST(Email, FillsInATemplateHostedElsewhere)
{
    EmailRequest request = plain_request();
    request.hosted_template = "upgrade_prompt";
    request.subject = "{{ignored";
    request.html = "{{ignored";
    request.text = "";
    request.variables = "{\"name\":\"Zoe\\u0000<b>\",\"used\":5,\"rate\":0.5,\"beta\":true,"
                        "\"old\":false,\"none\":null,\"x_url\":\"javascript:x\"}";
    json expected = {
        {"from", "Acme <billing@acme.example>"},
        {"to", {"zoe@example.com"}},
        {"template",
         {{"id", "upgrade_prompt"},
          {"variables",
           {{"name", "Zoe<b>"},
            {"used", 5},
            {"rate", 0.5},
            {"beta", "true"},
            {"old", "false"},
            {"none", ""},
            {"x_url", "javascript:x"}}}}},
    };
    EXPECT_EQ(read_value(render(request)), expected);
    request.variables = "";
    request.reply_to = "a@b.example";
    expected["template"]["variables"] = json::object();
    expected["reply_to"] = "a@b.example";
    EXPECT_EQ(read_value(render(request)), expected);
    request.hosted_template = "a\nb";
    EXPECT_EQ(render(request), "<hosted template: the name contains control characters>");
    request.hosted_template = "x";
    request.variables = "{\"a\":[1]}";
    EXPECT_EQ(render(request), "<variable \"a\" is neither text, a number, true, false nor null>");
}

TEST(Template, ReplacesNames)
{
    json variables = {{"name", "Zoe"}, {"a.b-c", "x"}, {"none", nullptr},
                      {"yes", true},   {"no", false},  {"caf\xc3\xa9", "y"}};
    EXPECT_EQ(text("Hi {{name}}!", variables), "Hi Zoe!");
    EXPECT_EQ(text("{{ name }}{{name }}{{\tname}}", variables), "ZoeZoeZoe");
    EXPECT_EQ(text("{{a.b-c}} {{caf\xc3\xa9}} [{{none}}] {{yes}} {{no}}", variables),
              "x y [] true false");
    EXPECT_EQ(text("a { b } c }} d {e} {{name}}}} {", variables), "a { b } c }} d {e} Zoe}} {");
    EXPECT_EQ(html("<style>@media x{a{b:c}}</style>"), "<style>@media x{a{b:c}}</style>");
}

TEST(Template, WritesNumbersPlainly)
{
    json variables = read_value("{\"a\":5,\"b\":-7,\"c\":9223372036854775807,\"d\":100000.0,"
                                "\"e\":1e6,\"f\":12.5,\"g\":18446744073709551615,\"h\":0,"
                                "\"i\":-0.0,\"j\":1e300}");
    EXPECT_EQ(text("{{a}} {{b}} {{c}} {{d}} {{e}} {{f}} {{g}} {{h}} {{i}} {{j}}", variables),
              "5 -7 9223372036854775807 100000 1000000 12.5 18446744073709551615 0 0 1e+300");
    EXPECT_EQ(text("{{#h}}zero is a value{{/h}}", variables), "zero is a value");
}

TEST(Template, NeverReadsAValueAsTemplateText)
{
    json variables = {{"a", "{{b}} {{#b}} {{{ }}"}, {"b", "secret"}};
    EXPECT_EQ(text("{{a}}", variables), "{{b}} {{#b}} {{{ }}");
    EXPECT_EQ(html("{{a}}", variables), "{{b}} {{#b}} {{{ }}");
    EXPECT_EQ(subject("{{a}}", variables), "{{b}} {{#b}} {{{ }}");
    /* nor together with the text beside it */
    EXPECT_EQ(text("{{{a}}b}}", variables),
              "<text: \"{{{\" is not supported: every value is escaped>");
    EXPECT_EQ(text("{ {{x}}b}}", {{"x", "{"}, {"b", "secret"}}), "{ {b}}");
}

TEST(Template, EscapesValuesInHtml)
{
    json variables = {{"name", "<script>alert(\"x\" + 'y') && z</script>"}};
    EXPECT_EQ(html("<p title='{{name}}'>{{name}}</p>", variables),

              "<p title='&lt;script&gt;alert(&quot;x&quot; + &#39;y&#39;) &amp;&amp; "
              "z&lt;/script&gt;'>&lt;script&gt;alert(&quot;x&quot; + &#39;y&#39;) "
              "&amp;&amp; z&lt;/script&gt;</p>");
    EXPECT_EQ(text("{{name}}", variables), "<script>alert(\"x\" + 'y') && z</script>");
    EXPECT_EQ(html("{{x}}", {{"x", std::string("a\0b\x1b[31m\r\n\tc\xc2\x85", 14)}}),
              "ab[31m\n\tc");
}

TEST(Template, LetsOnlyWebLinksIntoHtml)
{
    struct {
        const char *value, *rendered;
    } cases[] = {
        {"https://app.example/up?a=1&b=2", "https://app.example/up?a=1&amp;b=2"},
        {"http://localhost:3000/", "http://localhost:3000/"},
        {"HTTPS://APP.EXAMPLE/", "HTTPS://APP.EXAMPLE/"},
        {"https://a/\"onclick=\"x", "https://a/&quot;onclick=&quot;x"},
        {"https://a/ onclick=x", ""},
        {"https://a/\tonclick=x", ""},
        {"javascript:alert(1)", ""},
        {" javascript:alert(1)", ""},
        {"java\x01script:alert(1)", ""},
        {"data:text/html,x", ""},
        {"//evil.example", ""},
        {"/relative", ""},
        {"https:/x", ""},
        {"https://", ""},
        {"xhttps://a", ""},
        {"", ""},
    };
    for (auto &c : cases) {
        json variables = {{"upgrade_url", c.value}, {"other", c.value}};
        EXPECT_EQ(html("[{{upgrade_url}}]", variables), "[" + std::string(c.rendered) + "]")
            << c.value;
        EXPECT_EQ(html("[{{#upgrade_url}}link{{/upgrade_url}}]", variables),
                  *c.rendered ? "[link]" : "[]")
            << c.value;
    }
    json script = {{"x_url", "javascript:x"}, {"note", "javascript:x"}};
    EXPECT_EQ(text("{{x_url}}", script), "javascript:x") << "text has no links to click";
    EXPECT_EQ(html("{{note}}", script), "javascript:x");
}

TEST(Template, KeepsASubjectOnOneLine)
{
    EXPECT_EQ(subject("Hi {{name}}", {{"name", "Zoe\r\nBcc: all@example.com"}}),
              "Hi Zoe Bcc: all@example.com");
    EXPECT_EQ(subject("Hi {{name}}!", {{"name", "  Zoe \t  Z  "}}), "Hi Zoe Z!");
    for (const char *line_break :
         {"\n", "\r", "\v", "\f", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9", " \r\n "})
        EXPECT_EQ(subject("a{{x}}b", {{"x", "1" + std::string(line_break) + "2"}}), "a1 2b");
    EXPECT_EQ(subject("a{{x}}b", {{"x", std::string("1\0\x01\x7f\xc2\x80\xc2\x9f"
                                                    "2",
                                                    9)}}),
              "a12b");
    EXPECT_EQ(subject(" line one\n line two \t"), "line one line two") << "the template's own";
    EXPECT_EQ(subject("{{#x}}there{{/x}}none", {{"x", " \r\n"}}), "none");
}

TEST(Template, CutsASubjectBetweenCharacters)
{
    EXPECT_EQ(subject("{{x}}", {{"x", std::string(998, 'x')}}).size(), 998u);
    EXPECT_EQ(subject("{{x}}", {{"x", std::string(999, 'x')}}).size(), 998u);
    std::string snowmen = repeated("\xe2\x98\x83", 400);
    EXPECT_EQ(subject("{{x}}", {{"x", snowmen}}), snowmen.substr(0, 996));
    EXPECT_EQ(subject("a{{x}}", {{"x", snowmen}}).size(), 997u);
}

TEST(Template, KeepsSectionsWhoseVariableSaysSomething)
{
    json variables = {{"name", "Zoe"}, {"empty", ""}, {"none", nullptr}, {"yes", true},
                      {"no", false},   {"zero", 0},   {"blank", "\x01"}};
    EXPECT_EQ(text("Hi{{#name}} {{name}}{{/name}},", variables), "Hi Zoe,");
    EXPECT_EQ(text("Hi{{#empty}} {{empty}}{{/empty}},", variables), "Hi,");
    EXPECT_EQ(text("{{#none}}1{{/none}}{{#yes}}2{{/yes}}{{#no}}3{{/no}}{{#zero}}4{{/zero}}"
                   "{{#blank}}5{{/blank}}",
                   variables),
              "24");
    EXPECT_EQ(text("{{# name }}x{{/ name }}{{ #name}}y{{ /name}}", variables), "xy");
    EXPECT_EQ(
        text("{{#name}}a{{#yes}}b{{#no}}c{{#yes}}d{{/yes}}{{/no}}e{{/yes}}f{{/name}}g", variables),
        "abefg");
    EXPECT_EQ(text("{{#no}}{{#name}}x{{/name}}{{/no}}", variables), "-");
    EXPECT_EQ(text("{{#yes}}a{{#yes}}b{{/yes}}c{{/yes}}", variables), "abc");
}

TEST(Template, NestsSectionsEightDeep)
{
    json variables = {{"a", 1}};
    EXPECT_EQ(text(repeated("{{#a}}", 8) + "x" + repeated("{{/a}}", 8), variables), "x");
    EXPECT_EQ(text(repeated("{{#a}}", 9) + "x" + repeated("{{/a}}", 9), variables),
              "<text: sections are nested more than 8 deep at \"{{#a}}\">");
    EXPECT_EQ(text(repeated("{{#a}}x{{/a}}", 9), variables), "xxxxxxxxx");
}

TEST(Template, SaysWhatIsWrongWithIt)
{
    json variables = {{"name", "Zoe"}, {"limit", 5}, {"no", false}};
    struct {
        const char *source, *problem;
    } cases[] = {
        {"{{nmae}}", "unknown variable \"nmae\"; known: limit, name, no"},
        {"{{Name}}", "unknown variable \"Name\"; known: limit, name, no"},
        {"{{#nmae}}{{/nmae}}", "unknown variable \"nmae\"; known: limit, name, no"},
        {"{{#no}}{{nmae}}{{/no}}", "unknown variable \"nmae\"; known: limit, name, no"},
        {"{{na me}}", "unknown variable \"na me\"; known: limit, name, no"},
        {"{{!comment}}", "unknown variable \"!comment\"; known: limit, name, no"},
        {"{{", "\"{{\" is not closed with \"}}\""},
        {"a {{name", "\"{{name\" is not closed with \"}}\""},
        {"a {{name}", "\"{{name\" is not closed with \"}}\""},
        {"a {{name} }", "\"{{name\" is not closed with \"}}\""},
        {"{{name {{limit}}", "\"{{name\" is not closed with \"}}\""},
        {"{{name\n}}", "\"{{name\" is not closed with \"}}\""},
        {"{{}}", "\"{{}}\" names no variable"},
        {"{{ }}", "\"{{ }}\" names no variable"},
        {"{{#}}", "\"{{#}}\" names no variable"},
        {"{{/ }}", "\"{{/ }}\" names no variable"},
        {"{{{name}}}", "\"{{{\" is not supported: every value is escaped"},
        {"{{#name}}x", "section \"{{#name}}\" is not closed"},
        {"{{#no}}x", "section \"{{#no}}\" is not closed"},
        {"x{{/name}}", "\"{{/name}}\" does not close any section"},
        {"{{#name}}{{#limit}}{{/name}}{{/limit}}", "\"{{/name}}\" does not close \"{{#limit}}\""},
    };
    for (auto &c : cases) {
        EXPECT_EQ(text(c.source, variables), "<text: " + std::string(c.problem) + ">") << c.source;
        EXPECT_EQ(html(c.source, variables), "<html: " + std::string(c.problem) + ">") << c.source;
        EXPECT_EQ(subject(c.source, variables), "<subject: " + std::string(c.problem) + ">")
            << c.source;
    }
    EXPECT_EQ(text("{{x}}"), "<text: unknown variable \"x\"; known: none>");
}

TEST(Template, KeepsProblemsShortAndReadable)
{
    json variables;
    for (int i = 0; i < 1000; i++)
        variables["variable_" + std::to_string(i)] = i;
    std::string snowmen = repeated("\xe2\x98\x83", 1000);
    std::string problem = text("{{" + snowmen + "}}", variables);
    EXPECT_LE(problem.size(), 513u);
    EXPECT_NE(problem.find(snowmen.substr(0, 63) + "\xe2\x80\xa6\""), problem.npos) << problem;
    EXPECT_EQ(text("{{a\x1b\rb}}", {{"c\nd", 1}}), "<text: unknown variable \"a b\"; known: c d>");
    EXPECT_EQ(write_value(problem).empty(), false) << "cut between characters";
}

TEST(Email, RefusesVariablesThatAreNoScalars)
{
    struct {
        std::string variables;
        const char *problem;
    } cases[] = {
        {"[]", "variables: not a JSON object"},
        {"5", "variables: not a JSON object"},
        {"{", "variables: not JSON in UTF-8"},
        {"{\"a\":\"\xff\"}", "variables: not JSON in UTF-8"},
        {std::string(1 << 20, '['), "variables: nested too deeply"},
        {"{\"a\":[]}", "subject: variable \"a\" is neither text, a number, true, false nor null"},
        {"{\"a\":{\"b\":1}}",
         "subject: variable \"a\" is neither text, a number, true, false nor null"},
    };
    for (auto &c : cases) {
        EmailRequest request = plain_request();
        request.variables = c.variables;
        EXPECT_EQ(render(request), "<" + std::string(c.problem) + ">");
    }
}

TEST(Email, RefusesAMessageThatSaysNothing)
{
    EmailRequest request = plain_request();
    request.text = "";
    EXPECT_EQ(render(request), "<the message has neither html nor text>");
    request.html = "{{x}}";
    request.variables = "{\"x\":\"\"}";
    EXPECT_EQ(render(request), "<the message has neither html nor text>");
    request = plain_request();
    request.subject = " \n ";
    EXPECT_EQ(render(request), "<subject: empty>");
}

TEST(Email, RefusesInvalidUtf8Everywhere)
{
    for (const char *broken :
         {"\xff", "a\x80", "\xc3", "\xe2\x98", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80"}) {
        struct {
            std::string_view EmailRequest::*field;
            const char *name;
        } fields[] = {{&EmailRequest::from, "from"},
                      {&EmailRequest::reply_to, "reply_to"},
                      {&EmailRequest::subject, "subject"},
                      {&EmailRequest::html, "html"},
                      {&EmailRequest::text, "text"}};
        for (auto &f : fields) {
            EmailRequest request = plain_request();
            request.*f.field = broken;
            EXPECT_EQ(render(request), "<" + std::string(f.name) + ": not valid UTF-8>");
        }
        EmailRequest request = plain_request();
        request.to = broken;
        EXPECT_EQ(render(request), "<to: not a bare address>");
        request = plain_request();
        request.hosted_template = broken;
        EXPECT_EQ(render(request), "<hosted template: not valid UTF-8>");
    }
}

TEST(Email, CapsTheRenderedText)
{
    std::string longest(256 * 1024, 'x');
    EXPECT_EQ(text(longest), longest);
    EXPECT_EQ(text(longest + "x"), "<text: the rendered text is longer than 256 KiB>");
    EXPECT_EQ(html("{{x}}", {{"x", std::string(60000, '"')}}),
              "<html: the rendered text is longer than 256 KiB>");
    EXPECT_EQ(text("{{#no}}" + longest + longest + "{{/no}}short", {{"no", false}}), "short");
}

TEST(Email, TakesTimeInProportionToHostileInput)
{
    std::clock_t start = std::clock();
    std::string megabytes = repeated("{", 10 << 20);
    EXPECT_EQ(text(megabytes), "<text: \"{{{\" is not supported: every value is escaped>");
    EXPECT_EQ(text(repeated("}}", 5 << 20)), "<text: the rendered text is longer than 256 KiB>");
    EXPECT_EQ(text("{{" + std::string(10 << 20, 'a')).substr(0, 12), "<text: \"{{aa");
    /* a large value that renders to nothing, many times */
    EXPECT_EQ(text(repeated("{{x}}", 50000) + "end", {{"x", std::string(1 << 20, '\x01')}}), "end");
    /* many sections that are dropped, many variables */
    json variables = {{"no", false}};
    for (int i = 0; i < 20000; i++)
        variables["v" + std::to_string(i)] = "";
    EXPECT_EQ(text(repeated("{{#no}}{{v1}}{{/no}}", 50000) + "end", variables), "end");
    EXPECT_FALSE(valid_address(std::string(10 << 20, '@')));
    EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC);
}

TEST(Email, AcceptsSendersInTheUsualForms)
{
    for (const char *from :
         {"a@b.example", "Acme <a@b.example>", "Acme Inc. <a@b.example>", "<a@b.example>",
          "\"Acme, Inc\" <a@b.example>", "\"a@b\" <a@b.example>", "Zo\xc3\xab & Co <a@b.example>",
          "Acme<a@b.example>", "Acme (billing) <a@b.example>"}) {
        EmailRequest request = plain_request();
        request.from = from;
        EXPECT_EQ(part(request, "from"), from);
        request = plain_request();
        request.reply_to = from;
        EXPECT_EQ(part(request, "reply_to"), from);
    }
}

TEST(Email, RefusesSendersThatCouldMeanSomethingElse)
{
    for (const char *from : {"",
                             "Acme",
                             "Acme a@b.example",
                             "Acme <a@b.example",
                             "Acme <>",
                             "Acme <a>",
                             "Acme <a@b.example> ",
                             "Acme <a@b.example>, x@y.example",
                             "x@y.example <a@b.example>",
                             "A, B <a@b.example>",
                             "A; B <a@b.example>",
                             "A: B <a@b.example>",
                             "A\" <a@b.example>",
                             "\"A\"B\" <a@b.example>",
                             "\"A\\\" <a@b.example>",
                             "A <x@y.example> <a@b.example>",
                             "Acme\r\nBcc: x@y.example <a@b.example>",
                             "A\nB <a@b.example>",
                             "A\x7f <a@b.example>",
                             "A\xc2\x85 <a@b.example>",
                             "A\xe2\x80\xa8 <a@b.example>",
                             "\" <a@b.example>",
                             "Acme < a@b.example >",
                             ">",
                             "<>"}) {
        EmailRequest request = plain_request();
        request.from = from;
        EXPECT_EQ(render(request).substr(0, 13), "<from: neithe") << from;
        if (*from == '\0')
            continue;
        request = plain_request();
        request.reply_to = from;
        EXPECT_EQ(render(request).substr(0, 13), "<reply_to: ne") << from;
    }
}

TEST(Email, SendsOnlyToOneBareAddress)
{
    for (const char *to : {"", "Zoe <zoe@example.com>", "a@b.example,c@d.example", "a@b.example ",
                           "a@b.example\r\nBcc: c@d.example"}) {
        EmailRequest request = plain_request();
        request.to = to;
        EXPECT_EQ(render(request), "<to: not a bare address>") << to;
    }
}

TEST(Address, AcceptsBareMailboxes)
{
    for (const char *address :
         {"a@b", "zoe@example.com", "first.last@example.com", "a+tag@example.com",
          "!#$%&'*+-/=?^_`{|}~@example.com", "1@2.3", "root@localhost", "a@xn--zo-jma.example",
          "a@b-c.d--e.example", "A@B.EXAMPLE", "-@a"})
        EXPECT_TRUE(valid_address(address)) << address;
}

TEST(Address, RefusesEverythingElse)
{
    for (const char *address : {"",
                                "@",
                                "a",
                                "a@",
                                "@b",
                                "a@b@c",
                                "a@@b",
                                ".a@b",
                                "a.@b",
                                "a..b@c",
                                "a@.b",
                                "a@b.",
                                "a@b..c",
                                "a@-b",
                                "a@b-",
                                "a@b-.c",
                                "a@b.-c",
                                "a@b_c",
                                "a b@c",
                                "a@b c",
                                " a@b",
                                "a@b ",
                                "<a@b>",
                                "a@b,c@d",
                                "a@b;c@d",
                                "a,b@c",
                                "a:b@c",
                                "a<b@c",
                                "a>b@c",
                                "a(b)@c",
                                "a[b@c",
                                "a\\b@c",
                                "\"a\"@b",
                                "\"a b\"@c",
                                "a@[127.0.0.1]",
                                "a@b\n",
                                "a\r\n@b",
                                "a\t@b",
                                "a@b\x7f",
                                "zo\xc3\xab@example.com",
                                "a@zo\xc3\xab.example",
                                "a@\xff",
                                "mailto:a@b"})
        EXPECT_FALSE(valid_address(address)) << address;
    EXPECT_FALSE(valid_address(std::string_view("a@b\0c", 5)));
    EXPECT_FALSE(valid_address(std::string_view("a\0b@c", 5)));
    EXPECT_FALSE(valid_address(std::string_view()));
}

TEST(Address, KeepsTheSizesOfTheStandard)
{
    std::string local(64, 'a');
    std::string label(63, 'b');
    EXPECT_TRUE(valid_address(local + "@b"));
    EXPECT_FALSE(valid_address(local + "a@b"));
    EXPECT_TRUE(valid_address("a@" + label));
    EXPECT_FALSE(valid_address("a@" + label + "b"));
    std::string longest = local + "@" + label + "." + label + "." + std::string(61, 'c');
    ASSERT_EQ(longest.size(), 254u);
    EXPECT_TRUE(valid_address(longest));
    EXPECT_FALSE(valid_address(longest + "c"));
}

TEST(Email, CanBeUnsubscribedFromWithOneClick)
{
    EmailRequest request = plain_request();
    EXPECT_EQ(part(request, "headers"), "-");
    request.unsubscribe_url = "https://acme.example/stop?a=1&token=0123";
    EXPECT_EQ(read_value(render(request))["headers"],
              read_value(R"({"List-Unsubscribe": "<https://acme.example/stop?a=1&token=0123>",
                              "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"})"));
    request.hosted_template = "welcome";
    EXPECT_EQ(read_value(render(request))["headers"].size(), 2U);
    for (const char *url :
         {"javascript:alert(1)", "acme.example", "https://a b", "https://a>",
          "https://a\r\nBcc: b@example.com", "https://a\"b", "https://\xc3\xa9"}) {
        request.unsubscribe_url = url;
        EXPECT_EQ(render(request), "<unsubscribe_url: not a URL that a header can hold>") << url;
    }
}

TEST(Email, EndsWithThePostalAddress)
{
    EmailRequest request = plain_request();
    request.html = "<html><body>Hello {{name}}</body>\n</html>";
    request.variables = R"({"name": "</body>"})";
    request.postal_address = "Acme <&> Sons, {{name}}";
    EXPECT_EQ(part(request, "html"),
              "<html><body>Hello &lt;/body&gt;<p style=\"color: #666; font-size: small\">"
              "Acme &lt;&amp;&gt; Sons, {{name}}</p>\n</body>\n</html>");
    EXPECT_EQ(part(request, "text"), "Hello there\nAcme <&> Sons, {{name}}\n");
    request.html = "Hello";
    EXPECT_TRUE(part(request, "html").starts_with("Hello<p "));
    request.text = {};
    EXPECT_EQ(read_value(render(request)).count("text"), 0U);
    request.postal_address = "a\nb";
    EXPECT_NE(part(request, "html").find("</p>"), std::string::npos);
    request.postal_address = "\xff";
    EXPECT_EQ(render(request), "<postal address: not valid UTF-8>");
}
