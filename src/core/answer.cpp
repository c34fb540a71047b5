/*
 * answer.cpp: reading, describing and waiting, for every provider alike.
 */
#include "core/answer.hpp"

#include "core/json_text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace skene
{

namespace
{

constexpr int64_t first_wait_s = 2;
constexpr int64_t longest_wait_s = 15 * 60;

} // namespace

nlohmann::json
read_body(const HttpResponse &response)
{
    nlohmann::json body;
    std::string_view text(response.body ? response.body : "", response.body_size);
    if (read_json(text, &body) != JsonVerdict::ok)
        body = nlohmann::json::value_t::discarded;
    return body;
}

std::string
text_field(const nlohmann::json &object, const char *key)
{
    if (!object.is_object())
        return "";
    auto field = object.find(key);
    return field != object.end() && field->is_string() ? field->get<std::string>() : "";
}

int64_t
backoff(int32_t attempts, double random, int64_t retry_after_s)
{
    int32_t doublings = std::clamp(attempts, 1, 16) - 1;
    int64_t wait = std::min(first_wait_s << doublings, longest_wait_s);
    if (!(random >= 0 && random < 1))
        random = 0.5;
    wait = static_cast<int64_t>(std::ceil(static_cast<double>(wait) * (0.5 + random / 2)));
    return std::max(wait, std::min(retry_after_s, longest_heeded_s));
}

void
write_error(char (&error)[256], std::string_view text)
{
    size_t size = 0;
    bool gap = true; /* a run of anything else becomes one space, none at the start */
    for (char c : text) {
        if (size + 1 >= sizeof error)
            break;
        bool printable = c > ' ' && c <= '~';
        if (printable || !gap)
            error[size++] = printable ? c : ' ';
        gap = !printable;
    }
    if (size > 0 && error[size - 1] == ' ')
        size--;
    error[size] = '\0';
}

void
copy_id(char (&provider_id)[128], const std::string &id)
{
    constexpr const char *allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    if (id.size() >= sizeof provider_id || id.find_first_not_of(allowed) != std::string::npos)
        return;
    std::copy(id.begin(), id.end(), provider_id);
    provider_id[id.size()] = '\0';
}

Delivery
judge_silence(const HttpResponse &response, int32_t attempts, double random) noexcept
{
    Delivery delivery;
    delivery.uncertain = response.outcome != HttpOutcome::not_sent;
    delivery.failing = true;
    delivery.wait_s = backoff(attempts, random, response.advice.retry_after_s);
    std::snprintf(delivery.error, sizeof delivery.error, "%s", response.error);
    return delivery;
}

void
complete(Delivery *delivery, const HttpResponse &response, int32_t attempts, double random,
         int64_t pause_s)
{
    int64_t retry_after_s = response.advice.retry_after_s;
    switch (delivery->verdict) {
    case Verdict::retry:
        delivery->failing = response.status >= 500 || response.status == 408;
        /* a server that fails may have done its work before */
        delivery->uncertain = delivery->failing;
        delivery->wait_s = backoff(attempts, random, retry_after_s);
        break;
    case Verdict::wait:
        delivery->wait_s = retry_after_s >= 0
                               ? std::clamp<int64_t>(retry_after_s, 1, longest_heeded_s)
                               : std::min(backoff(attempts, random, -1), longest_pause_s);
        break;
    case Verdict::halt:
        /* what it asks for counts, but not if it is hasty */
        delivery->wait_s = retry_after_s < 0 ? pause_s : std::max(config_wait_s, retry_after_s);
        /* a stranger said "fine": perhaps a proxy that has sent it on */
        delivery->uncertain = response.status < 300;
        break;
    default:
        break;
    }
    /* this copy was not accepted, but perhaps the one before */
    delivery->uncertain |= response.resent && delivery->verdict != Verdict::sent;
}

} // namespace skene
