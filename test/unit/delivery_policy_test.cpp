/*
 * delivery_policy_test.cpp: one table of answers, and the arithmetic of waiting.
 */
#include "core/delivery_policy.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

using namespace skene;

namespace
{

HttpResponse
answer(int32_t status, std::string_view body, int64_t retry_after_s = -1)
{
    HttpResponse response;
    response.outcome = HttpOutcome::answered;
    response.status = status;
    response.body = body.data();
    response.body_size = body.size();
    response.advice.retry_after_s = retry_after_s;
    return response;
}

/* The error body that Resend sends. */
std::string
refusal(int status, const std::string &name, const std::string &message = "why")
{
    return R"({"statusCode":)" + std::to_string(status) + R"(,"name":")" + name +
           R"(","message":")" + message + R"("})";
}

/* random = 0.999... makes the first backoff its full 2 s. */
constexpr double no_jitter = 0.9999999;

struct Case {
    int status;
    const char *name; /* of Resend's error; null = the body is given instead */
    const char *body;
    int64_t retry_after_s;
    Verdict verdict;
    int64_t wait_s;
};

const char *const cloudflare = "error code: 1010";
const char *const page = "<html>Bad gateway</html>";

const Case cases[] = {
    {200, nullptr, R"({"id":"49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"})", -1, Verdict::sent, 0},
    {201, nullptr, R"({"id":"x"})", -1, Verdict::sent, 0},
    {200, nullptr, "{}", -1, Verdict::sent, 0},
    {200, nullptr, page, -1, Verdict::halt, 300},
    {204, nullptr, "", -1, Verdict::halt, 300},
    {301, nullptr, "", -1, Verdict::halt, 300},
    {308, nullptr, page, 7, Verdict::halt, 300},

    {400, "validation_error", nullptr, -1, Verdict::bury, 0},
    {400, "invalid_idempotency_key", nullptr, -1, Verdict::bury, 0},
    {400, "invalid_api_key", nullptr, -1, Verdict::halt, 300},
    {400, nullptr, R"({"name":"validation_error","message":"API key is invalid"})", -1,
     Verdict::halt, 300},
    {422, "missing_required_field", nullptr, -1, Verdict::bury, 0},
    {422, "invalid_parameter", nullptr, -1, Verdict::bury, 0},
    {422, "some_new_name", nullptr, -1, Verdict::bury, 0},
    {404, "not_found", nullptr, -1, Verdict::bury, 0},
    {404, nullptr, page, -1, Verdict::halt, 300},
    {405, nullptr, page, -1, Verdict::halt, 300},
    {413, nullptr, page, -1, Verdict::bury, 0},
    {451, "security_error", nullptr, -1, Verdict::bury, 0},

    {401, "missing_api_key", nullptr, -1, Verdict::halt, 300},
    {401, "restricted_api_key", nullptr, -1, Verdict::halt, 300},
    {403, "invalid_api_key", nullptr, -1, Verdict::halt, 300},
    {403, "suspended_api_key", nullptr, -1, Verdict::halt, 300},
    {403, "validation_error", nullptr, -1, Verdict::halt, 300},
    {403, "invalid_from_address", nullptr, -1, Verdict::bury, 0},
    {403, nullptr, cloudflare, -1, Verdict::halt, 300},
    {407, nullptr, page, -1, Verdict::halt, 300},

    {409, "invalid_idempotent_request", nullptr, -1, Verdict::sent, 0},
    {409, "concurrent_idempotent_requests", nullptr, -1, Verdict::retry, 2},
    {409, "resource_locked", nullptr, -1, Verdict::retry, 2},
    {409, nullptr, page, -1, Verdict::retry, 2},

    {408, nullptr, page, -1, Verdict::retry, 2},
    {425, nullptr, page, -1, Verdict::retry, 2},
    {429, "rate_limit_exceeded", nullptr, -1, Verdict::wait, 2},
    {429, "rate_limit_exceeded", nullptr, 0, Verdict::wait, 1},
    {429, "rate_limit_exceeded", nullptr, 60, Verdict::wait, 60},
    {429, "rate_limit_exceeded", nullptr, 86400, Verdict::wait, 3600},
    {429, nullptr, page, -1, Verdict::wait, 2},
    {429, "daily_quota_exceeded", nullptr, -1, Verdict::halt, 86400},
    {429, "monthly_quota_exceeded", nullptr, -1, Verdict::halt, 86400},
    {429, "daily_quota_exceeded", nullptr, 7200, Verdict::halt, 7200},
    {429, "daily_quota_exceeded", nullptr, 1, Verdict::halt, 300},

    {500, "application_error", nullptr, -1, Verdict::retry, 2},
    {503, "service_unavailable", nullptr, 120, Verdict::retry, 120},
    {503, "service_unavailable", nullptr, 86400, Verdict::retry, 3600},
    {502, nullptr, page, -1, Verdict::retry, 2},
    {520, nullptr, "", -1, Verdict::retry, 2},
};

} // namespace

