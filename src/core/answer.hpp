/*
 * answer.hpp: what all providers' answers have in common: a body that may be anything,
 * an error to write down, and how long to wait.
 */
#pragma once

#include "core/delivery_policy.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace skene
{

constexpr int64_t config_wait_s = 5 * 60;     /* somebody has to mend something */
constexpr int64_t longest_heeded_s = 60 * 60; /* of a Retry-After with an error of the moment */
constexpr int64_t longest_pause_s = 60;       /* when asked for a pause, but not how long */

/* The body as JSON; discarded when it is none. */
nlohmann::json read_body(const HttpResponse &response);

/* One string field of an object, empty when absent or of another type. */
std::string text_field(const nlohmann::json &object, const char *key);

/* Seconds before the next attempt: 2, 4, 8 ... 900, of which a random half is cut. */
int64_t backoff(int32_t attempts, double random, int64_t retry_after_s);

/* Write an error in printable ASCII, which fits any database encoding, cut to size. */
void write_error(char (&error)[256], std::string_view text);

/* Keep the id of something accepted, if it looks like one. */
void copy_id(char (&provider_id)[128], const std::string &id);

/* Judge a response without a status: refused connections, timeouts, broken answers. */
Delivery judge_silence(const HttpResponse &response, int32_t attempts, double random) noexcept;

/*
 * The rest of the judgement: how long to wait, and whether the provider is failing.
 * pause_s is how long a halt lasts that does not say it.
 */
void complete(Delivery *delivery, const HttpResponse &response, int32_t attempts, double random,
              int64_t pause_s);

} // namespace skene
