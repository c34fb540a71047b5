// stripe_event_test.cpp: Stripe's events, old and new, whole and broken.
#include "core/stripe_event.hpp"
#include "json_values.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

using namespace skene;
using nlohmann::json;
using skene::test::read_value;
using skene::test::write_value;

namespace
{

struct Outcome {
    EventVerdict verdict;
    std::string reason;
    std::string record;
};

Outcome
flatten(const std::string &payload, const std::string &customer_key = "skene_user_id")
{
    StripeEvent event;
    flatten_stripe_event(payload, customer_key, &event);
    Outcome outcome = {event.verdict, event.reason, std::string(view(event.record))};
    EXPECT_EQ(outcome.verdict == EventVerdict::ok, outcome.reason.empty()) << outcome.reason;
    EXPECT_EQ(outcome.verdict == EventVerdict::ok, event.record.data != nullptr);
    free_bytes(&event.record);
    return outcome;
}

std::string
vector_text(const std::string &name)
{
    std::ifstream file(SKENE_SOURCE_DIR "/test/unit/vectors/stripe_" + name + ".json");
    EXPECT_TRUE(file) << name;
    return {std::istreambuf_iterator<char>(file), {}};
}

json
vector_json(const std::string &name)
{
    return read_value(vector_text(name));
}

/* A vector, changed at one place ("/data/object/status"; the value null means removed). */
json
changed(const std::string &name, const std::string &pointer, const json &value)
{
    json event = vector_json(name);
    event[json::json_pointer(pointer)] = value;
    return event;
}

/* The record of an event that must be accepted. */
json
record_of(const json &event)
{
    Outcome outcome = flatten(write_value(event));
    EXPECT_EQ(outcome.verdict, EventVerdict::ok) << outcome.reason;
    return outcome.verdict == EventVerdict::ok ? read_value(outcome.record) : json::object();
}

const std::string subscription = "subscription_clover";
const std::string item = "/data/object/items/data/0";

} // namespace

TEST(StripeEvent, FlattensASubscriptionOfToday)
{
    Outcome outcome = flatten(vector_text("subscription_clover"));
    ASSERT_EQ(outcome.verdict, EventVerdict::ok) << outcome.reason;
    EXPECT_EQ(
        outcome.record,
        "{\"amount\":9700,\"api_version\":\"2025-09-30.clover\",\"cancel_at\":1772323200,"
        "\"created\":1767225600,\"currency\":\"usd\",\"current_period_end\":1772323200,"
        "\"current_period_start\":1767225600,\"ended_at\":null,"
        "\"event_id\":\"evt_1S0000000000000000000001\",\"interval\":\"month\","
        "\"kind\":\"subscription\",\"livemode\":false,"
        "\"object_id\":\"sub_1S0000000000000000000001\",\"pause_collection\":false,"
        "\"prices\":[\"price_1S0000000000000000000001\",\"pro_monthly\",\"prod_SkeneTestPro01\","
        "\"price_1S0000000000000000000002\"],\"quantity\":5,\"status\":\"active\","
        "\"stripe_customer\":\"cus_SkeneTest00001\","
        "\"subscription_id\":\"sub_1S0000000000000000000001\",\"trial_end\":null,"
        "\"type\":\"customer.subscription.updated\",\"user_id\":\"user_42\"}");
}

TEST(StripeEvent, FlattensASubscriptionOf2019)
{
    json record = record_of(vector_json("subscription_2019"));
    EXPECT_EQ(record["livemode"], true);
    EXPECT_EQ(record["prices"], json({"plan_basic", "prod_SkeneTestOld"}));
    EXPECT_EQ(record["amount"], 1500);
    EXPECT_EQ(record["currency"], "eur");
    EXPECT_EQ(record["interval"], "year");
    EXPECT_EQ(record["quantity"], 1);
    EXPECT_EQ(record["current_period_start"], 1690000000);
    EXPECT_EQ(record["current_period_end"], 1721622400);
    EXPECT_EQ(record["cancel_at"], 1721622400) << "cancel_at_period_end";
    EXPECT_EQ(record["trial_end"], 1690600000);
    EXPECT_EQ(record["user_id"], nullptr);
    EXPECT_EQ(record["status"], "canceled") << "deleted, whatever the status says";
}

