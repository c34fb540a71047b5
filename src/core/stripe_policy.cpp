/*
 * stripe_policy.cpp: Stripe's answers, judged.
 *
 * Invariant: as for Resend. Stripe keeps the first result under a key, failures (500)
 * included, so an answer that repeats itself ends when the key would be forgotten.
 */
#include "core/answer.hpp"

#include <nlohmann/json.hpp>

namespace skene
{

namespace
{

/* Write "status type code: message". */
void
describe(Delivery *delivery, const HttpResponse &response, const nlohmann::json &body)
{
    std::string text = "HTTP " + std::to_string(response.status);
    auto error = body.is_object() ? body.find("error") : body.end();
    if (response.status < 400)
        text += " is no answer of Stripe's (is the base URL right?)";
    if (error != body.end() && error->is_object()) {
        for (const char *name : {"type", "code"}) {
            std::string value = text_field(*error, name);
            if (!value.empty())
                text += " " + value;
        }
        text += ": " + text_field(*error, "message");
    } else if (response.body_size > 0) {
        text += ": " + std::string(response.body, std::min<size_t>(response.body_size, 120));
    }
    write_error(delivery->error, text);
}

/* The verdict on a refusal, status >= 400. */
Verdict
judge_refusal(const HttpResponse &response, bool is_json)
{
    int32_t status = response.status;
    if (status == 429)
        return Verdict::wait; /* their own library gives up here, but we have time */
    if (response.advice.should_retry >= 0)
        return response.advice.should_retry ? Verdict::retry : Verdict::bury;
    if (status >= 500 || status == 408 || status == 409 || status == 425)
        return Verdict::retry;
    if (status == 401 || status == 403 || status == 407 || !is_json)
        return Verdict::halt; /* the key, or not Stripe at all */
    return Verdict::bury;
}

} // namespace

Delivery
judge_stripe(const HttpResponse &response, int32_t attempts, double random) noexcept
try {
    if (response.outcome != HttpOutcome::answered)
        return judge_silence(response, attempts, random);
    nlohmann::json body = read_body(response);
    int32_t status = response.status;
    Delivery delivery;

    if (status >= 400)
        delivery.verdict = judge_refusal(response, body.is_object());
    else if (status >= 200 && status < 300 && body.is_object())
        delivery.verdict = Verdict::sent;
    else
        delivery.verdict = Verdict::halt;
    complete(&delivery, response, attempts, random, config_wait_s);
    if (delivery.verdict == Verdict::sent)
        copy_id(delivery.provider_id, text_field(body, "id"));
    else
        describe(&delivery, response, body);
    return delivery;
} catch (...) {
    return judge_silence(response, attempts, random);
}

} // namespace skene
