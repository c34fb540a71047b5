// config_syntax_test.cpp: what is JSON or TypeScript enough, and where it stops being so.
#include "core/config_syntax.hpp"

#include "config_parsing.hpp"

#include <gtest/gtest.h>

using namespace skene;
using skene::test::parse;

namespace
{

// Parse the text, which must be good.
Node
tree(std::string_view text, Warnings *warnings = nullptr)
{
    Warnings ignored;
    try {
        return parse_syntax(text, warnings ? warnings : &ignored);
    } catch (const Problem &problem) {
        ADD_FAILURE() << text << "\n" << describe(problem.where) << ": " << problem.message;
        return {};
    }
}

// The one item of an array written as [item].
Node
item(std::string_view text, Warnings *warnings = nullptr)
{
    Node array = tree("[" + std::string(text) + "]", warnings);
    EXPECT_EQ(array.children.size(), 1u) << text;
    return array.children.empty() ? Node{} : std::move(array.children[0]);
}

// "line:column message" of a text that must be refused.
std::string
problem_of(std::string_view text, std::string *hint = nullptr)
{
    Warnings warnings;
    try {
        parse_syntax(text, &warnings);
    } catch (const Problem &problem) {
        if (hint)
            *hint = problem.hint;
        return std::to_string(problem.where.line) + ":" + std::to_string(problem.where.column) +
               " " + problem.message;
    }
    return "accepted";
}

} // namespace

TEST(ConfigSyntax, ReadsStringsWithTheEscapesOfJavaScript)
{
    struct {
        const char *text, *value;
    } cases[] = {
        {R"("plain")", "plain"},
        {R"('plain')", "plain"},
        {R"(`plain`)", "plain"},
        {R"('')", ""},
        {R"('a\n\t\r\b\f\vb')", "a\n\t\r\b\f\vb"},
        {R"('\\ \' \" \` \/ \$')", "\\ ' \" ` / $"},
        {R"('\x41\u0042\u{43}\u{1F600}')", "ABC😀"},
        {R"("\ud83d\ude00")", "😀"},
        {R"("\u00e9\u20AC")", "é€"},
        {"'one \\\ntwo'", "one two"},
        {"'one \\\r\ntwo'", "one two"},
        {"`one\ntwo\r\nthree`", "one\ntwo\nthree"},
        {R"(`$5 {x} \${y}`)", "$5 {x} ${y}"},
        {"\"it's\"", "it's"},
        {"'say \"x\"'", "say \"x\""},
        {R"('don\'t')", "don't"},
        {"'// no comment /* */'", "// no comment /* */"},
    };
    for (const auto &c : cases) {
        Warnings warnings;
        Node node = item(c.text, &warnings);
        EXPECT_EQ(node.kind, NodeKind::string) << c.text;
        EXPECT_EQ(node.text, c.value) << c.text;
        EXPECT_TRUE(warnings.kept.empty()) << c.text;
    }
}

TEST(ConfigSyntax, TakesAnApostropheBetweenLettersForTextAndWarns)
{
    struct {
        const char *text, *value;
        int line, column;
    } cases[] = {
        {"'You've'", "You've", 1, 6},
        {"'l'été'", "l'été", 1, 4},
        {"'é'a'", "é'a", 1, 4},
        {"'assume'assent'", "assume'assent", 1, 9},
        {"\n  'héé'as1 '", "héé'as1 ", 2, 7}, // columns count characters
    };
    for (const auto &c : cases) {
        Warnings warnings;
        EXPECT_EQ(item(c.text, &warnings).text, c.value);
        ASSERT_EQ(warnings.kept.size(), 1u) << c.text;
        EXPECT_EQ(warnings.kept[0].where.line, c.line) << c.text;
        EXPECT_EQ(warnings.kept[0].where.column, c.column) << c.text;
        EXPECT_NE(warnings.kept[0].hint.find("\\'"), std::string::npos);
    }
}

