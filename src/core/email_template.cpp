/*
 * email_template.cpp: rendering of e-mail templates, in one pass.
 */
#include "core/email_template.hpp"

#include "core/characters.hpp"
#include "core/plain_text.hpp"

#include <cmath>
#include <vector>

#include <nlohmann/json.hpp>

namespace skene
{

namespace
{

using nlohmann::json;

[[noreturn]] void
refuse(std::string message)
{
    throw TemplateProblem{std::move(message)};
}

/* A piece of a template or a name, in a form that suits a message. */
std::string
shown(std::string_view text)
{
    constexpr size_t longest = 64;
    return make_line(cut(text, longest)) + (text.size() > longest ? "…" : "");
}

std::string
escape_html(std::string_view text)
{
    std::string escaped;
    for (char c : text) {
        switch (c) {
        case '&':
            escaped += "&amp;";
            break;
        case '<':
            escaped += "&lt;";
            break;
        case '>':
            escaped += "&gt;";
            break;
        case '"':
            escaped += "&quot;";
            break;
        case '\'':
            escaped += "&#39;";
            break;
        default:
            escaped += c;
        }
    }
    return escaped;
}

bool
starts_with_scheme(std::string_view url, std::string_view scheme)
{
    if (url.size() <= scheme.size())
        return false;
    for (size_t i = 0; i < scheme.size(); i++) {
        char c = url[i];
        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != scheme[i])
            return false;
    }
    return true;
}

/* Could the URL stand in an attribute, even one somebody forgot to quote? */
bool
is_web_url(std::string_view url)
{
    for (char c : url)
        if (is_space(c) || is_control(c))
            return false;
    return starts_with_scheme(url, "https://") || starts_with_scheme(url, "http://");
}

/* A number without an exponent or a ".0" where it has no fraction. */
std::string
number_text(const json &number)
{
    constexpr double exact = 9007199254740992; /* 2^53: all integers up to it are doubles */
    if (number.is_number_float()) {
        double value = number.get<double>();
        if (std::trunc(value) == value && std::abs(value) <= exact)
            return std::to_string(static_cast<int64_t>(value));
    }
    return number.dump();
}

TemplateValue
prepare_value(const std::string &name, const json &variable, Place place)
{
    if (variable.is_null())
        return {"", false};
    if (variable.is_boolean())
        return {variable.get<bool>() ? "true" : "false", variable.get<bool>()};
    if (variable.is_number())
        return {number_text(variable), true};
    if (!variable.is_string())
        refuse("variable \"" + shown(name) + "\" is neither text, a number, true, false nor null");

    const std::string &given = variable.get_ref<const std::string &>();
    std::string text = place == Place::subject ? make_line(given) : remove_controls(given);
    if (place == Place::html) {
        if (name.ends_with("_url") && !is_web_url(text))
            text.clear();
        text = escape_html(text);
    }
    bool present = !text.empty();
    return {std::move(text), present};
}

const TemplateValue &
find_value(std::string_view name, const TemplateValues &values)
{
    auto found = values.find(name);
    if (found != values.end())
        return found->second;
    std::string known;
    for (const auto &[other, value] : values) {
        known += (known.empty() ? "" : ", ") + shown(other);
        if (known.size() > 400)
            break; /* more does not fit into a problem */
    }
    refuse("unknown variable \"" + shown(name) + "\"; known: " + (known.empty() ? "none" : known));
}

/* One rendering: the text so far and the sections that are open. */
class Renderer
{
  public:
    explicit Renderer(const TemplateValues &values) : values(values) {}

    std::string
    render(std::string_view source)
    {
        size_t begin;
        while ((begin = source.find("{{")) != source.npos) {
            append(source.substr(0, begin));
            source.remove_prefix(begin);
            source.remove_prefix(read_tag(source));
        }
        append(source);
        if (!sections.empty())
            refuse("section \"{{#" + shown(sections.back().name) + "}}\" is not closed");
        return std::move(result);
    }

  private:
    struct Section {
        std::string_view name;
        bool kept; /* it and all around it */
    };

    bool
    kept() const
    {
        return sections.empty() || sections.back().kept;
    }

    void
    append(std::string_view text)
    {
        if (!kept())
            return;
        if (text.size() > max_rendered_bytes - result.size())
            refuse("the rendered text is longer than 256 KiB");
        result += text;
    }

    /* Obey the tag that source begins with; its length. */
    size_t
    read_tag(std::string_view source)
    {
        size_t end = source.find_first_of("{}\n", 2);
        if (end == 2 && source[2] == '{')
            refuse("\"{{{\" is not supported: every value is escaped");
        if (end == source.npos || source.substr(end, 2) != "}}")
            refuse("\"" + shown(source.substr(0, end)) + "\" is not closed with \"}}\"");

        std::string_view tag = trim(source.substr(2, end - 2));
        char kind = tag.empty() ? '\0' : tag[0];
        std::string_view name = kind == '#' || kind == '/' ? trim(tag.substr(1)) : tag;
        if (name.empty())
            refuse("\"" + shown(source.substr(0, end + 2)) + "\" names no variable");
        if (kind == '#')
            open_section(name);
        else if (kind == '/')
            close_section(name);
        else
            append(find_value(name, values).text);
        return end + 2;
    }

    void
    open_section(std::string_view name)
    {
        if (sections.size() == max_section_depth)
            refuse("sections are nested more than 8 deep at \"{{#" + shown(name) + "}}\"");
        bool present = find_value(name, values).present;
        sections.push_back({name, kept() && present});
    }

    void
    close_section(std::string_view name)
    {
        if (sections.empty() || sections.back().name != name)
            refuse("\"{{/" + shown(name) + "}}\" does not close " +
                   (sections.empty() ? "any section"
                                     : "\"{{#" + shown(sections.back().name) + "}}\""));
        sections.pop_back();
    }

    const TemplateValues &values;
    std::vector<Section> sections;
    std::string result;
};

} // namespace

TemplateValues
prepare_values(const json &variables, Place place)
{
    TemplateValues values;
    for (const auto &[name, variable] : variables.items())
        values.emplace(name, prepare_value(name, variable, place));
    return values;
}

std::string
render_template(std::string_view source, const TemplateValues &values)
{
    return Renderer(values).render(source);
}

} // namespace skene
