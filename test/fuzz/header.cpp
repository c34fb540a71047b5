/*
 * header.cpp: fuzz target of read_header(), and of valid_header_value().
 *
 * Input: the lines of a response's header; each is also tried as a value of our own.
 */
#include "core/http_transfer.hpp"
#include "core/retry_advice.hpp"

#include "fuzz.hpp"

#include <algorithm>

using namespace skene;

namespace
{

constexpr int64_t now = 1767225600; /* 2026-01-01 00:00:00 UTC */

std::string
swap_case(std::string_view text)
{
    std::string result(text);
    for (char &c : result)
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            c ^= 0x20;
    return result;
}

bool
same(const RetryAdvice &a, const RetryAdvice &b)
{
    return a.retry_after_s == b.retry_after_s && a.should_retry == b.should_retry;
}

/* A name is one in any case, and says nothing of other lines. */
void
check_line(std::string_view line)
{
    RetryAdvice alone, spelled_otherwise, after_others{7, 1};
    size_t colon = std::min(line.find(':'), line.size());

    read_header(line, now, &alone);
    read_header(swap_case(line.substr(0, colon)) + std::string(line.substr(colon)), now,
                &spelled_otherwise);
    require(same(alone, spelled_otherwise));
    require(alone.retry_after_s >= -1 && alone.retry_after_s <= max_retry_after_s);
    require(alone.should_retry >= -1 && alone.should_retry <= 1);
    require(alone.retry_after_s == -1 || alone.should_retry == -1);

    read_header(line, now, &after_others);
    bool silent = same(after_others, {7, 1});
    require(silent || after_others.retry_after_s == alone.retry_after_s ||
            after_others.should_retry == alone.should_retry);
    if (same(alone, {}) && !silent) /* a value that cannot be read takes back an earlier one */
        require(after_others.retry_after_s == -1 || after_others.should_retry == -1);
}

/* What we send as a value ends no line, and is not cut by anybody. */
void
check_value(std::string_view value)
{
    if (valid_header_value(value))
        require(!value.empty() && !has_controls(value) && trim(value) == value &&
                std::all_of(value.begin(), value.end(), [](char c) { return c >= ' '; }));
}

} // namespace

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    std::string_view lines = fuzz::as_text(data, size);
    RetryAdvice advice;

    while (!lines.empty()) {
        std::string_view line = lines.substr(0, std::min(lines.find('\n'), lines.size() - 1) + 1);
        lines.remove_prefix(line.size());
        check_line(line);
        check_value(line);
        read_header(line, now, &advice);
    }
    require(advice.retry_after_s >= -1 && advice.retry_after_s <= max_retry_after_s);
    return 0;
}