TEST(DeliveryPolicy, JudgesEveryAnswerResendCanGive)
{
    for (const Case &c : cases) {
        std::string body = c.name ? refusal(c.status, c.name) : c.body;
        SCOPED_TRACE(std::to_string(c.status) + " " + body);
        Delivery got = judge_resend(answer(c.status, body, c.retry_after_s), 1, no_jitter);
        EXPECT_EQ(int(got.verdict), int(c.verdict));
        EXPECT_EQ(got.wait_s, c.wait_s);
        EXPECT_EQ(*got.error == '\0', got.verdict == Verdict::sent && c.status < 300);
    }
}

TEST(DeliveryPolicy, KnowsWhatMayHaveBeenAcceptedAndWhenTheProviderFails)
{
    const struct {
        int status;
        const char *body;
        bool uncertain, failing;
    } seen[] = {
        {200, "{}", false, false}, {200, page, true, false}, /* of a proxy that sent it on? */
        {302, "", false, false},   {401, "{}", false, false}, {403, cloudflare, false, false},
        {408, page, true, true},   {409, page, false, false}, {422, "{}", false, false},
        {429, "{}", false, false}, {500, "{}", true, true},   {503, page, true, true},
    };
    for (const auto &c : seen) {
        SCOPED_TRACE(c.status);
        for (auto judge : {judge_resend, judge_stripe}) {
            Delivery got = judge(answer(c.status, c.body), 1, 0);
            EXPECT_EQ(got.uncertain, c.uncertain);
            EXPECT_EQ(got.failing, c.failing);
        }
    }
    std::string busy = refusal(409, "concurrent_idempotent_requests");
    EXPECT_TRUE(judge_resend(answer(409, busy), 1, 0).uncertain);
    HttpResponse silent;
    silent.outcome = HttpOutcome::not_sent;
    EXPECT_FALSE(judge_resend(silent, 1, 0).uncertain);
    EXPECT_TRUE(judge_resend(silent, 1, 0).failing);
    silent.outcome = HttpOutcome::unknown;
    EXPECT_TRUE(judge_resend(silent, 1, 0).uncertain);
    EXPECT_TRUE(judge_resend(silent, 1, 0).failing);
}

TEST(DeliveryPolicy, TrustsNoRefusalOfASecondCopy)
{
    for (int status : {200, 302, 401, 409, 422, 429, 500}) {
        HttpResponse second = answer(status, "{}");
        second.resent = true;
        for (auto judge : {judge_resend, judge_stripe}) {
            Delivery got = judge(second, 1, 0);
            EXPECT_EQ(got.uncertain, got.verdict != Verdict::sent) << status;
        }
    }
}

TEST(DeliveryPolicy, JudgesEveryAnswerStripeCanGive)
{
    const std::string json = R"({"error":{"type":"t","code":"c","message":"why"}})";
    const struct {
        int status;
        std::string body;
        int should_retry; /* Stripe-Should-Retry; -1 = absent */
        int64_t retry_after_s;
        Verdict verdict;
        int64_t wait_s;
    } stripe_cases[] = {
        {200, R"({"id":"cus_1"})", -1, -1, Verdict::sent, 0},
        {200, R"({"id":"cus_1"})", 1, -1, Verdict::sent, 0},
        {200, page, -1, -1, Verdict::halt, 300},
        {301, "", -1, -1, Verdict::halt, 300},
        {400, json, -1, -1, Verdict::bury, 0}, /* idempotency_error too */
        {400, json, 1, -1, Verdict::retry, 2},
        {400, page, -1, -1, Verdict::halt, 300},
        {401, json, -1, -1, Verdict::halt, 300},
        {402, json, -1, -1, Verdict::bury, 0},
        {403, json, -1, -1, Verdict::halt, 300},
        {404, json, -1, -1, Verdict::bury, 0},
        {404, page, -1, -1, Verdict::halt, 300},
        {409, json, -1, -1, Verdict::retry, 2},
        {409, json, 0, -1, Verdict::bury, 0},
        {429, json, -1, -1, Verdict::wait, 2},
        {429, json, 0, -1, Verdict::wait, 2},
        {429, json, 1, 9, Verdict::wait, 9},
        {500, json, -1, -1, Verdict::retry, 2},
        {500, json, 0, -1, Verdict::bury, 0},
        {502, page, -1, 30, Verdict::retry, 30},
    };
    for (const auto &c : stripe_cases) {
        SCOPED_TRACE(std::to_string(c.status) + " " + c.body + " " +
                     std::to_string(c.should_retry));
        HttpResponse response = answer(c.status, c.body, c.retry_after_s);
        response.advice.should_retry = c.should_retry;
        Delivery got = judge_stripe(response, 1, no_jitter);
        EXPECT_EQ(int(got.verdict), int(c.verdict));
        EXPECT_EQ(got.wait_s, c.wait_s);
    }
    EXPECT_STREQ(judge_stripe(answer(402, json), 1, 0).error, "HTTP 402 t c: why");
    EXPECT_STREQ(judge_stripe(answer(200, R"({"id":"cus_1"})"), 1, 0).provider_id, "cus_1");
}

