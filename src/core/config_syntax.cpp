/*
 * config_syntax.cpp: recursive descent through JSON and TypeScript.
 *
 * A file is import lines, constants and one value: bare, exported, or assigned to
 * module.exports. Values are literals, and calls of one literal, which stand for
 * their argument: defineLoop({...}). Types are passed over unread. Anything that
 * would have to be run to know its value is refused.
 *
 * Recursion is bounded by max_depth, also while the tree is destroyed.
 */
#include "core/config_syntax.hpp"

#include "core/suggest.hpp"

#include <map>
#include <utility>

namespace skene
{

namespace
{

constexpr int max_depth = 64;

constexpr std::string_view value_words[] = {"true", "false", "null", "undefined", "Infinity"};

constexpr const char *literal_hint = "Only literal values are understood: write the value itself.";

class SyntaxParser
{
  public:
    SyntaxParser(std::string_view text, Warnings *warnings) : text(text, warnings) {}

    Node parse_file();

  private:
    /* One level deeper as long as it lives. */
    struct Level {
        explicit Level(SyntaxParser *parser) : parser(parser)
        {
            if (++parser->depth > max_depth)
                refuse(parser->text.here(), "the document is nested more than 64 levels deep");
        }
        ~Level() { parser->depth--; }
        Level(const Level &) = delete;
        SyntaxParser *parser;
    };

    Node parse_value();
    void parse_object(Node *object);
    void parse_member(Node *object, std::map<std::string, Position> *seen);
    void parse_array(Node *array);
    void parse_word(Node *node);

    Node parse_export();
    void parse_constant();
    void skip_import();
    void skip_type();
    void skip_balanced();
    void skip_type_assertions();

