/*
 * email_template.hpp: {{name}} and {{#name}}…{{/name}}, and nothing else.
 *
 * Invariant: a value is escaped for the place it goes to and is never read as
 * template text, so what a stranger calls himself cannot change what a message
 * says. Rendering is linear in the sizes of template, values and result.
 */
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace skene
{

/* Where a template's text will stand. */
enum class Place { subject, html, text };

constexpr size_t max_rendered_bytes = 256 * 1024;
constexpr size_t max_section_depth = 8;

/* A variable as it will appear in one place. */
struct TemplateValue {
    std::string text;
    bool present; /* keeps a section: not null, not false, not empty */
};

using TemplateValues = std::map<std::string, TemplateValue, std::less<>>;

/* What is wrong with a template or its variables; thrown. */
struct TemplateProblem {
    std::string message;
};

/*
 * Prepare variables, a JSON object of scalars, for a place.
 *
 * In HTML a variable whose name ends in _url is empty unless it is an http or
 * https URL: escaping does not stop a javascript: link.
 */
TemplateValues prepare_values(const nlohmann::json &variables, Place place);

/*
 * Render UTF-8 template text with values prepared for its place. A section is kept
 * when its variable is present; what it contains is checked either way. A "}}" that
 * closes nothing is text.
 */
std::string render_template(std::string_view source, const TemplateValues &values);

} // namespace skene
