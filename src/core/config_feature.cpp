/*
 * config_feature.cpp: the terms of a feature.
 */
#include "core/config_feature.hpp"

#include "core/endpoint.hpp"
#include "core/window.hpp"

#include <algorithm>

namespace skene
{

namespace
{

constexpr size_t max_steps = 10;
constexpr size_t max_entitlements = 100000; /* a short text can ask for plans x features rows */

constexpr std::string_view built_in_template = "upgrade_prompt";
constexpr std::string_view hosted_prefix = "resend:";

constexpr std::string_view feature_keys[] = {"limit",   "period", "endpoints",     "warnAt",
                                             "message", "prompt", "upgradePrompt", "promptOn"};
constexpr std::string_view prompt_keys[] = {"type", "provider", "template", "sequence"};
constexpr std::string_view step_keys[] = {"after", "template"};
constexpr std::string_view period_words[] = {"minute", "hour", "day",     "week",
                                             "month",  "year", "lifetime"};

/* What one plan gets: a number, or nullopt for no limit. */
std::optional<int64_t>
amount_of(const Node &node)
{
    if (node.kind == NodeKind::null || is_infinity(node))
        return std::nullopt;
    if (node.kind == NodeKind::string)
        refuse(node.where, "limit must be a number, null or Infinity, not a string",
               "Write the number without quotes; null means unlimited.");
    return whole_number_of(node, "limit", 0, INT64_MAX,
                           "a whole number from 0 to 9223372036854775807, null or Infinity");
}

/*
 * One plan's amount. A plan that the document does not know is an error; without plans of
 * its own it speaks of the database's, and skene_apply() looks.
 */
void
read_plan_limit(const Node &node, const Document &document, Feature *feature)
{
    if (!document.plans.contains(node.key)) {
        check_name(node.key_where, "plan", node.key);
        std::vector<std::string_view> names;
        for (const auto &[name, plan] : document.plans)
            names.push_back(name);
        if (!document.plans_implied)
            refuse(node.key_where, "limit names the unknown plan " + in_quotes(node.key),
                   suggestion(node.key, names, "The plans of this document are:"));
    }
    feature->limits[node.key] = amount_of(node);
}

const std::string &
period_of(const Node &node)
{
    if (node.kind != NodeKind::string)
        refuse(node.where, "period must be a string such as \"30d\" or \"month\"");
    Period period;
    if (node.text == "billing")
        refuse(node.where, "period \"billing\" is not supported by this version",
               "Use \"month\", or \"30d\" for 30 days from the customer's first use.");
    if (!parse_period(node.text, &period))
        refuse(node.where, "unknown period " + in_quotes(node.text),
               suggestion(node.text, period_words, "Write whole days, 1d to 3660d, or one of:"));
    return node.text;
}

/* Would this segment be a placeholder elsewhere, as :id or {id}? */
bool
looks_like_placeholder(std::string_view segment)
{
    return segment.size() > 1 &&
           (segment[0] == ':' || (segment[0] == '{' && segment.back() == '}') ||
            (segment[0] == '[' && segment.back() == ']') ||
            (segment[0] == '<' && segment.back() == '>'));
}

/* The name of a template; built in, hosted at Resend, or of the document. */
const std::string &
template_name_of(const Node &node, const std::string &what, const Document &document,
                 Warnings *warnings)
{
    std::string_view name = string_of(node, "template of " + what);
    bool hosted = name.starts_with(hosted_prefix);
    check_name(node.where, "template", hosted ? name.substr(hosted_prefix.size()) : name);
    if (!hosted && name != built_in_template && !document.templates.contains(node.text))
        warnings->add(node.where, "template " + in_quotes(name) + " is not in this document",
                      "Prompts fail unless the database has it. Declare it under \"templates\", "
                      "or write \"resend:NAME\" for a template hosted at Resend.");
    return node.text;
}

/* "0" or "2d": whole days after the prompt. */
int64_t
days_of(const Node &node)
{
    Period period;
    if (node.kind != NodeKind::string)
        refuse(node.where, "after must be a string such as \"2d\"");
    if (node.text == "0")
        return 0;
    if (!parse_period(node.text, &period) || period.kind != PeriodKind::fixed_days)
        refuse(node.where, "after must be \"0\" or whole days, not " + in_quotes(node.text),
               "Write 1d to 3660d.");
    return period.days;
}

void
read_sequence(const Node &sequence, const Document &document, Warnings *warnings, Feature *feature)
{
    if (sequence.kind != NodeKind::array || sequence.children.empty() ||
        sequence.children.size() > max_steps)
        refuse(sequence.where, "sequence must be an array of 1 to 10 steps",
               "Each is { \"after\": \"2d\", \"template\": \"NAME\" }; without a template, the "
               "prompt's.");
    for (const Node &node : sequence.children) {
        check_keys(node, "step of sequence", step_keys);
        const Node &after = required(node, "after", "step of sequence");
        PromptStep step = {days_of(after), *feature->prompt_template};
        if (!feature->sequence.empty() && step.days <= feature->sequence.back().days)
            refuse(after.where, "each step of a sequence must come later than the one before",
                   "Times count from the prompt, not from the step before.");
        if (const Node *name = node.find("template"))
            step.template_name = template_name_of(*name, "step of sequence", document, warnings);
        feature->sequence.push_back(std::move(step));
    }
}

void
read_feature(const Node &node, Document *document, Warnings *warnings)
{
    check_name(node.key_where, "feature", node.key);
    check_keys(node, "feature " + in_quotes(node.key), feature_keys);

    Feature feature;
    feature.where = node.key_where;
    read_limits(node.find("limit"), node.find("period"), *document, warnings, &feature, node.key);
    if (const Node *endpoints = node.find("endpoints")) {
        for (const Node &endpoint : one_or_more(*endpoints))
            add_endpoint(endpoint.where, string_of(endpoint, "each of endpoints"), warnings,
                         &feature);
    }
    read_warn_at(node.find("warnAt"), &feature);
    read_message(node.find("message"), &feature);
    read_prompt_on(node.find("promptOn"), &feature);

    const Node *prompt = node.find("prompt");
    const Node *synonym = node.find("upgradePrompt");
    if (prompt && synonym)
        refuse(synonym->key_where,
               "upgradePrompt is another name of prompt, which is given at " +
                   describe(prompt->key_where),
               "Keep one of the two.");
    read_prompt(prompt ? prompt : synonym, *document, warnings, &feature);
    add_feature(node.key, std::move(feature), document);
}

} // namespace

void
read_limits(const Node *limit, const Node *period, const Document &document, Warnings *warnings,
            Feature *feature, const std::string &name)
{
    if (limit && limit->kind == NodeKind::object) {
        for (const Node &member : limit->children) {
            if (member.key != "paid" || document.plans.contains("paid"))
                read_plan_limit(member, document, feature);
        }
        const Node *paid = limit->find("paid");
        if (paid && !document.plans.contains("paid")) {
            std::optional<int64_t> amount = amount_of(*paid);
            for (const auto &[plan, terms] : document.plans) {
                if (!terms.is_default)
                    feature->limits.emplace(plan, amount); /* one written out wins */
            }
        }
    } else if (limit && (limit->kind == NodeKind::array || limit->kind == NodeKind::boolean)) {
        refuse(limit->where,
               "limit must be a number, null or Infinity, or an object with one for each plan");
    } else if (limit) {
        std::optional<int64_t> amount = amount_of(*limit);
        for (const auto &[plan, terms] : document.plans)
            feature->limits[plan] = amount;
    }

    if (feature->limits.empty())
        warnings->add(feature->where, "no plan gets feature " + in_quotes(name),
                      "Write \"limit\": null to give it to every plan without limit.");

    bool counts = std::any_of(feature->limits.begin(), feature->limits.end(),
                              [](const auto &entry) { return entry.second.has_value(); });
    if (period)
        feature->period = period_of(*period);
    else if (!counts)
        feature->period = "30d";
    else
        refuse(feature->where, "feature " + in_quotes(name) + " has a limit but no period",
               "Add a period, such as \"30d\", \"month\" or \"lifetime\".");
}

void
add_endpoint(Position where, const std::string &pattern, Warnings *warnings, Feature *feature)
{
    if (!valid_endpoint(pattern))
        refuse(where, "invalid endpoint " + in_quotes(pattern),
               "Write an upper-case method, one space and a path, as in \"POST /api/export/*\".");

    std::string_view rest = pattern;
    while (!rest.empty()) {
        size_t slash = std::min(rest.find('/'), rest.size());
        std::string_view segment = rest.substr(0, slash);
        rest.remove_prefix(std::min(slash + 1, rest.size()));
        if (looks_like_placeholder(segment))
            warnings->add(where, "endpoint segment " + in_quotes(segment) + " is taken literally",
                          "Write * for any one segment of the path.");
    }
    feature->endpoints.insert(pattern);
}

void
read_warn_at(const Node *warn_at, Feature *feature)
{
    if (!warn_at)
        return;
    for (const Node &threshold : one_or_more(*warn_at))
        feature->warn_at.insert(
            whole_number_of(threshold, "warnAt", 1, 100, "whole numbers from 1 to 100 (per cent)"));
}

void
read_prompt_on(const Node *prompt_on, Feature *feature)
{
    if (!prompt_on)
        return;
    const std::string &when = string_of(*prompt_on, "promptOn");
    if (when != "denied" && when != "reached")
        refuse(prompt_on->where,
               "promptOn must be \"denied\" or \"reached\", not " + in_quotes(when));
    feature->prompt_when_reached = when == "reached";
}

void
read_message(const Node *message, Feature *feature)
{
    if (message && message->kind != NodeKind::null)
        feature->message = string_of(*message, "message");
}

void
read_prompt(const Node *prompt, const Document &document, Warnings *warnings, Feature *feature)
{
    if (!prompt) {
        feature->prompt_template = built_in_template;
        return;
    }
    if (prompt->kind == NodeKind::null || (prompt->kind == NodeKind::boolean && !prompt->truth))
        return;

    std::string what = prompt->key;
    if (prompt->kind != NodeKind::object)
        refuse(prompt->where, what + " must be an object, null or false");
    check_keys(*prompt, what, prompt_keys);
    if (prompt->find("type"))
        check_constant(*prompt, "type", "email", what);
    if (prompt->find("provider"))
        check_constant(*prompt, "provider", "resend", what);

    const Node *name = prompt->find("template");
    feature->prompt_template =
        name ? template_name_of(*name, what, document, warnings) : std::string(built_in_template);
    if (const Node *sequence = prompt->find("sequence"))
        read_sequence(*sequence, document, warnings, feature);
}

void
read_features(const Node &features, Document *document, Warnings *warnings)
{
    check_object(features, "features");
    for (const Node &feature : features.children)
        read_feature(feature, document, warnings);
}

void
add_feature(const std::string &name, Feature feature, Document *document)
{
    auto [existing, is_new] = document->features.try_emplace(name, feature);
    if (is_new) {
        document->entitlement_count += feature.limits.size();
        if (document->entitlement_count > max_entitlements)
            refuse(feature.where, "the features have more than 100000 limits together");
        return;
    }

    Feature &first = existing->second;
    std::string_view differs = first.limits != feature.limits                     ? "limit"
                               : first.period != feature.period                   ? "period"
                               : first.warn_at != feature.warn_at                 ? "warnAt"
                               : first.message != feature.message                 ? "message"
                               : first.prompt_template != feature.prompt_template ? "prompt"
                               : first.sequence != feature.sequence               ? "prompt"
                               : first.prompt_when_reached != feature.prompt_when_reached
                                   ? "promptOn"
                                   : "";
    if (!differs.empty())
        refuse(feature.where,
               "feature " + in_quotes(name) + " has another " + std::string(differs) + " at " +
                   describe(first.where),
               "Make both the same to share one counter, or name them apart with \"feature\".");
    first.endpoints.merge(feature.endpoints);
}

} // namespace skene