TEST(ConfigSyntax, EndsASingleQuotedStringAtAnyOtherApostrophe)
{
    for (const char *text :
         {"'x'as const", "'x'as\nconst", "'x'satisfies string", "'x'", "'x'/*y*/", "'x'\xC2\xA0"}) {
        Warnings warnings;
        EXPECT_EQ(item(text, &warnings).text, "x") << text;
        EXPECT_TRUE(warnings.kept.empty()) << text;
    }

    std::string hint;
    EXPECT_EQ(problem_of("['the users' limit']", &hint),
              "1:14 expected \",\" or \"]\" after the value, found \"limit\"");
    EXPECT_NE(hint.find("apostrophe"), std::string::npos);
    EXPECT_EQ(problem_of("{a: 'the users', limit'}", &hint),
              "1:23 expected \":\" after key \"limit\", found \"'\"");
    EXPECT_NE(hint.find("apostrophe"), std::string::npos);
    // a digit, an escape, a sign or an emoji is no letter
    for (const char *text : {"['5'x']", "['\\n'x']", "['x'5']", "['—'x']", "['😀'x']", "['x'…']"})
        EXPECT_EQ(problem_of(text).substr(0, 2), "1:") << text;
}

TEST(ConfigSyntax, PointsAtTheOpeningQuoteOfAnUnterminatedString)
{
    std::string hint;
    EXPECT_EQ(problem_of("{\n  a: 'oops\n}", &hint), "2:6 unterminated string");
    EXPECT_EQ(hint, "Close the string with ' on the same line. Write \\' for an apostrophe in it, "
                    "or use double quotes.");
    EXPECT_EQ(problem_of("{a: 'It's", &hint), "1:5 unterminated string");
    EXPECT_NE(hint.find("The apostrophe at line 1, column 8"), std::string::npos) << hint;
    EXPECT_EQ(problem_of("{a: \"oops", &hint), "1:5 unterminated string");
    EXPECT_EQ(hint, "Close the string with \" on the same line.");
    EXPECT_EQ(problem_of("{a: `oops\n\n", &hint), "1:5 unterminated string");
    EXPECT_EQ(problem_of("['x\\", &hint), "1:2 unterminated string");
}

TEST(ConfigSyntax, ReadsNumbersOfEveryForm)
{
    struct {
        const char *text, *value;
    } cases[] = {
        {"0", "0"},
        {"-0", "-0"},
        {"+7", "7"},
        {"1_000_000", "1000000"},
        {"1.50", "1.50"},
        {".5", ".5"},
        {"5.", "5."},
        {"1e3", "1e3"},
        {"1E+3", "1e+3"},
        {"2.5e-1_0", "2.5e-10"},
        {"Infinity", "Infinity"},
        {"-Infinity", "-Infinity"},
        {"+Infinity", "Infinity"},
        {"NaN", "NaN"},
        {"- 3", "-3"},
    };
    for (const auto &c : cases) {
        Node node = item(c.text);
        EXPECT_EQ(node.kind, NodeKind::number) << c.text;
        EXPECT_EQ(node.text, c.value) << c.text;
    }
    for (const char *text : {"01", "1__0", "1_", "1._5", "0x10", "10n", "1.2.3", "1e", "1e+", ".",
                             "-", "+-1", "1a", "--1"})
        EXPECT_EQ(problem_of("[" + std::string(text) + "]").substr(0, 4), "1:2 ") << text;
}

TEST(ConfigSyntax, ReadsLiteralsCommentsAndTrailingCommas)
{
    EXPECT_EQ(item("true").truth, true);
    EXPECT_EQ(item("false").truth, false);
    EXPECT_EQ(item("false").kind, NodeKind::boolean);
    EXPECT_EQ(item("null").kind, NodeKind::null);

    Node node = tree("{ a: 1, // one\n \"b\": [1, 2,], /* three\n */ 'c': {}, $d_1: null, é: 1,}");
    ASSERT_EQ(node.children.size(), 5u);
    EXPECT_EQ(node.children[0].key, "a");
    EXPECT_EQ(node.children[1].children.size(), 2u);
    EXPECT_EQ(node.children[2].key, "c");
    EXPECT_EQ(node.children[2].key_where.line, 3);
    EXPECT_EQ(node.children[2].key_where.column, 5);
    EXPECT_EQ(node.children[3].key, "$d_1");
    EXPECT_EQ(node.children[4].key, "é");
}

TEST(ConfigSyntax, KeepsTheOrderInWhichKeysAreWritten)
{
    Node node = tree("{zebra: 1, apple: 2, mango: 3}");
    ASSERT_EQ(node.children.size(), 3u);
    EXPECT_EQ(node.children[0].key, "zebra");
    EXPECT_EQ(node.children[2].key, "mango");
}

TEST(ConfigSyntax, DropsKeysWhoseValueIsUndefined)
{
    Node node = tree("{a: undefined, b: 1}");
    EXPECT_EQ(node.children.size(), 1u);
    EXPECT_EQ(node.find("a"), nullptr);
}