TEST(DeliveryPolicy, TellsTheMessagesOfABatchApart)
{
    BatchItem items[4];
    std::string body = R"({"data":[{"id":"a"},{"id":"b"}],)"
                       R"("errors":[{"index":0,"message":"No."},{"index":2,"message":7}]})";
    Delivery got = judge_resend_batch(answer(200, body), 1, 0, items, 4);
    EXPECT_EQ(int(got.verdict), int(Verdict::sent));
    EXPECT_TRUE(items[0].refused);
    EXPECT_STREQ(items[0].error, "refused in a batch: No.");
    EXPECT_FALSE(items[1].refused);
    EXPECT_STREQ(items[1].provider_id, "a");
    EXPECT_STREQ(items[1].error, "");
    EXPECT_TRUE(items[2].refused);
    EXPECT_FALSE(items[3].refused);
    EXPECT_STREQ(items[3].provider_id, "b");
}

TEST(DeliveryPolicy, DoesNotGuessIdsWhenABatchsAnswerDoesNotAddUp)
{
    for (std::string body : {R"({"data":[{"id":"a"}]})", R"({"data":"a"})", "[]", "7",
                             R"({"data":[{"id":"a"},{"id":"b"},{"id":"c"}]})",
                             R"({"errors":[{"index":9},{"index":-1},{"index":"0"},1]})"}) {
        BatchItem items[2];
        Delivery got = judge_resend_batch(answer(200, body), 1, 0, items, 2);
        EXPECT_EQ(int(got.verdict), int(Verdict::sent)) << body;
        for (const BatchItem &item : items) {
            EXPECT_FALSE(item.refused) << body;
            EXPECT_STREQ(item.provider_id, "") << body;
            EXPECT_STRNE(item.error, "") << body;
        }
    }
}

TEST(DeliveryPolicy, JudgesABatchThatWasRefusedAsAWhole)
{
    BatchItem items[2];
    EXPECT_EQ(int(judge_resend_batch(answer(422, refusal(422, "validation_error")), 1, 0, items, 2)
                      .verdict),
              int(Verdict::bury));
    EXPECT_EQ(int(judge_resend_batch(answer(500, page), 1, 0, items, 2).verdict),
              int(Verdict::retry));
    Delivery got =
        judge_resend_batch(answer(409, refusal(409, "invalid_idempotent_request")), 1, 0, items, 2);
    EXPECT_EQ(int(got.verdict), int(Verdict::sent));
    EXPECT_FALSE(items[1].refused);
    EXPECT_STREQ(items[1].error, "HTTP 409 invalid_idempotent_request: why");
}

TEST(DeliveryPolicy, KnowsWhatMayStandInABatch)
{
    EXPECT_TRUE(fits_resend_batch(R"({"to":["a@b.test"]})"));
    for (const char *body : {"", "[]", "7", "{", R"({"attachments":[]})", R"({"scheduled_at":""})",
                             R"({"to":"\ud800"})"})
        EXPECT_FALSE(fits_resend_batch(body)) << body;
}

TEST(DeliveryPolicy, KeepsTheIdOfAnAcceptedMessage)
{
    std::string body = R"({"id":"49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"})";
    EXPECT_STREQ(judge_resend(answer(200, body), 1, 0).provider_id,
                 "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794");
}

