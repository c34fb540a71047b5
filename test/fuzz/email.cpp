/*
 * email.cpp: fuzz target of render_email().
 *
 * Input: from, to, reply_to, subject, html, text, name of a hosted template,
 * variables. Whoever wrote the variables must not be able to add markup, a header
 * line or a link that is none.
 */
#include "core/email.hpp"

#include "fuzz.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

using namespace skene;
using nlohmann::json;

namespace
{

/* The body as JSON, null when refused. */
json
render(const EmailRequest &request)
{
    EmailResult result;
    EmailResult again;
    render_email(request, &result);
    render_email(request, &again);
    require(result.ok == again.ok && view(result.body) == view(again.body));
    require(result.ok == (result.body.data != nullptr));
    require(result.ok ? result.problem[0] == '\0' : fuzz::is_message(result.problem));

    json body = result.ok ? json::parse(view(result.body)) : json();
    require(!result.ok || body.dump() == view(result.body));
    free_bytes(&result.body);
    free_bytes(&again.body);
    return body;
}

/* The template is added at most once, so no more of its characters can come out. */
bool
no_more_of(const char *characters, std::string_view rendered, std::string_view source)
{
    for (const char *c = characters; *c; c++)
        if (std::count(rendered.begin(), rendered.end(), *c) >
            std::count(source.begin(), source.end(), *c))
            return false;
    return true;
}

/* Every variable that a tag can name, alone in a link. */
void
check_links(EmailRequest request)
{
    json variables = json::parse(request.variables, nullptr, false);
    if (!variables.is_object())
        return;
    for (const auto &[name, value] : variables.items()) {
        if (name.find_first_of("{}") != name.npos) /* would be tags of its own */
            continue;
        std::string link = "<" + ("{{" + name + "}}") + ">";
        request.html = link;
        json body = render(request);
        if (body.is_null()) /* nor can every other name */
            continue;
        std::string url = body["html"];
        require(no_more_of("<>\"'", url, "<>") || name.find_first_of("<>\"'#/") != name.npos);
        url = url.substr(1, url.size() - 2);
        std::transform(url.begin(), url.end(), url.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
        if (name.ends_with("_url") && value.is_string())
            require(url.empty() || url.starts_with("http://") || url.starts_with("https://"));
    }
}

} // namespace

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto [from, to, reply_to, subject, html, text, hosted, variables, unsubscribe_url, postal] =
        fuzz::split<10>(fuzz::as_text(data, size));
    EmailRequest request{from, to,     reply_to,  subject,         html,
                         text, hosted, variables, unsubscribe_url, postal};

    json body = render(request);
    if (body.is_null())
        return 0;
    require(valid_address(to));
    require(body["to"] == json::array({to}));
    require(body["from"] == from && !has_controls(from));
    require(!body.contains("reply_to") || !has_controls(reply_to));
    if (!unsubscribe_url.empty()) {
        std::string header = body["headers"]["List-Unsubscribe"];
        require(!has_controls(header) && header.find('>') == header.size() - 1);
    }
    if (!hosted.empty()) {
        for (const auto &[name, value] : body["template"]["variables"].items())
            require(value.is_string() || value.is_number());
        return 0;
    }
    std::string line = body["subject"];
    require(fuzz::is_message(line) && line.size() <= 998);
    request.postal_address = {};
    body = render(request);
    if (body.contains("html"))
        require(no_more_of("<>\"'", body["html"].get<std::string>(), html));
    check_links(request);
    return 0;
}
