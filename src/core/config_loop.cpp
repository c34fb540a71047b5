/*
 * config_loop.cpp: each step of a loop is a feature with one endpoint.
 *
 * Steps that share a feature share its counter, so they must agree on everything
 * but the endpoint. "opinion" and "recovery" are accepted and change nothing:
 * recovery.retries speaks of the blocked action, which is never repeated, and not
 * of the delivery of mail.
 */
#include "core/config_loop.hpp"

#include "core/characters.hpp"

#include <algorithm>

namespace skene
{

namespace
{

constexpr std::string_view loop_keys[] = {"type", "opinion", "steps", "recovery"};
constexpr std::string_view recovery_keys[] = {"retries"};
constexpr std::string_view step_keys[] = {"trigger", "condition", "action", "feature"};
constexpr std::string_view trigger_keys[] = {"type", "endpoint", "method"};
constexpr std::string_view condition_keys[] = {"type", "limit", "period", "warnAt"};
constexpr std::string_view action_keys[] = {"type", "message", "upgradePrompt", "promptOn"};

/* The segments of the path that are not a star, joined: api_features. */
std::string
name_from_endpoint(std::string_view endpoint)
{
    std::string name;
    while (!endpoint.empty()) {
        size_t slash = std::min(endpoint.find('/'), endpoint.size());
        std::string_view segment = endpoint.substr(0, slash);
        endpoint.remove_prefix(std::min(slash + 1, endpoint.size()));
        if (segment.empty() || segment == "*")
            continue;
        if (!name.empty())
            name += '_';
        for (char c : segment)
            name += is_ascii_letter(c) || is_digit(c) ? c : '_';
    }
    return name;
}

/* The step's own name for its feature, or one made from the endpoint. */
std::string
feature_name(const Node &step, const Node &endpoint)
{
    if (const Node *node = step.find("feature")) {
        check_name(node->where, "feature", string_of(*node, "feature"));
        return node->text;
    }
    std::string name = name_from_endpoint(endpoint.text);
    if (!valid_name(name))
        refuse(endpoint.where, "endpoint " + in_quotes(endpoint.text) + " makes no feature name",
               "Name the feature: add \"feature\" to the step, beside \"trigger\".");
    return name;
}

/* "post" and "/api/export" → "POST /api/export" */
std::string
pattern_of(const Node &trigger)
{
    std::string pattern;
    if (const Node *method = trigger.find("method")) {
        pattern = string_of(*method, "method");
        for (char &c : pattern) {
            if (c >= 'a' && c <= 'z')
                c = static_cast<char>(c - 'a' + 'A');
            else if (!is_ascii_letter(c) && pattern != "*")
                refuse(method->where, "invalid method " + in_quotes(method->text));
        }
        pattern += ' ';
    }
    return pattern + string_of(required(trigger, "endpoint", "trigger"), "endpoint");
}

void
read_step(const Node &step, Document *document, Warnings *warnings)
{
    check_keys(step, "step", step_keys);
    const Node &trigger = required(step, "trigger", "step");
    check_keys(trigger, "trigger", trigger_keys);
    check_constant(trigger, "type", "api", "trigger");
    const Node &condition = required(step, "condition", "step");
    check_keys(condition, "condition", condition_keys);
    check_constant(condition, "type", "usage", "condition");
    const Node &action = required(step, "action", "step");
    check_keys(action, "action", action_keys);
    check_constant(action, "type", "block", "action");

    Feature feature;
    feature.where = step.where;
    std::string pattern = pattern_of(trigger);
    const Node &endpoint = *trigger.find("endpoint");
    add_endpoint(endpoint.where, pattern, warnings, &feature);
    std::string name = feature_name(step, endpoint);
    read_limits(&required(condition, "limit", "condition"), condition.find("period"), *document,
                warnings, &feature, name);
    read_warn_at(condition.find("warnAt"), &feature);
    read_message(action.find("message"), &feature);
    read_prompt_on(action.find("promptOn"), &feature);
    read_prompt(action.find("upgradePrompt"), *document, warnings, &feature);
    add_feature(name, std::move(feature), document);
}

} // namespace

bool
looks_like_loop(const Node &node)
{
    return node.find("type") || node.find("steps");
}

void
read_loop(const Node &loop, Document *document, Warnings *warnings)
{
    check_keys(loop, "loop", loop_keys);
    check_constant(loop, "type", "freemium", "loop");
    if (const Node *opinion = loop.find("opinion"))
        string_of(*opinion, "opinion");
    if (const Node *recovery = loop.find("recovery")) {
        check_keys(*recovery, "recovery", recovery_keys);
        if (const Node *retries = recovery->find("retries"))
            whole_number_of(*retries, "retries", 0, INT32_MAX, "a whole number, 0 or more");
    }
    const Node &steps = required(loop, "steps", "loop");
    if (steps.kind != NodeKind::array || steps.children.empty())
        refuse(steps.where, "steps must be an array of at least one step");
    for (const Node &step : steps.children)
        read_step(step, document, warnings);
}

} // namespace skene
