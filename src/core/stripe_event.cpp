/*
 * stripe_event.cpp: Stripe's objects, of any API version, as one flat record.
 *
 * Invariant: the record holds only what was there and made sense. A field that
 * names somebody or something and is of the wrong type refuses the whole event; a
 * number or time that is merely unusable becomes null.
 */
#include "core/stripe_event.hpp"

#include "core/json_text.hpp"
#include "core/message.hpp"

#include <algorithm>
#include <new>
#include <optional>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

namespace skene
{

namespace
{

using nlohmann::json;

constexpr size_t max_id_bytes = 255;
constexpr int64_t max_time = 253402300799; /* 9999-12-31 23:59:59 UTC */

/* Why an event was refused; thrown, and caught at the boundary. */
struct Refusal {
    std::string reason;
};

/* A value of the event and the way to it; value is null where JSON has null or nothing. */
struct Field {
    const json *value;
    std::string path;

    explicit operator bool() const { return value != nullptr; }
};

[[noreturn]] void
refuse(const Field &field, const char *complaint)
{
    throw Refusal{field.path + " " + complaint};
}

/* A member of an object; nothing has no members. */
Field
member(const Field &object, const std::string &name)
{
    Field field = {nullptr, object.path.empty() ? name : object.path + "." + name};
    if (!object)
        return field;
    if (!object.value->is_object())
        refuse(object, "is not an object");
    auto found = object.value->find(name);
    if (found != object.value->end() && !found->is_null())
        field.value = &*found;
    return field;
}

/* A text; an empty one says nothing. */
std::optional<std::string>
text(const Field &field)
{
    if (!field)
        return std::nullopt;
    if (!field.value->is_string())
        refuse(field, "is not a string");
    const std::string &string = field.value->get_ref<const std::string &>();
    if (string.find('\0') != string.npos)
        refuse(field, "contains a NUL character");
    return string.empty() ? std::nullopt : std::optional(string);
}

/* A text that names something is of bounded length. */
std::optional<std::string>
id(const Field &field)
{
    std::optional<std::string> string = text(field);
    if (string && string->size() > max_id_bytes)
        refuse(field, "is longer than 255 bytes");
    return string;
}

std::string
required_id(const Field &field)
{
    std::optional<std::string> string = id(field);
    if (!string)
        refuse(field, "is missing or empty");
    return *string;
}

/* The id of another object, which may stand there expanded. */
std::optional<std::string>
reference(const Field &field)
{
    return field && field.value->is_object() ? id(member(field, "id")) : id(field);
}

bool
flag(const Field &field)
{
    if (field && !field.value->is_boolean())
        refuse(field, "is not a boolean");
    return field && field.value->get<bool>();
}

/* Nothing for fractions and for what 64 bits do not hold. */
std::optional<int64_t>
integer(const Field &field)
{
    if (!field)
        return std::nullopt;
    if (!field.value->is_number())
        refuse(field, "is not a number");
    if (!field.value->is_number_integer() ||
        (field.value->is_number_unsigned() && field.value->get<uint64_t>() > INT64_MAX))
        return std::nullopt;
    return field.value->get<int64_t>();
}

/* Unix seconds that PostgreSQL and everybody else can write as a date. */
std::optional<int64_t>
unix_time(const Field &field)
{
    std::optional<int64_t> seconds = integer(field);
    return seconds && *seconds >= 0 && *seconds <= max_time ? seconds : std::nullopt;
}

template <typename Value>
json
or_null(const std::optional<Value> &value)
{
    return value ? json(*value) : json(nullptr);
}

/* a + b x c; nothing when one is unknown or the result is too large. */
std::optional<int64_t>
add_product(std::optional<int64_t> a, std::optional<int64_t> b, std::optional<int64_t> c)
{
    int64_t product;
    int64_t sum;
    if (!a || !b || !c || __builtin_mul_overflow(*b, *c, &product) ||
        __builtin_add_overflow(*a, product, &sum))
        return std::nullopt;
    return sum;
}

/* Give target the first value that is known. */
template <typename Value>
void
fill(std::optional<Value> *target, const std::optional<Value> &value)
{
    if (!*target)
        *target = value;
}

/* What the items of a subscription come to. */
struct Items {
    json prices = json::array(); /* every name a plan could be known by, in order */
    std::set<std::string> seen;  /* the same, to add each once */
    std::optional<int64_t> amount = 0;
    std::optional<int64_t> quantity = 0;
    bool counted = false; /* has any item a quantity? metered ones have none */
    std::optional<int64_t> period_start;
    std::optional<int64_t> period_end;
    std::optional<std::string> currency;
    std::optional<std::string> interval;
};

void
add_name(const std::optional<std::string> &name, Items *items)
{
    if (name && items->seen.insert(*name).second)
        items->prices.push_back(*name);
}

/* Count one item in; before 2020 its price was called plan, with other names inside. */
void
add_item(const Field &item, Items *items)
{
    Field price = member(item, "price");
    Field plan = member(item, "plan");
    bool legacy = !price;
    if (legacy)
        price = plan;
    Field recurring = legacy ? price : member(price, "recurring");
    std::optional<int64_t> quantity = integer(member(item, "quantity"));

    add_name(id(member(price, "id")), items);
    add_name(id(member(price, "lookup_key")), items);
    add_name(reference(member(price, "product")), items);
    if (text(member(recurring, "usage_type")) == "metered")
        items->amount = std::nullopt;
    items->amount = add_product(items->amount, quantity,
                                integer(member(price, legacy ? "amount" : "unit_amount")));
    if (quantity) {
        items->quantity = add_product(items->quantity, quantity, 1);
        items->counted = true;
    }
    fill(&items->currency, id(member(price, "currency")));
    fill(&items->interval, id(member(recurring, "interval")));

    std::optional<int64_t> start = unix_time(member(item, "current_period_start"));
    std::optional<int64_t> end = unix_time(member(item, "current_period_end"));
    if (start)
        items->period_start = std::min(*start, items->period_start.value_or(*start));
    if (end)
        items->period_end = std::max(*end, items->period_end.value_or(*end));
}

Items
read_items(const Field &list)
{
    Items items;
    Field data = member(list, "data");
    if (data && !data.value->is_array())
        refuse(data, "is not an array");
    size_t count = data ? data.value->size() : 0;
    for (size_t i = 0; i < count; i++) {
        Field item = {&(*data.value)[i], data.path + "[" + std::to_string(i) + "]"};
        add_item(item, &items);
    }
    /* a sum is known only when all its parts are */
    if (count == 0 || flag(member(list, "has_more")))
        items.amount = std::nullopt;
    if (!items.counted)
        items.quantity = std::nullopt;
    return items;
}

/* An object must be what the event's type promises. */
void
check_object(const Field &object, const char *kind)
{
    if (!object)
        refuse(object, "is missing");
    Field name = member(object, "object");
    if (name && text(name) != kind)
        throw Refusal{name.path + " is not \"" + kind + "\""};
}

void
read_subscription(const Field &object, const std::string &type, const std::string &customer_key,
                  json *record)
{
    check_object(object, "subscription");
    Items items = read_items(member(object, "items"));
    /* until 2025-03-31 the period was the subscription's, not its items' */
    fill(&items.period_start, unix_time(member(object, "current_period_start")));
    fill(&items.period_end, unix_time(member(object, "current_period_end")));
    std::optional<int64_t> cancel_at = unix_time(member(object, "cancel_at"));
    if (flag(member(object, "cancel_at_period_end")))
        fill(&cancel_at, items.period_end);
    std::optional<std::string> currency = id(member(object, "currency"));
    fill(&currency, items.currency);
    std::string status = required_id(member(object, "status"));
    Field pause = member(object, "pause_collection");
    if (pause && !pause.value->is_object())
        refuse(pause, "is not an object");

    json &out = *record;
    out["kind"] = "subscription";
    out["subscription_id"] = required_id(member(object, "id"));
    out["stripe_customer"] = or_null(reference(member(object, "customer")));
    out["user_id"] = or_null(id(member(member(object, "metadata"), customer_key)));
    out["status"] = type == "customer.subscription.deleted" ? "canceled" : status;
    out["prices"] = items.prices;
    out["amount"] = or_null(items.amount);
    out["currency"] = or_null(currency);
    out["interval"] = or_null(items.interval);
    out["quantity"] = or_null(items.quantity);
    out["current_period_start"] = or_null(items.period_start);
    out["current_period_end"] = or_null(items.period_end);
    out["cancel_at"] = or_null(cancel_at);
    out["ended_at"] = or_null(unix_time(member(object, "ended_at")));
    out["trial_end"] = or_null(unix_time(member(object, "trial_end")));
    out["pause_collection"] = static_cast<bool>(pause);
}

void
read_checkout(const Field &object, const std::string &customer_key, json *record)
{
    check_object(object, "checkout.session");
    std::optional<std::string> email = text(member(member(object, "customer_details"), "email"));
    fill(&email, text(member(object, "customer_email")));

    json &out = *record;
    out["kind"] = "checkout";
    out["session_id"] = required_id(member(object, "id"));
    out["mode"] = required_id(member(object, "mode"));
    out["payment_status"] = required_id(member(object, "payment_status"));
    out["stripe_customer"] = or_null(reference(member(object, "customer")));
    out["subscription_id"] = or_null(reference(member(object, "subscription")));
    out["client_reference_id"] = or_null(id(member(object, "client_reference_id")));
    out["user_id"] = or_null(id(member(member(object, "metadata"), customer_key)));
    out["amount"] = or_null(integer(member(object, "amount_total")));
    out["currency"] = or_null(id(member(object, "currency")));
    out["email"] = or_null(email);
}

/* Is this one of the checkout events that say whether somebody paid? */
bool
is_checkout(const std::string &type)
{
    return type == "checkout.session.completed" ||
           type == "checkout.session.async_payment_succeeded" ||
           type == "checkout.session.async_payment_failed";
}

/* Flatten a snapshot event. */
json
read_event(const Field &event, const std::string &customer_key)
{
    if (text(member(event, "object")).value_or("event") != "event")
        throw Refusal{"object is not \"event\""};
    std::string type = required_id(member(event, "type"));
    json record;
    record["event_id"] = required_id(member(event, "id"));
    record["type"] = type;
    Field created = member(event, "created");
    record["created"] = or_null(unix_time(created));
    if (record["created"].is_null())
        refuse(created, created ? "is not a time in Unix seconds" : "is missing");
    Field livemode = member(event, "livemode");
    if (!livemode) /* test and live must never mix, so neither may be assumed */
        refuse(livemode, "is missing");
    record["livemode"] = flag(livemode);
    record["api_version"] = or_null(id(member(event, "api_version")));

    Field object = member(member(event, "data"), "object");
    record["kind"] = "other";
    record["object_id"] = or_null(id(member(object, "id")));
    if (type.starts_with("customer.subscription."))
        read_subscription(object, type, customer_key, &record);
    else if (is_checkout(type))
        read_checkout(object, customer_key, &record);
    return record;
}

void
flatten(std::string_view payload, std::string_view customer_key, StripeEvent *event)
{
    json value;
    switch (read_json(payload, &value)) {
    case JsonVerdict::ok:
        break;
    case JsonVerdict::not_json:
        event->verdict = EventVerdict::not_json;
        throw Refusal{"the payload is not JSON in UTF-8"};
    case JsonVerdict::too_deep:
        throw Refusal{"the payload is nested too deeply"};
    }
    if (!value.is_object())
        throw Refusal{"the payload is not an object"};
    Field root = {&value, ""};
    Field kind = member(root, "object");
    if (kind && *kind.value == "v2.core.event") {
        event->verdict = EventVerdict::thin_event;
        throw Refusal{"a thin event names its object but does not contain it"};
    }
    std::string record = read_event(root, std::string(customer_key)).dump();
    event->verdict =
        copy_bytes(record, &event->record) ? EventVerdict::ok : EventVerdict::out_of_memory;
}

} // namespace

void
flatten_stripe_event(std::string_view payload, std::string_view customer_key,
                     StripeEvent *event) noexcept
{
    *event = StripeEvent{};
    try {
        flatten(payload, customer_key, event);
    } catch (const Refusal &refusal) {
        copy_message(event->reason, refusal.reason);
    } catch (const std::bad_alloc &) {
        event->verdict = EventVerdict::out_of_memory;
    } catch (const std::exception &error) {
        /* no other exception is known to get here */
        event->verdict = EventVerdict::not_an_event;
        copy_message(event->reason, error.what());
    }
    if (event->verdict == EventVerdict::out_of_memory)
        copy_message(event->reason, "out of memory");
}

} // namespace skene
