/*
 * config_feature.hpp: a feature and what each plan gets of it.
 *
 * Features are written in two ways, under "features" and as the steps of a
 * published loop. The terms are the same in both, and are read here.
 */
#pragma once

#include "core/config_fields.hpp"

#include <map>
#include <optional>
#include <vector>

namespace skene
{

struct Plan {
    int64_t rank = 0;
    bool is_default = false;
    std::set<std::string> prices;
};

/* A message of a prompt's sequence. */
struct PromptStep {
    int64_t days = 0; /* after the prompt */
    std::string template_name;
    bool operator==(const PromptStep &) const = default;
};

struct Feature {
    Position where;
    std::string period;
    std::map<std::string, std::optional<int64_t>> limits; /* by plan; nullopt = unlimited */
    std::set<std::string> endpoints;
    std::set<int64_t> warn_at; /* per cent of the limit */
    std::optional<std::string> message;
    std::optional<std::string> prompt_template; /* none = no prompt is sent */
    std::vector<PromptStep> sequence;           /* empty = one message, at once */
    bool prompt_when_reached = false;           /* not first at a denial */
};

struct TemplateText {
    std::string subject;
    std::optional<std::string> html;
    std::optional<std::string> text;
};

struct Template {
    TemplateText text;                           /* for every other language */
    std::map<std::string, TemplateText> locales; /* by tag, such as de-AT */
};

/* All that a document says, by name; paid and other shorthands are resolved. */
struct Document {
    std::map<std::string, Plan> plans;
    bool plans_implied = false; /* free and paid, which the document did not declare */
    std::map<std::string, Template> templates;
    std::map<std::string, std::string> settings;
    std::map<std::string, Feature> features;
    size_t entitlement_count = 0; /* limits of all features together */
};

/* limit and period: fills in limits and period of feature. limit may be null, for absent. */
void read_limits(const Node *limit, const Node *period, const Document &document,
                 Warnings *warnings, Feature *feature, const std::string &name);

/* Add an endpoint, refusing a pattern that cannot match. */
void add_endpoint(Position where, const std::string &pattern, Warnings *warnings, Feature *feature);

/* warnAt, message, promptOn and the prompt: each may be null, for absent. */
void read_warn_at(const Node *warn_at, Feature *feature);
void read_prompt_on(const Node *prompt_on, Feature *feature);
void read_message(const Node *message, Feature *feature);
void read_prompt(const Node *prompt, const Document &document, Warnings *warnings,
                 Feature *feature);

/* The members of "features". */
void read_features(const Node &features, Document *document, Warnings *warnings);

/* Add a feature to the document; one that is there already must be the same but for endpoints. */
void add_feature(const std::string &name, Feature feature, Document *document);

} // namespace skene
