/*
 * resend_answer.cpp: fuzz target of the judges of answers, and of parse_retry_after().
 *
 * Input: outcome and status ("answered 429"), attempts, Retry-After, body.
 */
#include "core/delivery_policy.hpp"
#include "core/retry_advice.hpp"

#include "fuzz.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

using namespace skene;

namespace
{

constexpr int64_t now = 1767225600; /* 2026-01-01 00:00:00 UTC */

int32_t
number(std::string_view digits)
{
    int32_t value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
}

/* What the provider asked for, which nobody may make longer than a day. */
int64_t
read_retry_after(std::string_view value)
{
    int64_t wait = parse_retry_after(value, now);
    require(wait >= -1 && wait <= max_retry_after_s);
    bool digits =
        !value.empty() && value.size() <= 9 && value.find_first_not_of("0123456789") == value.npos;
    require(!digits || wait == std::min<int64_t>(number(value), max_retry_after_s));
    return wait;
}

bool
is_printable(std::string_view text)
{
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

bool
allowed_wait(const Delivery &delivery, int64_t retry_after_s)
{
    switch (delivery.verdict) {
    case Verdict::sent:
    case Verdict::bury:
        return delivery.wait_s == 0;
    case Verdict::retry:
        return delivery.wait_s >= std::max<int64_t>(1, std::min<int64_t>(retry_after_s, 3600)) &&
               delivery.wait_s <= std::max<int64_t>(900, std::min<int64_t>(retry_after_s, 3600));
    case Verdict::wait:
        return delivery.wait_s >= 1 && delivery.wait_s <= 3600;
    case Verdict::halt:
        return delivery.wait_s >= std::max<int64_t>(300, retry_after_s) &&
               delivery.wait_s <= max_retry_after_s;
    }
    return false;
}

void
check(const Delivery &delivery, const HttpResponse &response)
{
    require(memchr(delivery.error, '\0', sizeof delivery.error));
    require(is_printable(delivery.error));
    require(memchr(delivery.provider_id, '\0', sizeof delivery.provider_id));
    require(is_printable(delivery.provider_id));
    require(allowed_wait(delivery, response.advice.retry_after_s));
    if (response.outcome != HttpOutcome::answered)
        require(delivery.verdict == Verdict::retry && delivery.uncertain);
    if (delivery.verdict == Verdict::sent) /* only the provider's word counts */
        require((response.status >= 200 && response.status < 300) || response.status == 409);
    if (delivery.verdict == Verdict::sent || delivery.verdict == Verdict::bury)
        require(!delivery.uncertain);
    if (delivery.provider_id[0])
        require(delivery.verdict == Verdict::sent);
}

} // namespace

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto [state, attempts, retry_after, body] = fuzz::split<4>(fuzz::as_text(data, size));

    HttpResponse response;
    if (state.starts_with("answered ")) {
        response.outcome = HttpOutcome::answered;
        response.status = number(state.substr(9));
        response.body = body.data();
        response.body_size = body.size();
        response.advice.retry_after_s = read_retry_after(retry_after);
    }
    BatchItem items[3];
    for (const Delivery &delivery :
         {judge_resend(response, number(attempts), 0.25),
          judge_stripe(response, number(attempts), 0.25),
          judge_resend_batch(response, number(attempts), 0.25, items, 3)})
        check(delivery, response);
    for (const BatchItem &item : items) {
        require(memchr(item.error, '\0', sizeof item.error));
        require(is_printable(item.error));
        require(memchr(item.provider_id, '\0', sizeof item.provider_id));
        require(is_printable(item.provider_id));
        require(!item.refused || !item.provider_id[0]);
    }
    (void) fits_resend_batch(body);
    return 0;
}