    ConfigText text;
    int depth = 0;
    std::map<std::string, Node, std::less<>> constants;
};

/* Pass over brackets and what is between them, standing on the first. */
void
SyntaxParser::skip_balanced()
{
    std::string closers;
    Position start = text.here();

    do {
        char c = text.peek();
        if (text.at_end())
            refuse(start, "this bracket is not closed");
        if (text.at_string()) {
            text.read_string();
        } else {
            if (c == '{' || c == '[' || c == '(' || c == '<')
                closers.push_back(c == '{' ? '}' : c == '[' ? ']' : c == '(' ? ')' : '>');
            else if (c == closers.back())
                closers.pop_back();
            text.skip();
        }
        if (!closers.empty())
            text.skip_blanks();
    } while (!closers.empty());
}

/* Pass over a type: names, generics, arrays, object types, string types, unions. */
void
SyntaxParser::skip_type()
{
    do {
        do {
            text.skip_blanks();
        } while (text.accept_word("readonly") || text.accept_word("typeof") ||
                 text.accept_word("keyof"));
        if (text.at_string())
            text.read_string();
        else if (text.at_word())
            text.read_word();
        else if (text.peek() == '{' || text.peek() == '(' || text.peek() == '[')
            skip_balanced();
        else
            text.refuse_here("a type");
        for (;;) {
            if (text.accept('.')) {
                text.skip_blanks();
                text.read_word();
            } else if (text.peek() == '<' || text.peek() == '[' || text.peek() == '(') {
                skip_balanced();
            } else {
                break;
            }
        }
    } while (text.accept('|') || text.accept('&'));
}

/* "as const", "as Type", "satisfies Type", any number of them. */
void
SyntaxParser::skip_type_assertions()
{
    while (text.accept_word("as") || text.accept_word("satisfies"))
        skip_type();
}

/* One value, with the assertions that follow it. */
Node
SyntaxParser::parse_value()
{
    Node node;

    text.skip_blanks();
    node.where = text.here();
    if (text.peek() == '{') {
        parse_object(&node);
    } else if (text.peek() == '[') {
        parse_array(&node);
    } else if (text.at_string()) {
        node.kind = NodeKind::string;
        node.text = text.read_string();
    } else if (text.peek() == '.' && text.peek(1) == '.') {
        refuse(node.where, "spread syntax is not supported", literal_hint);
    } else if (text.at_number() || text.peek_word() == "Infinity" || text.peek_word() == "NaN") {
        node.kind = NodeKind::number;
        node.text = text.read_number();
    } else if (text.at_word()) {
        parse_word(&node);
    } else {
        text.refuse_here("a value");
    }
    skip_type_assertions();
    return node;
}

/* A named constant of the language, or a call, which stands for its argument. */
void
SyntaxParser::parse_word(Node *node)
{
    Position where = text.here();
    std::string name(text.read_word());

    if (name == "true" || name == "false") {
        node->kind = NodeKind::boolean;
        node->truth = name == "true";
        return;
    }
    if (name == "null") {
        node->kind = NodeKind::null;
        return;
    }
    if (name == "undefined")
        return;

    Level level(this);
    bool dotted = false;
    while (text.accept('.')) {
        dotted = true;
        text.skip_blanks();
        if (text.read_word().empty())
            text.refuse_here("a name after \".\"");
    }
    if (text.peek() == '<')
        skip_balanced();
    if (!text.accept('(')) {
        std::string_view meant = dotted ? "" : closest_name(name, value_words);
        refuse(where, in_quotes(name) + " is not a value",
               meant.empty() ? literal_hint : "Did you mean " + std::string(meant) + "?");
    }
    text.skip_blanks();
    if (text.peek() != '{' && text.peek() != '[' && !text.at_word())
        text.refuse_here("an object or array as the argument of " + in_quotes(name));
    *node = parse_value();
    text.accept(',');
    text.expect(')', "the argument of " + in_quotes(name));
}

void
SyntaxParser::parse_array(Node *array)
{
    Level level(this);
    Position start = text.here();

    array->kind = NodeKind::array;
    text.skip();
    while (!text.accept(']')) {
        if (text.at_end())
            refuse(start, "this [ is not closed", "Add the missing ].");
        array->children.push_back(parse_value());
        if (!text.accept(',') && text.peek() != ']' && !text.at_end())
            text.refuse_here("\",\" or \"]\" after the value");
    }
}

void
SyntaxParser::parse_object(Node *object)
{
    Level level(this);
    Position start = text.here();
    std::map<std::string, Position> seen;

    object->kind = NodeKind::object;
    text.skip();
    while (!text.accept('}')) {
        if (text.at_end())
            refuse(start, "this { is not closed", "Add the missing }.");
        parse_member(object, &seen);
        if (!text.accept(',') && text.peek() != '}' && !text.at_end())
            text.refuse_here("\",\" or \"}\" after the value");
    }
}

/* key: value */
void
SyntaxParser::parse_member(Node *object, std::map<std::string, Position> *seen)
{
    Position where = text.here();
    std::string key;

    if (text.at_string() && text.peek() != '`')
        key = text.read_string();
    else if (text.at_word())
        key = text.read_word();
    else if (text.peek() == '.' && text.peek(1) == '.')
        refuse(where, "spread syntax is not supported", literal_hint);
    else if (text.at_number())
        refuse(where, "a key cannot begin with a digit or sign", "Put the key in double quotes.");
    else
        text.refuse_here("a key or \"}\"");

    auto [first, is_new] = seen->emplace(key, where);
    if (!is_new)
        refuse(where, "key " + in_quotes(key) + " is given twice",
               "The first is at " + describe(first->second) + ". Keep one of the two.");
    text.skip_blanks();
    if (text.peek() == ',' || text.peek() == '}')
        refuse(where, "key " + in_quotes(key) + " has no value", literal_hint);
    text.expect(':', "key " + in_quotes(key));

    Node value = parse_value();
    if (value.kind == NodeKind::undefined)
        return;
    value.key = std::move(key);
    value.key_where = where;
    object->children.push_back(std::move(value));
}

/* Pass over what follows the word import, up to the module's name. */
void
SyntaxParser::skip_import()
{
    for (;;) {
        text.skip_blanks();
        if (text.at_string())
            break;
        if (text.at_word())
            text.read_word();
        else if (text.peek() == '{')
            skip_balanced();
        else if (text.peek() == ',' || text.peek() == '*')
            text.skip();
        else
            text.refuse_here("a module's name in quotes after import");
    }
    text.read_string();
    if (text.accept_word("with") || text.accept_word("assert")) {
        text.skip_blanks();
        if (text.peek() != '{')
            text.refuse_here("\"{\" after the module's name");
        skip_balanced();
    }
}

/* What follows the word const: NAME[: Type] = value, or an import through require(). */
void
SyntaxParser::parse_constant()
{
    std::string name;

    text.skip_blanks();
    Position where = text.here();
    if (text.peek() == '{')
        skip_balanced();
    else if (text.at_word())
        name = text.read_word();
    else
        text.refuse_here("a name after const");
    if (text.accept(':'))
        skip_type();
    text.expect('=', "the name of the constant");
    if (text.accept_word("require")) {
        text.skip_blanks();
        if (text.peek() != '(')
            text.refuse_here("\"(\" after require");
        skip_balanced();
        return;
    }
    if (name.empty())
        refuse(where, "only require() can be taken apart into names");
    if (!constants.emplace(name, parse_value()).second)
        refuse(where, "constant " + in_quotes(name) + " is declared twice");
}

/* What follows export default or module.exports =: a constant's name, or a value. */
Node
SyntaxParser::parse_export()
{
    text.skip_blanks();
    auto constant = constants.find(text.peek_word());
    if (constant == constants.end())
        return parse_value();
    text.read_word();
    skip_type_assertions();
    return std::move(constant->second);
}

Node
SyntaxParser::parse_file()
{
    Node document;
    bool found = false;

    while (!found) {
        if (text.accept(';'))
            continue;
        Position where = text.here();
        if (text.at_end()) {
            if (constants.empty())
                refuse({}, "the document is empty");
            refuse(where, "the file has no default export",
                   "Add: export default " + constants.begin()->first + ";");
        }
        bool is_export = text.accept_word("export");
        if (is_export && text.accept_word("default")) {
            document = parse_export();
            found = true;
        } else if (text.accept_word("const") || text.accept_word("let") ||
                   text.accept_word("var")) {
            parse_constant();
        } else if (is_export) {
            text.refuse_here("\"default\" or \"const\" after export");
        } else if (text.accept_word("import")) {
            skip_import();
        } else if (text.accept_word("module")) {
            text.expect('.', "module");
            if (!text.accept_word("exports"))
                text.refuse_here("\"exports\" after \"module.\"");
            text.expect('=', "module.exports");
            document = parse_export();
            found = true;
        } else {
            document = parse_value();
            found = true;
        }
    }
    while (text.accept(';'))
        ;
    if (!text.at_end())
        text.refuse_here("the end of the document");
    return document;
}

} // namespace

const Node *
Node::find(std::string_view member) const
{
    for (const Node &child : children) {
        if (child.key == member)
            return &child;
    }
    return nullptr;
}

Node
parse_syntax(std::string_view text, Warnings *warnings)
{
    return SyntaxParser(text, warnings).parse_file();
}

} // namespace skene