TEST(StripeEvent, FlattensACompletedCheckout)
{
    json record = record_of(vector_json("checkout_completed"));
    json expected = {
        {"event_id", "evt_1S0000000000000000000001"},
        {"type", "checkout.session.completed"},
        {"created", 1767225600},
        {"livemode", false},
        {"api_version", "2025-09-30.clover"},
        {"kind", "checkout"},
        {"object_id", "cs_test_a1SkeneTest0000000000000000000000000000000000000000000001"},
        {"session_id", "cs_test_a1SkeneTest0000000000000000000000000000000000000000000001"},
        {"mode", "subscription"},
        {"payment_status", "paid"},
        {"stripe_customer", "cus_SkeneTest00001"},
        {"subscription_id", "sub_1S0000000000000000000001"},
        {"client_reference_id", "user_42"},
        {"user_id", "user_42"},
        {"amount", 2900},
        {"currency", "usd"},
        {"email", "zoe@example.com"},
    };
    EXPECT_EQ(record, expected);

    json event = changed("checkout_completed", "/data/object/customer_details", nullptr);
    event["data"]["object"]["customer_email"] = "given@example.com";
    EXPECT_EQ(record_of(event)["email"], "given@example.com");
}

TEST(StripeEvent, KnowsWhichTypesItUnderstands)
{
    struct {
        const char *vector, *type, *kind;
    } cases[] = {
        {"subscription_clover", "customer.subscription.created", "subscription"},
        {"subscription_clover", "customer.subscription.paused", "subscription"},
        {"subscription_clover", "customer.subscription.trial_will_end", "subscription"},
        {"subscription_clover", "customer.subscription", "other"},
        {"subscription_clover", "customer.subscriptions.created", "other"},
        {"checkout_completed", "checkout.session.async_payment_succeeded", "checkout"},
        {"checkout_completed", "checkout.session.async_payment_failed", "checkout"},
        {"checkout_completed", "checkout.session.expired", "other"},
        {"checkout_completed", "something.entirely.new", "other"},
    };
    for (auto &c : cases) {
        json record = record_of(changed(c.vector, "/type", c.type));
        EXPECT_EQ(record["kind"], c.kind) << c.type;
        EXPECT_EQ(record["type"], c.type);
        EXPECT_TRUE(record["object_id"].is_string());
    }
}

TEST(StripeEvent, IsContentWithWhatAnEventOfAnotherKindHas)
{
    json event = {
        {"id", "evt_1"}, {"type", "balance.available"}, {"created", 0}, {"livemode", true}};
    json expected = {{"event_id", "evt_1"}, {"type", "balance.available"}, {"created", 0},
                     {"livemode", true},    {"api_version", nullptr},      {"kind", "other"},
                     {"object_id", nullptr}};
    EXPECT_EQ(record_of(event), expected);
    event["data"] = {{"object", {{"object", "balance"}}}};
    event["brand_new_field"] = {1, {{"deep", "er"}}};
    EXPECT_EQ(record_of(event), expected);
}

TEST(StripeEvent, IsContentWithTheLeastASubscriptionHas)
{
    json event = vector_json(subscription);
    event["data"]["object"] = {{"id", "sub_1"}, {"status", "brand_new_status"}};
    json record = record_of(event);
    EXPECT_EQ(record["status"], "brand_new_status");
    EXPECT_EQ(record["prices"], json::array());
    EXPECT_EQ(record["pause_collection"], false);
    for (const char *name : {"amount", "currency", "interval", "quantity", "current_period_start",
                             "current_period_end", "cancel_at", "ended_at", "trial_end",
                             "stripe_customer", "user_id"}) {
        ASSERT_TRUE(record.contains(name)) << name;
        EXPECT_EQ(record[name], nullptr) << name;
    }
}

TEST(StripeEvent, ReadsReferencesAlsoWhenTheyAreExpanded)
{
    json event = vector_json(subscription);
    event["data"]["object"]["customer"] = {{"id", "cus_9"}, {"deleted", true}};
    event[json::json_pointer(item + "/price/product")] = {{"id", "prod_9"}, {"name", "Pro"}};
    json record = record_of(event);
    EXPECT_EQ(record["stripe_customer"], "cus_9");
    EXPECT_EQ(record["prices"][2], "prod_9");
    EXPECT_EQ(record_of(changed("checkout_completed", "/data/object/subscription",
                                {{"id", "sub_9"}}))["subscription_id"],
              "sub_9");
}

