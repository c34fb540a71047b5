/*
 * stripe_event.cpp: fuzz target of flatten_stripe_event().
 */
#include "core/stripe_event.hpp"

#include "fuzz.hpp"

#include <nlohmann/json.hpp>

#include <set>

using namespace skene;
using nlohmann::json;

namespace
{

bool
is_id(const json &value)
{
    return value.is_string() && !value.get<std::string>().empty() &&
           value.get<std::string>().size() <= 255;
}

bool
is_time(const json &value)
{
    return value.is_number_integer() && value >= 0 && value <= 253402300799;
}

/* Can PostgreSQL's jsonb hold this member as it is, without looking inside? */
bool
is_flat(const json &value)
{
    if (value.is_string())
        return value.get<std::string>().find('\0') == std::string::npos;
    return !value.is_structured() && !value.is_number_float();
}

void
check_record(const json &record)
{
    require(is_id(record["event_id"]));
    require(is_id(record["type"]));
    require(is_time(record["created"]));
    require(record["livemode"].is_boolean());
    std::string kind = record["kind"];
    require(kind == "subscription" || kind == "checkout" || kind == "other");
    for (const auto &[name, value] : record.items())
        require(name == "prices" || is_flat(value));
    if (kind == "checkout")
        require(is_id(record["session_id"]));
    if (kind != "subscription")
        return;

    require(is_id(record["subscription_id"]));
    require(is_id(record["status"]));
    std::set<std::string> seen;
    for (const json &price : record["prices"])
        require(is_id(price) && is_flat(price) && seen.insert(price).second);
    for (const char *name :
         {"current_period_start", "current_period_end", "cancel_at", "ended_at", "trial_end"})
        require(record[name].is_null() || is_time(record[name]));
}

} // namespace

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    StripeEvent event;
    flatten_stripe_event(fuzz::as_text(data, size), "skene_user_id", &event);
    if (event.verdict != EventVerdict::ok) {
        require(event.record.data == nullptr);
        require(fuzz::is_message(event.reason));
        return 0;
    }
    json record = json::parse(view(event.record));
    require(record.dump() == view(event.record)); /* equal events give equal bytes */
    check_record(record);
    free_bytes(&event.record);
    return 0;
}