TEST(DeliveryPolicy, IgnoresAnIdThatIsNone)
{
    for (std::string body : {std::string(R"({"id":7})"), std::string(R"({"id":"a b"})"),
                             std::string(R"({"id":"a\u0000b"})"), std::string(R"(["id"])"),
                             R"({"id":")" + std::string(128, 'a') + R"("})"}) {
        Delivery got = judge_resend(answer(200, body), 1, 0);
        EXPECT_EQ(int(got.verdict), int(Verdict::sent)) << body;
        EXPECT_STREQ(got.provider_id, "") << body;
    }
}

TEST(DeliveryPolicy, SaysInTheErrorThatAnEarlierRequestWasAccepted)
{
    std::string body = refusal(409, "invalid_idempotent_request", "other payload");
    EXPECT_STREQ(judge_resend(answer(409, body), 1, 0).error,
                 "HTTP 409 invalid_idempotent_request: other payload");
}

TEST(DeliveryPolicy, SuspectsTheBaseUrlWhenSomebodyElseAnswers)
{
    EXPECT_STREQ(judge_resend(answer(200, page), 1, 0).error,
                 "HTTP 200 is no answer of Resend's (is the base URL right?): "
                 "<html>Bad gateway</html>");
    EXPECT_STREQ(judge_resend(answer(301, ""), 1, 0).error,
                 "HTTP 301 is no answer of Resend's (is the base URL right?)");
}

TEST(DeliveryPolicy, MakesErrorsThatFitAnyDatabaseEncoding)
{
    std::string body = refusal(422, "invalid_parameter", "line\\nbreak \\u0007 Zo\u00eb");
    EXPECT_STREQ(judge_resend(answer(422, body), 1, 0).error,
                 "HTTP 422 invalid_parameter: line break Zo");
    EXPECT_STREQ(judge_resend(answer(502, "\xff\xfe<html>\r\n"), 1, 0).error, "HTTP 502: <html>");
    std::string endless = refusal(422, "invalid_parameter", std::string(5000, 'x'));
    EXPECT_EQ(std::string_view(judge_resend(answer(422, endless), 1, 0).error).size(), 255u);
}

TEST(DeliveryPolicy, RetriesWhateverWasNotAnswered)
{
    for (HttpOutcome outcome : {HttpOutcome::not_sent, HttpOutcome::unknown}) {
        HttpResponse response;
        response.outcome = outcome;
        snprintf(response.error, sizeof response.error, "DNS: no such host");
        Delivery got = judge_resend(response, 1, no_jitter);
        EXPECT_EQ(int(got.verdict), int(Verdict::retry));
        EXPECT_EQ(got.wait_s, 2);
        EXPECT_STREQ(got.error, "DNS: no such host");
    }
}

TEST(DeliveryPolicy, DoublesTheWaitUpToAQuarterOfAnHour)
{
    HttpResponse lost;
    const int64_t waits[] = {2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900};
    for (int attempt = 1; attempt <= 11; attempt++)
        EXPECT_EQ(judge_resend(lost, attempt, no_jitter).wait_s, waits[attempt - 1]);
    EXPECT_EQ(judge_resend(lost, std::numeric_limits<int32_t>::max(), no_jitter).wait_s, 900);
    EXPECT_EQ(judge_resend(lost, 0, no_jitter).wait_s, 2);
    EXPECT_EQ(judge_resend(lost, std::numeric_limits<int32_t>::min(), no_jitter).wait_s, 2);
}

TEST(DeliveryPolicy, CutsAtMostHalfOfTheWaitByChance)
{
    HttpResponse lost;
    EXPECT_EQ(judge_resend(lost, 10, 0.0).wait_s, 450);
    EXPECT_EQ(judge_resend(lost, 10, 0.5).wait_s, 675);
    EXPECT_EQ(judge_resend(lost, 1, 0.0).wait_s, 1);
    EXPECT_EQ(judge_resend(lost, 10, std::nan("")).wait_s, 675);
}

TEST(DeliveryPolicy, SurvivesHostileBodies)
{
    std::string deep(60000, '[');
    EXPECT_EQ(int(judge_resend(answer(500, deep), 1, 0).verdict), int(Verdict::retry));
    std::string nested = std::string(30000, '[') + std::string(30000, ']');
    EXPECT_EQ(int(judge_resend(answer(422, nested), 1, 0).verdict), int(Verdict::bury));
    HttpResponse none = answer(500, {});
    none.body = nullptr;
    EXPECT_EQ(int(judge_resend(none, 1, 0).verdict), int(Verdict::retry));
}
