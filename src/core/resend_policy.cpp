/*
 * resend_policy.cpp: Resend's answers, judged.
 *
 * Invariant: a message is buried only when the same bytes can never be accepted, and
 * "sent" only when Resend said so. Doubt is a retry: the idempotency key makes that safe
 * for as long as Resend remembers it.
 */
#include "core/answer.hpp"
#include "core/json_text.hpp"

#include <nlohmann/json.hpp>

namespace skene
{

namespace
{

constexpr int64_t quota_wait_s = 24 * 3600;

/* What Resend wrote in the body; empty where it is not JSON, or says nothing. */
struct Answer {
    bool is_json = false;
    std::string name;
    std::string message;
};

/* Write "status name: message". */
void
describe(Delivery *delivery, const HttpResponse &response, const Answer &answer)
{
    std::string text = "HTTP " + std::to_string(response.status);
    if (response.status < 400)
        text += " is no answer of Resend's (is the base URL right?)";
    if (!answer.name.empty())
        text += " " + answer.name;
    if (!answer.message.empty())
        text += ": " + answer.message;
    else if (answer.name.empty() && response.body_size > 0)
        text += ": " + std::string(response.body, std::min<size_t>(response.body_size, 120));
    write_error(delivery->error, text);
}

/* Does this refusal blame the key? Resend also says so with name validation_error. */
bool
blames_key(const Answer &answer)
{
    return answer.name.find("api_key") != std::string::npos ||
           answer.message.find("API key") != std::string::npos;
}

/* The verdict on a refusal, status >= 400. */
Verdict
judge_refusal(int32_t status, const Answer &answer)
{
    if (status == 409)
        /* The key was used for other bytes: a mail was accepted under it before. */
        return answer.name == "invalid_idempotent_request" ? Verdict::sent : Verdict::retry;
    if (status == 429)
        return answer.name == "daily_quota_exceeded" || answer.name == "monthly_quota_exceeded"
                   ? Verdict::halt
                   : Verdict::wait;
    if (status >= 500 || status == 408 || status == 425)
        return Verdict::retry;
    if (answer.name == "invalid_from_address" || answer.name == "invalid_idempotency_key")
        return Verdict::bury;
    if (status == 401 || status == 402 || status == 403 || status == 407 || blames_key(answer))
        return Verdict::halt;
    if (!answer.is_json && (status == 404 || status == 405))
        return Verdict::halt; /* not Resend: the base URL is wrong */
    return Verdict::bury;
}

/* Judge a response that carries a status; *body receives what it says. */
Delivery
judge_answer(const HttpResponse &response, int32_t attempts, double random, nlohmann::json *body)
{
    *body = read_body(response);
    Answer answer{!body->is_discarded(), text_field(*body, "name"), text_field(*body, "message")};
    int32_t status = response.status;
    Delivery delivery;

    if (status >= 400)
        delivery.verdict = judge_refusal(status, answer);
    else if (status >= 200 && status < 300 && answer.is_json)
        delivery.verdict = Verdict::sent;
    else /* a redirect, or the page of a stranger: asked in the wrong place */
        delivery.verdict = Verdict::halt;
    complete(&delivery, response, attempts, random, status == 429 ? quota_wait_s : config_wait_s);
    /* another request under this key is being worked on */
    delivery.uncertain |= answer.name == "concurrent_idempotent_requests";
    if (delivery.verdict != Verdict::sent || status >= 300)
        describe(&delivery, response, answer);
    return delivery;
}

/* Tell the items of an accepted batch apart: ids are given for those without an error only. */
void
sort_items(const nlohmann::json &body, BatchItem *items, size_t item_count)
{
    auto errors = body.is_object() ? body.find("errors") : body.end();
    if (errors != body.end() && errors->is_array()) {
        for (const nlohmann::json &error : *errors) {
            auto index = error.is_object() ? error.find("index") : error.end();
            if (index == error.end() || !index->is_number_unsigned() ||
                index->get<uint64_t>() >= item_count)
                continue;
            BatchItem &item = items[index->get<size_t>()];
            item.refused = true;
            write_error(item.error, "refused in a batch: " + text_field(error, "message"));
        }
    }
    size_t taken = 0;
    for (size_t i = 0; i < item_count; i++)
        taken += !items[i].refused;

    auto data = body.is_object() ? body.find("data") : body.end();
    bool listed = data != body.end() && data->is_array();
    size_t place = 0;
    for (size_t i = 0; i < item_count; i++) {
        if (items[i].refused)
            continue;
        if (listed && data->size() == taken)
            copy_id(items[i].provider_id, text_field((*data)[place++], "id"));
        else
            write_error(items[i].error, "accepted in a batch, whose answer does not tell its id");
    }
}

} // namespace

Delivery
judge_resend(const HttpResponse &response, int32_t attempts, double random) noexcept
try {
    if (response.outcome != HttpOutcome::answered)
        return judge_silence(response, attempts, random);
    nlohmann::json body;
    Delivery delivery = judge_answer(response, attempts, random, &body);
    if (delivery.verdict == Verdict::sent && response.status < 300)
        copy_id(delivery.provider_id, text_field(body, "id"));
    return delivery;
} catch (...) {
    /* Out of memory: what the answer said will be said again. */
    return judge_silence(response, attempts, random);
}

Delivery
judge_resend_batch(const HttpResponse &response, int32_t attempts, double random, BatchItem *items,
                   int item_count) noexcept
try {
    if (response.outcome != HttpOutcome::answered)
        return judge_silence(response, attempts, random);
    nlohmann::json body;
    Delivery delivery = judge_answer(response, attempts, random, &body);
    for (int i = 0; i < item_count; i++)
        items[i] = BatchItem{};
    if (delivery.verdict == Verdict::sent && response.status < 300)
        sort_items(body, items, static_cast<size_t>(item_count));
    else if (delivery.verdict == Verdict::sent)
        for (int i = 0; i < item_count; i++)
            write_error(items[i].error, delivery.error);
    return delivery;
} catch (...) {
    return judge_silence(response, attempts, random);
}

bool
fits_resend_batch(std::string_view body) noexcept
try {
    nlohmann::json mail;
    return read_json(body, &mail) == JsonVerdict::ok && mail.is_object() &&
           !mail.contains("attachments") && !mail.contains("scheduled_at");
} catch (...) {
    return false;
}

} // namespace skene