TEST(StripeEvent, FindsTheCustomerUnderTheConfiguredKey)
{
    std::string text = vector_text(subscription);
    EXPECT_EQ(read_value(flatten(text, "team").record)["user_id"], "blue");
    EXPECT_EQ(read_value(flatten(text, "user_id").record)["user_id"], nullptr);
    EXPECT_EQ(read_value(flatten(text, "").record)["user_id"], nullptr);
    EXPECT_EQ(record_of(changed(subscription, "/data/object/metadata", nullptr))["user_id"],
              nullptr);
    json event = changed(subscription, "/data/object/metadata/skene_user_id", "");
    EXPECT_EQ(record_of(event)["user_id"], nullptr) << "an empty id is nobody's";
}

TEST(StripeEvent, GivesAnAmountOnlyWhenItIsKnown)
{
    const json absent;
    struct {
        const char *where;
        json value, amount, quantity;
    } cases[] = {
        {"/quantity", 1, 3900, 3},
        {"/quantity", 0, 1000, 2},
        {"/quantity", absent, nullptr, 2},
        {"/quantity", 1.5, nullptr, 2},
        {"/price/unit_amount", absent, nullptr, 5},
        {"/price/unit_amount", 0.5, nullptr, 5},
        {"/price/unit_amount", -2900, -7700, 5},
        {"/price/recurring/usage_type", "metered", nullptr, 5},
        {"/price/unit_amount", INT64_MAX, nullptr, 5},
        {"/price/unit_amount", INT64_MAX / 3, nullptr, 5},
        {"/price/unit_amount", INT64_MIN, nullptr, 5},
        {"/price/unit_amount", UINT64_MAX, nullptr, 5},
        {"/quantity", INT64_MAX, nullptr, nullptr},
        {"/price", absent, nullptr, 5},
    };
    for (auto &c : cases) {
        json record = record_of(changed(subscription, item + c.where, c.value));
        EXPECT_EQ(record["amount"], c.amount) << c.where << ' ' << c.value;
        EXPECT_EQ(record["quantity"], c.quantity) << c.where << ' ' << c.value;
    }
    EXPECT_EQ(record_of(changed(subscription, "/data/object/items/has_more", true))["amount"],
              nullptr);
    json event = changed(subscription, item + "/quantity", INT64_MAX);
    event["data"]["object"]["items"]["data"].push_back({{"quantity", 1}});
    EXPECT_EQ(record_of(event)["quantity"], nullptr) << "an overflow is not forgotten";
}

TEST(StripeEvent, TakesPeriodsFromTheItemsBeforeTheSubscription)
{
    json event = vector_json(subscription);
    event["data"]["object"]["current_period_start"] = 1;
    event["data"]["object"]["current_period_end"] = 2;
    EXPECT_EQ(record_of(event)["current_period_start"], 1767225600);
    EXPECT_EQ(record_of(event)["current_period_end"], 1772323200);
    for (json &entry : event["data"]["object"]["items"]["data"]) {
        entry.erase("current_period_start");
        entry.erase("current_period_end");
    }
    EXPECT_EQ(record_of(event)["current_period_start"], 1);
    EXPECT_EQ(record_of(event)["current_period_end"], 2);
}

TEST(StripeEvent, KnowsBothWaysToCancelLater)
{
    json event = changed(subscription, "/data/object/cancel_at", nullptr);
    EXPECT_EQ(record_of(event)["cancel_at"], nullptr);
    event["data"]["object"]["cancel_at_period_end"] = true;
    EXPECT_EQ(record_of(event)["cancel_at"], 1772323200);
    event["data"]["object"]["cancel_at"] = 1770000000;
    EXPECT_EQ(record_of(event)["cancel_at"], 1770000000) << "the explicit time wins";
}

TEST(StripeEvent, ReportsAPausedCollection)
{
    json pause = {{"behavior", "void"}, {"resumes_at", nullptr}};
    EXPECT_EQ(record_of(changed(subscription, "/data/object/pause_collection",
                                pause))["pause_collection"],
              true);
}

TEST(StripeEvent, DropsTimesThatAreNone)
{
    for (const json &value : {json(-1), json(253402300800), json(1.5), json(1e300),
                              json(UINT64_MAX), json(INT64_MIN)}) {
        EXPECT_EQ(record_of(changed(subscription, "/data/object/ended_at", value))["ended_at"],
                  nullptr)
            << value;
        EXPECT_EQ(flatten(write_value(changed(subscription, "/created", value))).reason,
                  "created is not a time in Unix seconds");
    }
    EXPECT_EQ(record_of(changed(subscription, "/created", 253402300799))["created"], 253402300799);
}

