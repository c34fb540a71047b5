/*
 * retry_after.hpp: the Retry-After header of a response (RFC 9110, 10.2.3).
 */
#pragma once

#include <cstdint>
#include <string_view>

namespace skene
{

constexpr int64_t max_retry_after_s = 86400;

/*
 * Seconds to wait from now (Unix seconds) that a value asks for, at most
 * max_retry_after_s: delta-seconds or an HTTP-date. -1 when it cannot be read.
 */
int64_t parse_retry_after(std::string_view value, int64_t now) noexcept;

} // namespace skene
