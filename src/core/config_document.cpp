/*
 * config_document.cpp: the sections of a document, and the rows they stand for.
 *
 * Plans and templates are read first, wherever they stand: features refer to them.
 */
#include "core/config_document.hpp"

#include "core/characters.hpp"
#include "core/config_loop.hpp"
#include "core/email.hpp"
#include "core/plain_text.hpp"
#include "core/window.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace skene
{

namespace
{

using Json = nlohmann::json; /* its objects are sorted by key */

constexpr size_t max_plans = 1000;

constexpr std::string_view sections[] = {"plans", "features", "templates", "settings", "loops"};
constexpr std::string_view plan_keys[] = {"default", "rank", "prices"};
constexpr std::string_view template_keys[] = {"subject", "html", "text", "locales"};
constexpr std::string_view locale_keys[] = {"subject", "html", "text"};
constexpr std::string_view setting_names[] = {
    "emailFrom",        "replyTo",   "upgradeUrl",         "billingUrl",
    "unsubscribeUrl",   "timeZone",  "productName",        "postalAddress",
    "marketingConsent", "promptCap", "customerMetadataKey"};

/* Plans in the order written; those without a rank are ranked by it. */
void
read_plans(const Node &plans, Document *document)
{
    check_object(plans, "plans");
    if (plans.children.size() > max_plans)
        refuse(plans.where, "the document has more than 1000 plans");
    const Node *chosen = nullptr;
    const Node *named_free = nullptr;
    for (const Node &node : plans.children) {
        check_name(node.key_where, "plan", node.key);
        check_keys(node, "plan " + in_quotes(node.key), plan_keys);
        const Node *mark = node.find("default");
        if (!mark) {
            if (node.key == "free")
                named_free = &node;
        } else if (boolean_of(*mark, "default")) {
            if (chosen)
                refuse(mark->where,
                       "plan " + in_quotes(node.key) + " cannot be the default as well",
                       "The default is plan " + in_quotes(chosen->key) + ", at " +
                           describe(chosen->key_where) + ".");
            chosen = &node;
        }
    }
    if (!chosen)
        chosen = named_free;
    if (!chosen)
        refuse(plans.where, "no plan is the default",
               "Add \"default\": true to the plan of customers who pay nothing.");

    std::map<std::string_view, const Node *> sold; /* which plan a price belongs to */
    int64_t place = 0;
    for (const Node &node : plans.children) {
        Plan plan;
        plan.is_default = &node == chosen;
        plan.rank = plan.is_default ? 0 : ++place;
        if (const Node *rank = node.find("rank"))
            plan.rank =
                whole_number_of(*rank, "rank", 0, INT32_MAX, "a whole number from 0 to 2147483647");
        if (const Node *prices = node.find("prices")) {
            for (const Node &price : one_or_more(*prices)) {
                const std::string &name = string_of(price, "each of prices");
                const Node *owner = sold.emplace(name, &node).first->second;
                if (owner != &node)
                    refuse(price.where,
                           "price " + in_quotes(name) + " belongs to plan " +
                               in_quotes(owner->key) + " already",
                           "A price leads to one plan.");
                plan.prices.insert(name);
            }
        }
        document->plans.emplace(node.key, std::move(plan));
    }
}

/* What a document has that speaks of limits but not of plans. */
void
imply_plans(Document *document)
{
    document->plans_implied = true;
    document->plans["free"] = {0, true, {}};
    document->plans["paid"] = {1, false, {"*"}};
}

/* A language, and perhaps a country and more: de, de-AT, zh-Hant-TW. */
bool
valid_locale(std::string_view locale)
{
    constexpr size_t longest = 35; /* RFC 5646, 4.4.1 */
    size_t part = 0;               /* characters of the current one */
    bool first = true;
    for (char c : locale) {
        if (c == '-') {
            if (part < (first ? 2 : 1))
                return false;
            first = false;
            part = 0;
        } else if ((!is_ascii_letter(c) && (first || !is_digit(c))) || ++part > 8) {
            return false;
        }
    }
    return part >= (first ? 2U : 1U) && locale.size() <= longest;
}

TemplateText
read_template_text(const Node &node, const std::string &what)
{
    TemplateText read;
    read.subject = string_of(required(node, "subject", what), "subject");
    if (const Node *html = node.find("html"); html && html->kind != NodeKind::null)
        read.html = string_of(*html, "html");
    if (const Node *text = node.find("text"); text && text->kind != NodeKind::null)
        read.text = string_of(*text, "text");
    if (!read.html && !read.text)
        refuse(node.where, what + " needs \"html\" or \"text\"");
    return read;
}

void
read_templates(const Node &templates, Document *document)
{
    check_object(templates, "templates");
    for (const Node &node : templates.children) {
        std::string what = "template " + in_quotes(node.key);
        check_name(node.key_where, "template", node.key);
        if (node.key.starts_with("resend:"))
            refuse(node.key_where, what + " cannot be declared here",
                   "Names that begin with resend: are templates hosted at Resend.");
        check_keys(node, what, template_keys);
        Template declared;
        declared.text = read_template_text(node, what);
        if (const Node *locales = node.find("locales")) {
            check_object(*locales, "locales of " + what);
            for (const Node &locale : locales->children) {
                std::string which = "locale " + in_quotes(locale.key) + " of " + what;
                if (!valid_locale(locale.key))
                    refuse(locale.key_where, "invalid locale " + in_quotes(locale.key),
                           "Write a language, such as \"de\", or one with a country: \"de-AT\".");
                check_keys(locale, which, locale_keys);
                declared.locales.emplace(locale.key, read_template_text(locale, which));
            }
        }
        document->templates.emplace(node.key, std::move(declared));
    }
}

/* https, or http on this machine; a host; nothing that would have to be encoded. */
bool
valid_link(std::string_view link)
{
    bool secure = link.starts_with("https://");
    if (!(secure || link.starts_with("http://")) || link.find(' ') != link.npos)
        return false;
    std::string_view authority = link.substr(link.find("//") + 2);
    authority = authority.substr(0, authority.find_first_of("/?#"));
    if (authority.find('@') != authority.npos) /* what stands before it is no host */
        return false;
    if (authority.starts_with('['))
        return secure ? authority.find(']') != authority.npos
                      : authority == "[::1]" || authority.starts_with("[::1]:");
    std::string_view host = authority.substr(0, authority.find(':'));
    return secure ? !host.empty() : host == "localhost" || host == "127.0.0.1";
}

/* "3 per 7d": so many prompts, at most, in so many days. */
bool
valid_cap(std::string_view cap)
{
    constexpr std::string_view between = " per ";
    size_t at = std::min(cap.find(between), cap.size());
    std::string_view most = cap.substr(0, at);
    Period period;
    return at < cap.size() && most.size() >= 1 && most.size() <= 4 && most[0] != '0' &&
           std::all_of(most.begin(), most.end(), is_digit) &&
           parse_period(cap.substr(at + between.size()), &period) &&
           period.kind == PeriodKind::fixed_days;
}

void
read_settings(const Node &settings, Document *document)
{
    check_keys(settings, "settings", setting_names);
    for (const Node &node : settings.children) {
        const std::string &value = string_of(node, node.key);
        if (has_controls(value))
            refuse(node.where, node.key + " must not contain control characters");
        if ((node.key == "emailFrom" || node.key == "replyTo") && !valid_mailbox(value))
            refuse(node.where, node.key + " must be an e-mail address or \"Name <address>\"",
                   "A name with punctuation belongs in double quotes.");
        if (node.key.ends_with("Url") && !valid_link(value))
            refuse(node.where, node.key + " must be an https:// address",
                   "http:// is accepted on localhost only.");
        if (node.key == "unsubscribeUrl" && value.find_first_of("#<>\"") != value.npos)
            refuse(node.where, "unsubscribeUrl must not contain any of # < > \"",
                   "The customer's token is added to its query.");
        if (node.key == "marketingConsent" && value != "opt-in" && value != "opt-out")
            refuse(node.where,
                   "marketingConsent must be \"opt-in\" or \"opt-out\", not " + in_quotes(value));
        if (node.key == "promptCap" && !valid_cap(value))
            refuse(node.where,
                   "promptCap must be a number of prompts and of days, not " + in_quotes(value),
                   "Write it like this: \"3 per 7d\".");
        if (node.key == "customerMetadataKey" &&
            (value.size() > 40 || value.find_first_of("[]") != value.npos))
            refuse(node.where,
                   "customerMetadataKey must have at most 40 characters and no square brackets",
                   "This is Stripe's rule for metadata keys.");
        document->settings.emplace(node.key, value);
    }
}

void
read_loops(const Node &loops, Document *document, Warnings *warnings)
{
    if (loops.kind != NodeKind::array)
        refuse(loops.where, "loops must be an array");
    for (const Node &loop : loops.children)
        read_loop(loop, document, warnings);
}

/* As skene.features.prompt_sequence; null without. */
Json
sequence_of(const Feature &feature)
{
    Json steps;
    for (const PromptStep &step : feature.sequence)
        steps.push_back({{"after", step.days ? std::to_string(step.days) + "d" : "0"},
                         {"template", step.template_name}});
    return steps;
}

Json
nullable(const std::optional<std::string> &text)
{
    return text ? Json(*text) : Json(nullptr);
}

Json
template_row(const std::string &name, const std::string &locale, const TemplateText &text)
{
    return {{"template", name},
            {"locale", locale},
            {"subject", text.subject},
            {"html", nullable(text.html)},
            {"text", nullable(text.text)}};
}

} // namespace

Document
read_document(const Node &root, Warnings *warnings)
{
    Document document;

    if (root.kind == NodeKind::array) {
        if (root.children.empty())
            refuse(root.where, "the document is empty");
        imply_plans(&document);
        read_loops(root, &document, warnings);
        return document;
    }
    check_object(root, "the document");
    if (root.children.empty())
        refuse(root.where, "the document is empty");
    if (looks_like_loop(root)) {
        imply_plans(&document);
        read_loop(root, &document, warnings);
        return document;
    }

    check_keys(root, "the document", sections);
    const Node *features = root.find("features");
    const Node *loops = root.find("loops");
    if (const Node *plans = root.find("plans"))
        read_plans(*plans, &document);
    else if (features || loops)
        imply_plans(&document); /* new settings or templates alone must not add plans */
    if (const Node *templates = root.find("templates"))
        read_templates(*templates, &document);
    if (const Node *settings = root.find("settings"))
        read_settings(*settings, &document);
    if (features)
        read_features(*features, &document, warnings);
    if (loops)
        read_loops(*loops, &document, warnings);
    return document;
}

std::string
write_document(const Document &document)
{
    Json rows = {{"plans_implied", document.plans_implied},
                 {"plans", Json::array()},
                 {"features", Json::array()},
                 {"entitlements", Json::array()},
                 {"templates", Json::array()},
                 {"settings", Json::array()}};

    for (const auto &[name, plan] : document.plans)
        rows["plans"].push_back({{"plan", name},
                                 {"rank", plan.rank},
                                 {"is_default", plan.is_default},
                                 {"prices", plan.prices}});
    for (const auto &[name, feature] : document.features) {
        const auto &prompt = feature.prompt_template;
        rows["features"].push_back(
            {{"feature", name},
             {"period", feature.period},
             {"endpoints", feature.endpoints},
             {"warn_at", feature.warn_at},
             {"message", nullable(feature.message)},
             {"prompt_provider", prompt ? Json("resend") : Json(nullptr)},
             {"prompt_template", nullable(prompt)},
             {"prompt_on", feature.prompt_when_reached ? "reached" : "denied"},
             {"prompt_sequence", sequence_of(feature)}});
        for (const auto &[plan, amount] : feature.limits)
            rows["entitlements"].push_back({{"feature", name},
                                            {"plan", plan},
                                            {"period", feature.period},
                                            {"usage_limit", amount ? Json(*amount) : Json()}});
    }
    for (const auto &[name, declared] : document.templates) {
        rows["templates"].push_back(template_row(name, "", declared.text));
        for (const auto &[locale, text] : declared.locales)
            rows["templates"].push_back(template_row(name, locale, text));
    }
    for (const auto &[name, value] : document.settings)
        rows["settings"].push_back({{"name", name}, {"value", value}});
    return rows.dump();
}

} // namespace skene