TEST(StripeEvent, NamesTheFieldItRefuses)
{
    const json absent;
    struct {
        std::string vector, where;
        json value;
        const char *reason;
    } cases[] = {
        {subscription, "/id", absent, "id is missing or empty"},
        {subscription, "/id", "", "id is missing or empty"},
        {subscription, "/id", 7, "id is not a string"},
        {subscription, "/id", std::string(256, 'x'), "id is longer than 255 bytes"},
        {subscription, "/id", std::string("a\0b", 3), "id contains a NUL character"},
        {subscription, "/type", absent, "type is missing or empty"},
        {subscription, "/type", json::array(), "type is not a string"},
        {subscription, "/object", "list", "object is not \"event\""},
        {subscription, "/object", 1, "object is not a string"},
        {subscription, "/created", absent, "created is missing"},
        {subscription, "/created", "2026-01-01", "created is not a number"},
        {subscription, "/livemode", absent, "livemode is missing"},
        {subscription, "/livemode", "false", "livemode is not a boolean"},
        {subscription, "/api_version", 1, "api_version is not a string"},
        {subscription, "/data", "x", "data is not an object"},
        {subscription, "/data", absent, "data.object is missing"},
        {subscription, "/data/object", json::array(), "data.object is not an object"},
        {subscription, "/data/object/object", "invoice",
         "data.object.object is not \"subscription\""},
        {subscription, "/data/object/id", absent, "data.object.id is missing or empty"},
        {subscription, "/data/object/status", absent, "data.object.status is missing or empty"},
        {subscription, "/data/object/status", 1, "data.object.status is not a string"},
        {subscription, "/data/object/customer", 1, "data.object.customer is not a string"},
        {subscription,
         "/data/object/customer",
         {{"id", 1}},
         "data.object.customer.id is not a string"},
        {subscription, "/data/object/metadata", "x", "data.object.metadata is not an object"},
        {subscription, "/data/object/metadata/skene_user_id", 42,
         "data.object.metadata.skene_user_id is not a string"},
        {subscription, "/data/object/metadata/skene_user_id", std::string(256, 'u'),
         "data.object.metadata.skene_user_id is longer than 255 bytes"},
        {subscription, "/data/object/items", "x", "data.object.items is not an object"},
        {subscription,
         "/data/object/items/data",
         {{"a", 1}},
         "data.object.items.data is not an array"},
        {subscription, "/data/object/items/data/1", 5,
         "data.object.items.data[1] is not an object"},
        {subscription, item + "/price", "price_1",
         "data.object.items.data[0].price is not an object"},
        {subscription, item + "/price/id", 1, "data.object.items.data[0].price.id is not a string"},
        {subscription, item + "/quantity", "3",
         "data.object.items.data[0].quantity is not a number"},
        {subscription, "/data/object/cancel_at_period_end", 1,
         "data.object.cancel_at_period_end is not a boolean"},
        {subscription, "/data/object/pause_collection", true,
         "data.object.pause_collection is not an object"},
        {"checkout_completed", "/data/object/id", absent, "data.object.id is missing or empty"},
        {"checkout_completed", "/data/object/mode", absent, "data.object.mode is missing or empty"},
        {"checkout_completed", "/data/object/payment_status", absent,
         "data.object.payment_status is missing or empty"},
        {"checkout_completed", "/data/object/object", "subscription",
         "data.object.object is not \"checkout.session\""},
        {"checkout_completed", "/data/object/client_reference_id", 1,
         "data.object.client_reference_id is not a string"},
        {"checkout_completed", "/data/object/client_reference_id", std::string("\0", 1),
         "data.object.client_reference_id contains a NUL character"},
        {"checkout_completed", "/data/object/customer_details", "x",
         "data.object.customer_details is not an object"},
    };
    for (auto &c : cases) {
        Outcome outcome = flatten(write_value(changed(c.vector, c.where, c.value)));
        EXPECT_EQ(outcome.verdict, EventVerdict::not_an_event) << c.where << ' ' << c.value;
        EXPECT_EQ(outcome.reason, c.reason);
    }
}

TEST(StripeEvent, AcceptsIdsUpToTheLimit)
{
    std::string longest(255, 'x');
    EXPECT_EQ(record_of(changed(subscription, "/id", longest))["event_id"], longest);
}

