/*
 * delivery_policy.cpp: Resend's answers, judged.
 *
 * Invariant: a message is "dead" only when the same bytes can never be accepted,
 * and "sent" only when Resend said so. Doubt is a retry: the idempotency key makes
 * that safe for as long as Resend remembers it.
 */
#include "core/delivery_policy.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

namespace skene
{

namespace
{

constexpr int64_t first_wait_s = 2;
constexpr int64_t longest_wait_s = 15 * 60;
constexpr int64_t config_wait_s = 5 * 60; /* somebody has to mend something */
constexpr int64_t quota_wait_s = 24 * 3600;

/* What Resend wrote in the body; empty where it is not JSON, or says nothing. */
struct Answer {
    bool is_json = false;
    std::string id;
    std::string name;
    std::string message;
};

/* One string field of an object, empty when absent or of another type. */
std::string
text_field(const nlohmann::json &object, const char *key)
{
    auto field = object.find(key);
    return field != object.end() && field->is_string() ? field->get<std::string>() : "";
}

/* Read the body, which may come from a proxy and be anything. */
Answer
read_answer(std::string_view body)
{
    Answer answer;
    auto json = nlohmann::json::parse(body.begin(), body.end(), nullptr, false);
    answer.is_json = !json.is_discarded();
    if (json.is_object()) {
        answer.id = text_field(json, "id");
        answer.name = text_field(json, "name");
        answer.message = text_field(json, "message");
    }
    return answer;
}

/* Seconds before the next attempt: 2, 4, 8 ... 900, of which a random half is cut. */
int64_t
backoff(int32_t attempts, double random, int64_t retry_after_s)
{
    int32_t doublings = std::clamp(attempts, 1, 16) - 1;
    int64_t wait = std::min(first_wait_s << doublings, longest_wait_s);
    if (!(random >= 0 && random < 1))
        random = 0.5;
    wait = static_cast<int64_t>(std::ceil(static_cast<double>(wait) * (0.5 + random / 2)));
    return std::max(wait, retry_after_s);
}

/* Write "status name: message" in printable ASCII, which fits any database encoding. */
void
describe(Delivery *delivery, int32_t status, const Answer &answer, std::string_view body)
{
    std::string text = "HTTP " + std::to_string(status);
    if (status < 400)
        text += " is no answer of Resend's (is the base URL right?)";
    if (!answer.name.empty())
        text += " " + answer.name;
    if (!answer.message.empty())
        text += ": " + answer.message;
    else if (answer.name.empty() && !body.empty())
        text += ": " + std::string(body.substr(0, 120));

    size_t size = 0;
    bool gap = false; /* a run of anything else becomes one space */
    for (char c : text) {
        if (size + 1 >= sizeof delivery->error)
            break;
        bool printable = c > ' ' && c <= '~';
        if (printable || !gap)
            delivery->error[size++] = printable ? c : ' ';
        gap = !printable;
    }
    if (size > 0 && delivery->error[size - 1] == ' ')
        size--;
    delivery->error[size] = '\0';
}

/* Copy the id of an accepted message, if it looks like one. */
void
copy_id(Delivery *delivery, const std::string &id)
{
    constexpr const char *allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    if (id.size() < sizeof delivery->provider_id &&
        id.find_first_not_of(allowed) == std::string::npos)
        std::copy(id.begin(), id.end(), delivery->provider_id);
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
                   : Verdict::retry;
    if (status >= 500 || status == 408 || status == 425)
        return Verdict::retry;
    if (answer.name == "invalid_from_address" || answer.name == "invalid_idempotency_key")
        return Verdict::dead;
    if (status == 401 || status == 402 || status == 403 || status == 407 || blames_key(answer))
        return Verdict::halt;
    if (!answer.is_json && (status == 404 || status == 405))
        return Verdict::halt; /* not Resend: the base URL is wrong */
    return Verdict::dead;
}

/* How long to leave the provider alone; a Retry-After counts, but not a hasty one. */
int64_t
halt_time(int32_t status, int64_t retry_after_s)
{
    if (retry_after_s < 0)
        return status == 429 ? quota_wait_s : config_wait_s;
    return std::max(config_wait_s, retry_after_s);
}

/* Judge a response that carries a status. */
Delivery
judge_answer(const HttpResponse &response, int64_t retry_wait_s)
{
    std::string_view body(response.body ? response.body : "", response.body_size);
    Answer answer = read_answer(body);
    int32_t status = response.status;
    Delivery delivery;

    if (status >= 400)
        delivery.verdict = judge_refusal(status, answer);
    else if (status >= 200 && status < 300 && answer.is_json)
        delivery.verdict = Verdict::sent;
    else /* a redirect, or the page of a stranger: asked in the wrong place */
        delivery.verdict = Verdict::halt;

    if (delivery.verdict == Verdict::retry)
        delivery.wait_s = retry_wait_s;
    else if (delivery.verdict == Verdict::halt)
        delivery.wait_s = halt_time(status, response.retry_after_s);

    if (status < 300 && delivery.verdict == Verdict::sent)
        copy_id(&delivery, answer.id);
    else
        describe(&delivery, status, answer, body);
    return delivery;
}

} // namespace

/* See delivery_policy.hpp. */
Delivery
judge_resend(const HttpResponse &response, int32_t attempts, double random) noexcept
{
    int64_t retry_wait_s = backoff(attempts, random, response.retry_after_s);
    try {
        if (response.outcome == HttpOutcome::answered)
            return judge_answer(response, retry_wait_s);
    } catch (...) {
        /* Out of memory: what the answer said will be said again. */
    }
    Delivery delivery;
    delivery.wait_s = retry_wait_s;
    std::snprintf(delivery.error, sizeof delivery.error, "%s", response.error);
    return delivery;
}

} // namespace skene