TEST(ConfigSyntax, AcceptsEveryFormOfAFile)
{
    for (const char *text : {
             "{a: 1}",
             "\xEF\xBB\xBF{a: 1}",
             "{a: 1};",
             "defineConfig({a: 1})",
             "defineConfig({a: 1},);",
             "export default {a: 1}",
             "export default {a: 1} as const;",
             "export default {a: 1} satisfies Config;",
             "export default {a: 1} as unknown as Config<'x', {y: 1}>[] | null",
             "export default skene.sdk.defineLoop({a: 1})",
             "export default defineLoop<Config>({a: 1} satisfies Config)",
             "module.exports = {a: 1};",
             "module.exports = defineLoop({a: 1})",
             "import { defineLoop } from '@skene/sdk';\nexport default defineLoop({a: 1});",
             "import { defineLoop } from '@skene/sdk'\nexport default defineLoop({a: 1})\n",
             "import x from \"y\"; export default x({a: 1})",
             "import * as x from 'y'; export default x.z({a: 1})",
             "import x, { y as z, type T } from 'y'; export default {a: 1}",
             "import type { T } from 'y'; export default {a: 1}",
             "import 'y'; import 'z' with { type: 'json' }; export default {a: 1}",
             "const c = {a: 1}; export default c;",
             "const c = {a: 1} as const\nexport default c",
             "const c: Config = {a: 1}; export default c satisfies Config;",
             "const c: { kind: 'x' } & types.Loop = {a: 1}; export default c;",
             "const c: 'x' | (() => void) = {a: 1}; export default c;",
             "const c: Array<Record<string, 'x'>>[] = {a: 1}; export default c;",
             "export const c = defineLoop({a: 1})\nexport default c",
             "let b = {b: 1}; var c = {a: 1}; export default c",
             "const { defineLoop } = require('@skene/sdk');\nmodule.exports = defineLoop({a: 1});",
             "const sdk = require('@skene/sdk'); const c = {a: 1}; module.exports = c",
             "/* a */ // b\n{ /* c */ a /* d */ : /* e */ 1 /* f */ } // g",
             "{a: 1} // no line end",
             "\r\n\t\v\f\xC2\xA0{a:1}",
         }) {
        Node node = tree(text);
        ASSERT_EQ(node.kind, NodeKind::object) << text;
        ASSERT_EQ(node.children.size(), 1u) << text;
        EXPECT_EQ(node.children[0].key, "a") << text;
    }
}