TEST(StripeEvent, CutsALongReasonBetweenCharacters)
{
    std::string key;
    for (int i = 0; i < 200; i++)
        key += "\xe2\x98\x83";
    json event = vector_json(subscription);
    event["data"]["object"]["metadata"][key] = 1;
    std::string reason = flatten(write_value(event), key).reason;
    EXPECT_GT(reason.size(), 250u);
    EXPECT_LT(reason.size(), 256u);
    EXPECT_EQ((reason.size() - std::string("data.object.metadata.").size()) % 3, 0u);
}

TEST(StripeEvent, TellsThinEventsFromBrokenOnes)
{
    EXPECT_EQ(flatten(vector_text("thin_event")).verdict, EventVerdict::thin_event);
    for (const char *payload : {"null", "1", "\"x\"", "[]", "[{}]", "{}"})
        EXPECT_EQ(flatten(payload).verdict, EventVerdict::not_an_event) << payload;
}

TEST(StripeEvent, RefusesWhatIsNotJson)
{
    std::string text = vector_text(subscription);
    for (const std::string &payload :
         {std::string(), std::string(" "), std::string("{"), std::string("{\"id\":\"\xff\"}"),
          std::string("{\"id\":\"\xed\xa0\x80\"}"), std::string("{\"id\":\"\\ud800\"}"),
          std::string("{\"id\":1e999}"), std::string("{'id':1}"), std::string("]]]]{}"),
          text + "{}", text + std::string("\0garbage", 8), text.substr(0, text.size() - 2)})
        EXPECT_EQ(flatten(payload).verdict, EventVerdict::not_json) << payload;
}

TEST(StripeEvent, LetsTheLastOfEqualKeysWin)
{
    Outcome outcome = flatten(
        "{\"id\":\"evt_1\",\"id\":\"evt_2\",\"type\":\"t\",\"created\":1,\"livemode\":false}");
    EXPECT_EQ(read_value(outcome.record)["event_id"], "evt_2");
}

TEST(StripeEvent, BoundsNestingWithoutBeingFooledByStrings)
{
    auto nested = [](size_t levels) { /* inside the event itself */
                                      return "{\"id\":\"evt_1\",\"type\":\"t\",\"created\":1,"
                                             "\"livemode\":false,\"x\":" +
                                             std::string(levels, '[') + std::string(levels, ']') +
                                             "}";
    };
    EXPECT_EQ(flatten(nested(127)).verdict, EventVerdict::ok);
    EXPECT_EQ(flatten(nested(128)).reason, "the payload is nested too deeply");
    EXPECT_EQ(flatten(std::string(5 << 20, '[')).reason, "the payload is nested too deeply");
    json event = changed(subscription, "/data/object/note", "\\\"" + std::string(500, '[') + "\"]");
    EXPECT_EQ(flatten(write_value(event)).verdict, EventVerdict::ok);
}

TEST(StripeEvent, TakesTimeInProportionToHostileInput)
{
    std::string head = "{\"id\":\"evt_1\",\"type\":\"customer.subscription.updated\",\"created\":1,"
                       "\"livemode\":false,\"data\":{\"object\":{\"id\":\"sub_1\",\"status\":\"x\"";
    std::string items;
    for (int i = 0; i < 50000; i++)
        items += (i ? "," : "") + std::string("{\"price\":{\"id\":\"price_") + std::to_string(i) +
                 "\"}}";
    std::string empties;
    for (int i = 0; i < 300000; i++)
        empties += i ? ",{}" : "{}";
    std::clock_t start = std::clock();
    Outcome outcome = flatten(head + ",\"items\":{\"data\":[" + items + "]}}}}");
    EXPECT_EQ(read_value(outcome.record)["prices"].size(), 50000u);
    EXPECT_EQ(flatten(head + ",\"x\":[" + empties + "]}}}").verdict, EventVerdict::ok);
    EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC);
}

TEST(StripeEvent, SurvivesEveryTruncationAndEveryChangedByte)
{
    std::string text = write_value(vector_json(subscription));
    for (size_t i = 0; i < text.size(); i++) {
        EXPECT_EQ(flatten(text.substr(0, i)).verdict, EventVerdict::not_json) << i;
        std::string broken = text;
        for (char c : {'"', '\\', '{', '\xff'}) {
            broken[i] = c;
            flatten(broken); /* any verdict, consistent in itself */
        }
    }
}
