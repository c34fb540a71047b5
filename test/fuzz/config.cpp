/*
 * config.cpp: fuzz target of parse_config().
 *
 * The rows of an accepted document, written out as a document again, must give the
 * same rows; a refusal must point into the text.
 */
#include "core/config.hpp"

#include "fuzz.hpp"

#include <nlohmann/json.hpp>

#include <memory>

using namespace skene;
using nlohmann::json;

namespace
{

std::unique_ptr<ConfigResult>
parse(std::string_view text)
{
    auto result = std::make_unique<ConfigResult>();
    parse_config(text, result.get());
    return result;
}

/* Is the position one of the text, or the one past a line's end? Lines end as in editors. */
bool
is_within(const ConfigProblem &problem, std::string_view text)
{
    if (problem.line == 0)
        return problem.column == 0;
    if (text.starts_with("\xEF\xBB\xBF"))
        text.remove_prefix(3);
    int line = 1;
    int columns = 1; /* of the current line, the one past its end included */
    for (size_t i = 0; i < text.size(); i++) {
        bool ends = text[i] == '\n' || (text[i] == '\r' && text.substr(i + 1, 1) != "\n");
        if (ends && line++ == problem.line)
            break;
        columns = ends ? 1 : columns + ((text[i] & 0xC0) != 0x80);
    }
    return line >= problem.line && problem.column >= 1 && problem.column <= columns;
}

/* The document that says in full what the rows say; implied plans stay unsaid. */
json
document_of(const json &rows)
{
    json document = {{"settings", json::object()}, {"templates", json::object()}};
    bool implied = rows["plans_implied"];
    if (implied || !rows["features"].empty())
        document["features"] = json::object();
    for (const json &row : implied ? json::array() : rows["plans"])
        document["plans"][row["plan"]] = {
            {"default", row["is_default"]}, {"rank", row["rank"]}, {"prices", row["prices"]}};
    for (const json &row : rows["features"]) {
        json prompt;
        if (!row["prompt_provider"].is_null())
            prompt = {{"provider", row["prompt_provider"]}, {"template", row["prompt_template"]}};
        if (!row["prompt_sequence"].is_null())
            prompt["sequence"] = row["prompt_sequence"];
        document["features"][row["feature"]] = {{"period", row["period"]},
                                                {"endpoints", row["endpoints"]},
                                                {"prompt", prompt},
                                                {"warnAt", row["warn_at"]},
                                                {"message", row["message"]},
                                                {"limit", json::object()},
                                                {"promptOn", row["prompt_on"]}};
    }
    for (const json &row : rows["entitlements"])
        document["features"][row["feature"]]["limit"][row["plan"]] = row["usage_limit"];
    for (const json &row : rows["templates"]) {
        json &all = document["templates"][row["template"]]; /* the one without locale comes first */
        json text = {{"subject", row["subject"]}, {"html", row["html"]}, {"text", row["text"]}};
        (row["locale"] == "" ? all : all["locales"][row["locale"]]) = text;
    }
    for (const json &row : rows["settings"])
        document["settings"][row["name"]] = row["value"];
    return document;
}

} // namespace

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    std::string_view text = fuzz::as_text(data, size);
    auto result = parse(text);

    for (int i = 0; i < result->warning_count; i++) {
        require(fuzz::is_message(result->warnings[i].message));
        require(is_within(result->warnings[i], text));
    }
    if (!result->ok) {
        require(result->document.data == nullptr);
        require(fuzz::is_message(result->problem.message));
        require(is_within(result->problem, text));
        return 0;
    }
    require(result->problem.message[0] == '\0');

    std::string bytes(view(result->document));
    json rows = json::parse(bytes);
    require(rows.dump() == bytes); /* sorted and compact: canonical */
    auto again = parse(document_of(rows).dump());
    require(again->ok);
    require(view(again->document) == bytes);

    free_bytes(&result->document);
    free_bytes(&again->document);
    return 0;
}