TEST(ConfigSyntax, RefusesEverythingElseWithItsPlace)
{
    struct {
        const char *text, *problem;
    } cases[] = {
        {"", "0:0 the document is empty"},
        {" \n // nothing\n", "0:0 the document is empty"},
        {"{a: 1", "1:1 this { is not closed"},
        {"{a: [1,\n 2", "1:5 this [ is not closed"},
        {"{a: 1]", "1:6 expected \",\" or \"}\" after the value, found \"]\""},
        {"{a: 1 b: 2}", "1:7 expected \",\" or \"}\" after the value, found \"b\""},
        {"{a 1}", "1:4 expected \":\" after key \"a\", found \"1\""},
        {"{a}", "1:2 key \"a\" has no value"},
        {"{a: }", "1:5 expected a value, found \"}\""},
        {"{a:", "1:4 expected a value, found the end of the document"},
        {"{,}", "1:2 expected a key or \"}\", found \",\""},
        {"[,]", "1:2 expected a value, found \",\""},
        {"{1: 2}", "1:2 a key cannot begin with a digit or sign"},
        {"{[a]: 2}", "1:2 expected a key or \"}\", found \"[\""},
        {"{...a}", "1:2 spread syntax is not supported"},
        {"[...a]", "1:2 spread syntax is not supported"},
        {"{a: 1,\n b: 2,\n a: 3}", "3:2 key \"a\" is given twice"},
        {"{a: 1, 'a': undefined}", "1:8 key \"a\" is given twice"},
        {"{a: 1} {", "1:8 expected the end of the document, found \"{\""},
        {"{a: 1} /* x", "1:8 unterminated comment"},
        {"{a: b}", "1:5 \"b\" is not a value"},
        {"{a: process.env.X}", "1:5 \"process\" is not a value"},
        {"{a: `${x}`}", "1:6 template literals with ${...} are not supported"},
        {"{a: f(1)}", "1:7 expected an object or array as the argument of \"f\", found \"1\""},
        {"{a: f()}", "1:7 expected an object or array as the argument of \"f\", found \")\""},
        {"f({}, 1)", "1:7 expected \")\" after the argument of \"f\", found \"1\""},
        {"f(() => ({}))", "1:3 expected an object or array as the argument of \"f\", found \"(\""},
        {"export {a}", "1:8 expected \"default\" or \"const\" after export, found \"{\""},
        {"const a = {}", "1:13 the file has no default export"},
        {"const a = {}; const a = {}; export default a", "1:21 constant \"a\" is declared twice"},
        {"const {a} = {}", "1:7 only require() can be taken apart into names"},
        {"const 1 = 2", "1:7 expected a name after const, found \"1\""},
        {"module.export = {}", "1:8 expected \"exports\" after \"module.\", found \"export\""},
        {"import {a} fro", "1:15 expected a module's name in quotes after import, found the end of "
                           "the document"},
        {"import 'a' with 1", "1:17 expected \"{\" after the module's name, found \"1\""},
        {"const a = require 1", "1:19 expected \"(\" after require, found \"1\""},
        {"export default f.({})", "1:18 expected a name after \".\", found \"(\""},
        {"type X = {}; export default {}", "1:1 \"type\" is not a value"},
        {"export default {} as ;", "1:22 expected a type, found \";\""},
        {"export default f<{a({})", "1:17 this bracket is not closed"},
        {"['\\q']", "1:3 unknown escape sequence \\q"},
        {"['\\101']", "1:3 unknown escape sequence \\1"},
        {"['\\xZZ']", "1:3 malformed escape sequence"},
        {"['\\u12']", "1:3 malformed escape sequence"},
        {"['\\u{}']", "1:3 malformed escape sequence"},
        {"['\\u{110000}']", "1:3 escape sequence beyond U+10FFFF"},
        {"['\\ud83d']", "1:3 half of a surrogate pair in an escape sequence"},
        {"['\\ud83d\\u0041']", "1:3 half of a surrogate pair in an escape sequence"},
        {"['\\ude00']", "1:3 half of a surrogate pair in an escape sequence"},
        {"['\\u0000']", "1:3 strings cannot contain the NUL character"},
        {"['\\0']", "1:3 unknown escape sequence \\0"},
        {"{a: @}", "1:5 expected a value, found \"@\""},
        {"{a: \"x\" \"y\"}", "1:9 expected \",\" or \"}\" after the value, found '\"'"},
        {"é\n\r\n\r[é é]", "1:1 \"é\" is not a value"},
        {"[\n\r\n\r'é' 1]", "4:5 expected \",\" or \"]\" after the value, found \"1\""},
    };
    for (const auto &c : cases)
        EXPECT_EQ(problem_of(c.text), c.problem) << c.text;
}

TEST(ConfigSyntax, SuggestsTheWordThatWasMeant)
{
    std::string hint;
    problem_of("{a: True}", &hint);
    EXPECT_EQ(hint, "Did you mean true?");
    problem_of("{a: infinty}", &hint);
    EXPECT_EQ(hint, "Did you mean Infinity?");
    problem_of("const loop = {}", &hint);
    EXPECT_EQ(hint, "Add: export default loop;");
}

TEST(ConfigSyntax, RefusesTextThatIsNotUtf8)
{
    struct {
        const char *text;
        const char *where;
    } cases[] = {
        {"{a: '\x80'}", "1:6 "},             // a continuation byte alone
        {"{a: '\xC3'}", "1:6 "},             // cut short
        {"{a: '\xC0\xAF'}", "1:6 "},         // overlong
        {"{a: '\xE0\x80\xAF'}", "1:6 "},     //
        {"{a: '\xED\xA0\x80'}", "1:6 "},     // a surrogate
        {"{a: '\xF4\x90\x80\x80'}", "1:6 "}, // beyond Unicode
        {"{\n a: 'é€😀\xFF'}", "2:9 "},
        {"\xEF\xBB\xBF\xFF", "1:1 "},
        {"{}\xE2\x82", "1:3 "},
    };
    for (const auto &c : cases)
        EXPECT_EQ(problem_of(c.text), c.where + std::string("the document is not valid UTF-8"));
    EXPECT_EQ(problem_of(std::string_view("{a:\n'\0'}", 9)),
              "2:2 the document contains a NUL character");
}
