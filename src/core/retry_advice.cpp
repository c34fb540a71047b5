/*
 * retry_advice.cpp: both forms of Retry-After, and Stripe-Should-Retry.
 */
#include "core/retry_advice.hpp"

#include "core/characters.hpp"
#include "core/plain_text.hpp"

#include <curl/curl.h>

#include <algorithm>

namespace skene
{

namespace
{

constexpr size_t max_value_bytes = 63;

/* Cut the name off a line; false when it is another header's. */
bool
take_name(std::string_view *line, std::string_view name)
{
    if (line->size() < name.size() || !curl_strnequal(line->data(), name.data(), name.size()))
        return false;
    line->remove_prefix(name.size());
    return true;
}

} // namespace

void
read_header(std::string_view line, int64_t now, RetryAdvice *advice) noexcept
{
    if (take_name(&line, "retry-after:")) {
        advice->retry_after_s = parse_retry_after(line, now);
    } else if (take_name(&line, "stripe-should-retry:")) {
        std::string_view said = trim(line);
        advice->should_retry = said == "true" ? 1 : said == "false" ? 0 : -1;
    }
}

int64_t
parse_retry_after(std::string_view value, int64_t now) noexcept
{
    value = trim(value);
    if (value.empty() || value.size() > max_value_bytes)
        return -1;

    if (std::all_of(value.begin(), value.end(), is_digit)) {
        int64_t seconds = 0;
        for (char digit : value)
            seconds = std::min(seconds * 10 + (digit - '0'), max_retry_after_s);
        return seconds;
    }

    /* curl_getdate() reads almost anything; an HTTP-date begins with a day's name. */
    if (value.front() < 'A' || value.front() > 'Z')
        return -1;
    char text[max_value_bytes + 1] = {};
    value.copy(text, max_value_bytes);
    time_t when = curl_getdate(text, nullptr);
    if (when == -1)
        return -1;
    int64_t wait;
    if (__builtin_sub_overflow(static_cast<int64_t>(when), now, &wait))
        return max_retry_after_s;
    return std::clamp<int64_t>(wait, 0, max_retry_after_s);
}

} // namespace skene
