/*
 * email.cpp: the body of Resend's POST /emails.
 */
#include "core/email.hpp"

#include "core/characters.hpp"
#include "core/email_template.hpp"
#include "core/json_text.hpp"
#include "core/message.hpp"

#include <algorithm>
#include <new>
#include <string>

#include <nlohmann/json.hpp>

namespace skene
{

namespace
{

using nlohmann::json;

constexpr size_t max_address_bytes = 254;
constexpr size_t max_local_bytes = 64;
constexpr size_t max_label_bytes = 63;
constexpr size_t max_subject_bytes = 998; /* a line of RFC 5322 */

[[noreturn]] void
refuse(std::string message)
{
    throw TemplateProblem{std::move(message)};
}

/* May a character stand in a part of a dot-atom (RFC 5322 atext)? */
bool
is_atom_character(char c)
{
    constexpr std::string_view others = "!#$%&'*+-/=?^_`{|}~";
    return is_ascii_letter(c) || is_digit(c) || others.find(c) != others.npos;
}

bool
valid_local_part(std::string_view local)
{
    if (local.empty() || local.size() > max_local_bytes)
        return false;
    char before = '.';
    for (char c : local) {
        if (c == '.' ? before == '.' : !is_atom_character(c))
            return false;
        before = c;
    }
    return before != '.';
}

bool
valid_domain(std::string_view domain)
{
    size_t label = 0; /* bytes of the current one */
    char before = '.';
    for (char c : domain) {
        if (c == '.') {
            if (label == 0 || before == '-')
                return false;
            label = 0;
        } else {
            if (!is_ascii_letter(c) && !is_digit(c) && (c != '-' || label == 0))
                return false;
            if (++label > max_label_bytes)
                return false;
        }
        before = c;
    }
    return label > 0 && before != '-';
}

/* A display name is quoted, or holds nothing that would need it (and end the mailbox). */
bool
valid_display_name(std::string_view name)
{
    if (name.size() >= 2 && name.front() == '"' && name.back() == '"')
        return name.substr(1, name.size() - 2).find_first_of("\"\\") == name.npos;
    return name.find_first_of("\"\\<>,;:@") == name.npos;
}

void
check_utf8(std::string_view text, const char *name)
{
    if (!valid_utf8(text))
        refuse(std::string(name) + ": not valid UTF-8");
}

void
check_mailbox(std::string_view mailbox, const char *name)
{
    check_utf8(mailbox, name);
    if (!valid_mailbox(mailbox))
        refuse(std::string(name) + ": neither \"Name <address>\" nor an address; a name with "
                                   "punctuation belongs in double quotes");
}

json
read_variables(std::string_view text)
{
    json variables = json::object();
    if (text.empty())
        return variables;
    switch (read_json(text, &variables)) {
    case JsonVerdict::ok:
        break;
    case JsonVerdict::not_json:
        refuse("variables: not JSON in UTF-8");
    case JsonVerdict::too_deep:
        refuse("variables: nested too deeply");
    }
    if (!variables.is_object())
        refuse("variables: not a JSON object");
    return variables;
}

std::string
render(std::string_view source, const char *name, const json &variables, Place place)
{
    check_utf8(source, name);
    try {
        return render_template(source, prepare_values(variables, place));
    } catch (const TemplateProblem &problem) {
        refuse(std::string(name) + ": " + problem.message);
    }
}

/* A URL that can stand between angle brackets in a header: http or https, of visible ASCII. */
void
check_header_url(std::string_view url, const char *name)
{
    bool fits = url.starts_with("https://") || url.starts_with("http://");
    for (char c : url)
        fits = fits && c > ' ' && c < 0x7f && c != '<' && c != '>' && c != '"';
    if (!fits)
        refuse(std::string(name) + ": not a URL that a header can hold");
}

/* The sender's address at the end of a page, before what closes it. */
void
add_html_foot(std::string_view postal_address, std::string *html)
{
    std::string foot = render("<p style=\"color: #666; font-size: small\">{{address}}</p>\n",
                              "postal address", {{"address", postal_address}}, Place::html);
    html->insert(std::min(html->rfind("</body>"), html->size()), foot);
}

/* A template that Resend hosts takes strings and numbers only. */
json
hosted_template(std::string_view id, const json &variables)
{
    check_utf8(id, "hosted template");
    if (has_controls(id))
        refuse("hosted template: the name contains control characters");
    json hosted = {{"id", id}, {"variables", json::object()}};
    TemplateValues texts = prepare_values(variables, Place::text);
    for (const auto &[name, variable] : variables.items())
        hosted["variables"][name] =
            variable.is_number() ? variable : json(texts.find(name)->second.text);
    return hosted;
}

void
add_content(const EmailRequest &request, const json &variables, json *body)
{
    std::string subject = make_line(render(request.subject, "subject", variables, Place::subject));
    if (subject.empty())
        refuse("subject: empty");
    std::string html = render(request.html, "html", variables, Place::html);
    std::string text = render(request.text, "text", variables, Place::text);
    if (html.empty() && text.empty())
        refuse("the message has neither html nor text");
    if (!request.postal_address.empty()) {
        check_utf8(request.postal_address, "postal address");
        if (!html.empty())
            add_html_foot(request.postal_address, &html);
        if (!text.empty())
            text += "\n" + make_line(request.postal_address) + "\n";
    }
    (*body)["subject"] = cut(subject, max_subject_bytes);
    if (!html.empty())
        (*body)["html"] = html;
    if (!text.empty())
        (*body)["text"] = text;
}

/* Keys come out sorted, so that equal requests give equal bytes. */
std::string
request_body(const EmailRequest &request)
{
    check_mailbox(request.from, "from");
    if (!valid_address(request.to))
        refuse("to: not a bare address");
    json body = {{"from", request.from}, {"to", json::array({request.to})}};
    if (!request.reply_to.empty()) {
        check_mailbox(request.reply_to, "reply_to");
        body["reply_to"] = request.reply_to;
    }
    if (!request.unsubscribe_url.empty()) {
        check_header_url(request.unsubscribe_url, "unsubscribe_url");
        body["headers"] = {{"List-Unsubscribe", "<" + std::string(request.unsubscribe_url) + ">"},
                           {"List-Unsubscribe-Post", "List-Unsubscribe=One-Click"}};
    }
    json variables = read_variables(request.variables);
    if (request.hosted_template.empty())
        add_content(request, variables, &body);
    else
        body["template"] = hosted_template(request.hosted_template, variables);
    return body.dump();
}

} // namespace

bool
valid_address(std::string_view address) noexcept
{
    size_t at = address.find('@');
    return at != address.npos && address.size() <= max_address_bytes &&
           valid_local_part(address.substr(0, at)) && valid_domain(address.substr(at + 1));
}

void
render_email(const EmailRequest &request, EmailResult *result) noexcept
{
    *result = EmailResult{};
    try {
        result->ok = copy_bytes(request_body(request), &result->body);
        if (!result->ok)
            copy_message(result->problem, "out of memory");
    } catch (const TemplateProblem &problem) {
        copy_message(result->problem, problem.message);
    } catch (const std::bad_alloc &) {
        copy_message(result->problem, "out of memory");
    } catch (const std::exception &error) {
        /* no other exception is known to get here */
        copy_message(result->problem, error.what());
    }
}

bool
valid_mailbox(std::string_view mailbox) noexcept
{
    if (has_controls(mailbox))
        return false;
    size_t open = mailbox.rfind('<');
    if (open == mailbox.npos || mailbox.back() != '>')
        return valid_address(mailbox);
    return valid_display_name(trim(mailbox.substr(0, open))) &&
           valid_address(mailbox.substr(open + 1, mailbox.size() - open - 2));
}

} // namespace skene
