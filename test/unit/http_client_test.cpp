/*
 * http_client_test.cpp: the client against servers and resolvers that misbehave.
 */
#include "core/http_client.hpp"
#include "misbehaving_server.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <string>
#include <unistd.h>

using namespace skene;
using Clock = std::chrono::steady_clock;

namespace
{

std::atomic<bool> resolver_may_end{false};
std::atomic<int> resolvers_asleep{0};
std::atomic<int> resolvers_with_open_signals{0};

} // namespace

/* Stands before the C library's: names ending in .hang never resolve while a test runs. */
extern "C" __attribute__((visibility("default"))) int
getaddrinfo(const char *node, const char *service, const addrinfo *hints, addrinfo **result)
{
    std::string name = node ? node : "";
    if (name == "none.invalid")
        return EAI_NONAME;
    if (name.ends_with(".hang")) {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        for (int signal : {SIGTERM, SIGHUP, SIGUSR1, SIGINT, SIGALRM})
            if (!sigismember(&mask, signal))
                resolvers_with_open_signals++;
        resolvers_asleep++;
        while (!resolver_may_end)
            usleep(1000);
        resolvers_asleep--;
        return EAI_NONAME;
    }
    using Function = int (*)(const char *, const char *, const addrinfo *, addrinfo **);
    static auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "getaddrinfo"));
    return real(node, service, hints, result);
}

namespace
{

double
seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/* Let threads that a test put to sleep in getaddrinfo() go. */
void
end_resolvers()
{
    resolver_may_end = true;
    while (resolvers_asleep > 0)
        usleep(1000);
}

/* A response whose body outlives the client's buffer. */
struct Answer {
    HttpResponse response;
    std::string body;
};

class HttpClientTest : public ::testing::Test
{
  protected:
    void
    SetUp() override
    {
        std::signal(SIGPIPE, SIG_IGN);
        client = open_http_client("skene_gate/test");
        ASSERT_NE(client, nullptr);
    }

    void
    TearDown() override
    {
        close_http_client(client);
    }

    HttpRequest
    request_to(const std::string &url)
    {
        url_ = url;
        HttpRequest request;
        request.tag = 7;
        request.url = url_;
        request.bearer_token = "re_secret";
        request.content_type = "application/json";
        request.idempotency_key = "key-1";
        request.body = R"({"to":"a@b.example"})";
        return request;
    }

    bool
    start(const HttpRequest &request)
    {
        return start_request(client, request, reason, sizeof reason);
    }

    /* Drive the client until one response is there; fails the test after 60 s. */
    Answer
    wait_for_response()
    {
        Answer answer;
        auto begun = Clock::now();
        while (seconds_since(begun) < 60) {
            poll_requests(client, 50);
            if (next_response(client, &answer.response)) {
                answer.body.assign(answer.response.body, answer.response.body_size);
                return answer;
            }
        }
        ADD_FAILURE() << "no response";
        return answer;
    }

    Answer
    ask(const HttpRequest &request)
    {
        EXPECT_TRUE(start(request)) << reason;
        return wait_for_response();
    }

    Answer
    ask(const std::string &path)
    {
        return ask(request_to(server.url(path)));
    }

    MisbehavingServer server;
    HttpClient *client = nullptr;
    char reason[256] = {};

  private:
    std::string url_;
};

struct OutcomeCase {
    const char *path;
    HttpOutcome outcome;
    int status;
    const char *error; /* how it begins */
};

} // namespace

TEST_F(HttpClientTest, SendsTheRequestAsGiven)
{
    Answer got = ask("/ok");
    EXPECT_EQ(got.response.outcome, HttpOutcome::answered);
    EXPECT_EQ(got.response.status, 200);
    EXPECT_EQ(got.response.tag, 7u);
    EXPECT_EQ(got.body, R"({"id":"1"})");
    EXPECT_EQ(got.response.advice.retry_after_s, -1);
    EXPECT_GT(got.response.total_us, 0);
    EXPECT_STREQ(got.response.error, "");

    std::string sent = server.last_request();
    for (const char *part :
         {"POST /ok HTTP/1.1\r\n", "\r\nUser-Agent: skene_gate/test\r\n",
          "\r\nAuthorization: Bearer re_secret\r\n", "\r\nContent-Type: application/json\r\n",
          "\r\nIdempotency-Key: key-1\r\n", "\r\nContent-Length: 20\r\n",
          "\r\n\r\n{\"to\":\"a@b.example\"}"})
        EXPECT_NE(sent.find(part), std::string::npos) << part << " is not in\n" << sent;
    for (const char *part : {"Expect:", "Accept-Encoding:", "Cookie:"})
        EXPECT_EQ(sent.find(part), std::string::npos) << part << " is in\n" << sent;
}

TEST_F(HttpClientTest, LeavesOutOptionalHeaders)
{
    HttpRequest request = request_to(server.url("/ok"));
    request.bearer_token = {};
    request.idempotency_key = {};
    request.body = {};
    EXPECT_EQ(ask(request).response.status, 200);
    std::string sent = server.last_request();
    EXPECT_EQ(sent.find("Authorization"), std::string::npos);
    EXPECT_EQ(sent.find("Idempotency-Key"), std::string::npos);
    EXPECT_NE(sent.find("Content-Length: 0\r\n"), std::string::npos);
}

TEST_F(HttpClientTest, SendsBytesThatAreNotText)
{
    std::string body(2 << 20, '\0'); /* so large that libcurl would ask for leave first */
    HttpRequest request = request_to(server.url("/ok"));
    request.body = body;
    ASSERT_TRUE(start(request));
    std::fill(body.begin(), body.end(), 'x'); /* the client has its own copy */
    EXPECT_EQ(wait_for_response().response.status, 200);
    EXPECT_NE(server.last_request().find(std::string(2 << 20, '\0')), std::string::npos);
    EXPECT_EQ(server.last_request().find("Expect:"), std::string::npos);
}

TEST_F(HttpClientTest, TellsWhatBecameOfARequest)
{
    const OutcomeCase cases[] = {
        {"/created-and-closed", HttpOutcome::answered, 201, ""},
        {"/redirect", HttpOutcome::answered, 302, ""},
        {"/continue", HttpOutcome::answered, 200, ""},
        {"/slow", HttpOutcome::answered, 200, ""},
        {"/truncated-refusal", HttpOutcome::answered, 422, "reading the response: "},
        {"/refuse-then-hang", HttpOutcome::answered, 503, "reading the response: "},
        {"/truncated", HttpOutcome::unknown, 200, "reading the response: "},
        {"/status-then-hang", HttpOutcome::unknown, 200, "reading the response: "},
        {"/endless-headers", HttpOutcome::unknown, 200, "reading the response: the headers are"},
        {"/hang", HttpOutcome::unknown, 0, "waiting for the response: "},
        {"/continue-then-hang", HttpOutcome::unknown, 0, "waiting for the response: "},
        {"/reset", HttpOutcome::unknown, 0, "waiting for the response: "},
        {"/no-reply", HttpOutcome::unknown, 0, "waiting for the response: "},
        {"/nonsense", HttpOutcome::unknown, 0, "waiting for the response: "},
    };
    for (const OutcomeCase &c : cases) {
        SCOPED_TRACE(c.path);
        HttpRequest request = request_to(server.url(c.path));
        /* only what hangs is meant to run out of time, also on a busy machine */
        bool hangs = std::string_view(c.path).find("hang") != std::string_view::npos;
        request.total_timeout_ms = hangs ? 300 : 10000;
        Answer got = ask(request);
        EXPECT_EQ(int(got.response.outcome), int(c.outcome));
        EXPECT_EQ(got.response.status, c.status);
        EXPECT_TRUE(std::string_view(got.response.error).starts_with(c.error))
            << got.response.error;
        EXPECT_EQ(*c.error == '\0', *got.response.error == '\0') << got.response.error;
    }
}

TEST_F(HttpClientTest, CutsALongBodyAndStillCountsItAsAnswered)
{
    Answer got = ask("/endless-body");
    EXPECT_EQ(got.response.outcome, HttpOutcome::answered);
    EXPECT_EQ(got.response.status, 200);
    EXPECT_EQ(got.body, std::string(max_response_bytes, 'x'));
    EXPECT_EQ(ask("/exactly-full").body, std::string(max_response_bytes, 'x'));
    EXPECT_EQ(ask("/ok").body, R"({"id":"1"})");
}

TEST_F(HttpClientTest, ReadsRetryAfterInBothForms)
{
    const struct {
        const char *value;
        int64_t low, high;
    } cases[] = {
        {"0", 0, 0},
        {"7", 7, 7},
        {"86400", 86400, 86400},
        {"86401", 86400, 86400},
        {"99999999999999999999999999", 86400, 86400},
        {"future", 95, 100},
        {"past", 0, 0},
        {"-5", -1, -1},
        {"1.5", -1, -1},
        {"soon", -1, -1},
        {"Soon", -1, -1},
        {"", -1, -1},
    };
    for (const auto &c : cases) {
        SCOPED_TRACE(c.value);
        Answer got = ask(std::string("/retry-after/") + c.value);
        EXPECT_EQ(got.response.status, 429);
        EXPECT_GE(got.response.advice.retry_after_s, c.low);
        EXPECT_LE(got.response.advice.retry_after_s, c.high);
    }
    ask("/retry-after/7");
    ask("/ok");
    EXPECT_EQ(ask("/ok").response.advice.retry_after_s, -1) << "left over from an earlier answer";
}

TEST_F(HttpClientTest, KnowsThatNothingWasSentWhenItCouldNotConnect)
{
    std::string closed;
    {
        MisbehavingServer gone;
        closed = gone.url("/ok");
    }
    Answer got = ask(request_to(closed));
    EXPECT_EQ(got.response.outcome, HttpOutcome::not_sent);
    EXPECT_TRUE(std::string_view(got.response.error).starts_with("TCP connect: "))
        << got.response.error;

    got = ask(request_to("https://none.invalid/"));
    EXPECT_EQ(got.response.outcome, HttpOutcome::not_sent);
    EXPECT_TRUE(std::string_view(got.response.error).starts_with("DNS: ")) << got.response.error;
}

TEST_F(HttpClientTest, KnowsThatNothingWasSentWhenTlsFails)
{
    HttpRequest request = request_to(server.url("/ok", "https"));
    request.connect_timeout_ms = 100; /* the server waits for an end of headers */
    Answer got = ask(request);
    EXPECT_EQ(got.response.outcome, HttpOutcome::not_sent);
    EXPECT_TRUE(std::string_view(got.response.error).starts_with("TLS: ")) << got.response.error;
    EXPECT_EQ(server.last_request(), "");
}

TEST_F(HttpClientTest, GivesUpOnAHangingResolverInTime)
{
    resolver_may_end = false;
    HttpRequest request = request_to("https://a.hang/");
    request.connect_timeout_ms = 100;
    auto begun = Clock::now();
    Answer got = ask(request);
    EXPECT_LT(seconds_since(begun), 10);
    EXPECT_EQ(got.response.outcome, HttpOutcome::not_sent);
    EXPECT_TRUE(std::string_view(got.response.error).starts_with("DNS: ")) << got.response.error;
    end_resolvers();
}

TEST_F(HttpClientTest, ClosesPromptlyWhateverHangs)
{
    resolver_may_end = false;
    resolvers_with_open_signals = 0;
    for (const std::string &url : {server.url("/hang"), server.url("/hang", "https"),
                                   std::string("https://b.hang/"), server.url("/endless-headers")})
        ASSERT_TRUE(start(request_to(url))) << reason;
    auto begun = Clock::now();
    while (seconds_since(begun) < 60 && resolvers_asleep == 0)
        poll_requests(client, 10);
    EXPECT_GT(resolvers_asleep, 0);
    poll_requests(client, 10);

    begun = Clock::now();
    close_http_client(client);
    client = nullptr;
    EXPECT_LT(seconds_since(begun), 10); /* what hangs does so for ever */
    EXPECT_EQ(resolvers_with_open_signals, 0) << "signal handlers could run in a foreign thread";

    end_resolvers();
}

TEST_F(HttpClientTest, RunsSeveralRequestsAtOnceAndKeepsTheirConnections)
{
    for (uint64_t tag = 0; tag < 20; tag++) {
        HttpRequest request = request_to(server.url(tag % 2 ? "/slow" : "/ok"));
        request.tag = tag;
        ASSERT_TRUE(start(request)) << reason;
    }
    uint64_t sum = 0;
    for (int i = 0; i < 20; i++) {
        Answer got = wait_for_response();
        EXPECT_EQ(got.response.status, 200);
        EXPECT_EQ(got.body, got.response.tag % 2 ? "slow" : R"({"id":"1"})");
        sum += got.response.tag;
    }
    EXPECT_EQ(sum, 190u);
    int connections = server.connections();
    EXPECT_LE(connections, 20);
    for (int i = 0; i < 10; i++)
        ASSERT_TRUE(start(request_to(server.url("/slow")))) << reason;
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(wait_for_response().response.status, 200);
    EXPECT_EQ(server.connections(), connections) << "of those before";

    HttpResponse none;
    EXPECT_EQ(poll_requests(client, 0), 0);
    EXPECT_FALSE(next_response(client, &none));
}

TEST_F(HttpClientTest, UsesAConnectionAgainAndSurvivesThatItWasClosed)
{
    ask("/ok");
    ask("/ok");
    EXPECT_EQ(server.connections(), 1);
    EXPECT_EQ(ask("/created-and-closed").response.status, 201);
    EXPECT_EQ(ask("/ok").response.status, 200);
    EXPECT_EQ(server.connections(), 2);
}

TEST_F(HttpClientTest, TellsThatLibcurlHasSentARequestTwice)
{
    EXPECT_FALSE(ask("/ok").response.resent);
    EXPECT_FALSE(ask("/ok").response.resent) << "on the same connection";
    int requests = server.requests();
    Answer got = ask("/lost-then-refused"); /* lost with the connection, which was kept */
    EXPECT_EQ(got.response.status, 429);
    EXPECT_TRUE(got.response.resent);
    EXPECT_EQ(server.requests(), requests + 2);
    EXPECT_FALSE(ask("/ok").response.resent) << "it is not said of the next one";
}

TEST_F(HttpClientTest, DoesNotWaitWhenNothingIsUnderWay)
{
    auto begun = Clock::now();
    EXPECT_EQ(poll_requests(client, 30000), 0);
    EXPECT_LT(seconds_since(begun), 10);
}

TEST_F(HttpClientTest, ReturnsFromAWaitInTimeWhileARequestHangs)
{
    ASSERT_TRUE(start(request_to(server.url("/hang"))));
    auto begun = Clock::now();
    while (seconds_since(begun) < 0.1)
        EXPECT_EQ(poll_requests(client, 20), 1);
    EXPECT_LT(seconds_since(begun), 10); /* the request itself ends after 30 s */
    HttpResponse none;
    EXPECT_FALSE(next_response(client, &none));
}

TEST_F(HttpClientTest, RefusesUrlsThatCouldLeakTheKey)
{
    for (std::string_view url : {"",
                                 "x",
                                 "api.resend.com/emails",
                                 "http://api.resend.com/emails",
                                 "http://127.0.0.1.evil.example/",
                                 "http://localhost.evil.example/",
                                 "http://127.0.0.2/",
                                 "http://localhost./",
                                 "http://[::2]/",
                                 "ftp://127.0.0.1/",
                                 "file:///etc/passwd",
                                 "https://",
                                 "https://user@api.resend.com/",
                                 "https://user:word@api.resend.com/",
                                 "https://:word@api.resend.com/",
                                 "https://api.resend.com/#part",
                                 "https://api.resend.com/ x",
                                 "https://a\r\nb/",
                                 "https://api.resend.com:99999/",
                                 "gopher://localhost/"}) {
        HttpRequest request = request_to("");
        request.url = url;
        EXPECT_FALSE(start(request)) << url;
        EXPECT_STRNE(reason, "") << url;
        reason[0] = '\0';
    }
    HttpRequest request = request_to("");
    request.url = std::string_view("https://api.resend.com/\0x", 25);
    EXPECT_FALSE(start(request));
    EXPECT_EQ(poll_requests(client, 0), 0);
}

TEST_F(HttpClientTest, AcceptsLoopbackWithoutTls)
{
    for (const char *host : {"127.0.0.1", "localhost", "[::1]"})
        EXPECT_TRUE(start(request_to(std::string("http://") + host + ":1/"))) << reason;
}

TEST_F(HttpClientTest, RefusesHeaderValuesThatCouldAddHeaders)
{
    using namespace std::string_view_literals;
    for (std::string_view bad : {"a\r\nX: y"sv, "a\nb"sv, "a\rb"sv, "a\0b"sv, "a\tb"sv, "a\x7f"sv,
                                 " a"sv, "a "sv, "Zo\xc3\xab"sv}) {
        for (auto field : {&HttpRequest::bearer_token, &HttpRequest::content_type,
                           &HttpRequest::idempotency_key}) {
            HttpRequest request = request_to(server.url("/ok"));
            request.*field = bad;
            EXPECT_FALSE(start(request)) << bad;
        }
        EXPECT_EQ(open_http_client(bad), nullptr);
    }
    HttpRequest request = request_to(server.url("/ok"));
    request.total_timeout_ms = 0; /* would mean "for ever" */
    EXPECT_FALSE(start(request));
    EXPECT_EQ(open_http_client(""), nullptr);

    EXPECT_EQ(ask("/ok").response.status, 200);
    std::string sent = server.last_request();
    size_t first = sent.find("Authorization:");
    EXPECT_EQ(sent.find("Authorization:", first + 1), std::string::npos)
        << "a refused request left its headers behind";
}

TEST_F(HttpClientTest, SendsAnExtraHeaderButNoSecondOne)
{
    HttpRequest request = request_to(server.url("/ok"));
    request.extra_header = "x-batch-validation: permissive";
    EXPECT_EQ(ask(request).response.status, 200);
    EXPECT_NE(server.last_request().find("\r\nx-batch-validation: permissive\r\n"),
              std::string::npos);
    request.extra_header = "a: b\r\nc: d";
    EXPECT_FALSE(start(request));
}

TEST_F(HttpClientTest, TakesNeitherRedirectsNorPackedBodies)
{
    Answer got = ask("/redirect-loop");
    EXPECT_EQ(got.response.status, 302);
    EXPECT_EQ(server.requests(), 1);
    got = ask("/gzip-bomb"); /* 64 KiB that would unpack to 64 MiB */
    EXPECT_EQ(got.response.status, 200);
    EXPECT_LE(got.body.size(), max_response_bytes);
    EXPECT_EQ(got.body.substr(0, 2), "\x1f\x8b");
}

TEST_F(HttpClientTest, CallsABrokenChunkUnknown)
{
    for (const char *path : {"/truncated-chunk", "/nonsense-chunk"}) {
        Answer got = ask(path);
        EXPECT_EQ(int(got.response.outcome), int(HttpOutcome::unknown)) << path;
        EXPECT_EQ(got.response.status, 200);
    }
}

TEST_F(HttpClientTest, ReadsWhetherStripeWantsItAgain)
{
    EXPECT_EQ(ask("/should-retry/true").response.advice.should_retry, 1);
    EXPECT_EQ(ask("/should-retry/false").response.advice.should_retry, 0);
    EXPECT_EQ(ask("/should-retry/perhaps").response.advice.should_retry, -1);
    ask("/should-retry/true");
    EXPECT_EQ(ask("/ok").response.advice.should_retry, -1) << "left over from an earlier answer";
}

TEST_F(HttpClientTest, MeasuresWhereTheTimeWent)
{
    Answer got = ask("/slow");
    EXPECT_GT(got.response.connect_us, 0);
    EXPECT_GE(got.response.first_byte_us, got.response.connect_us);
    EXPECT_GE(got.response.total_us, got.response.first_byte_us);
    EXPECT_EQ(got.response.tls_us, 0);
}

TEST_F(HttpClientTest, AsksAProxyForATunnelAndTellsItNoSecret)
{
    std::string proxy = server.url("");
    HttpRequest request = request_to("https://api.example/emails");
    request.proxy = proxy.c_str();
    Answer got = ask(request);
    EXPECT_EQ(int(got.response.outcome), int(HttpOutcome::not_sent));
    std::string seen = server.last_request();
    EXPECT_TRUE(seen.starts_with("CONNECT api.example:443 HTTP/1.1\r\n")) << seen;
    EXPECT_EQ(seen.find("re_secret"), std::string::npos);
    request.url = "http://127.0.0.1:1/"; /* this machine is reached without it */
    ask(request);
    EXPECT_EQ(server.requests(), 1);
}

/* Is the descriptor readable within so many milliseconds? */
bool
has_traffic(const HttpClient *client, int timeout_ms)
{
    pollfd one = {traffic_descriptor(client), POLLIN, 0};
    return poll(&one, 1, timeout_ms) == 1;
}

TEST_F(HttpClientTest, HasADescriptorThatTellsOfTrafficAndTime)
{
    EXPECT_FALSE(has_traffic(client, 0)) << "nothing is under way";
    HttpRequest request = request_to(server.url("/hang"));
    request.total_timeout_ms = 1000;
    ASSERT_TRUE(start(request));
    EXPECT_TRUE(has_traffic(client, 0)) << "it has not begun";
    auto begun = Clock::now();
    HttpResponse response;
    int wakes = 0;
    while (!next_response(client, &response) && seconds_since(begun) < 60) {
        EXPECT_TRUE(has_traffic(client, 60000)) << "nothing else moves it on";
        poll_requests(client, 0);
        wakes++;
    }
    EXPECT_GE(seconds_since(begun), 0.9) << "its timeout";
    EXPECT_LT(wakes, 30) << "it is readable only when there is something to do";
    ASSERT_TRUE(start(request_to(server.url("/ok"))));
    while (!next_response(client, &response) && seconds_since(begun) < 60) {
        EXPECT_TRUE(has_traffic(client, 60000));
        poll_requests(client, 0);
    }
    EXPECT_EQ(response.status, 200);
}

TEST_F(HttpClientTest, CutsItsReasonToTheBuffer)
{
    char small[8];
    HttpRequest request = request_to("x://y");
    EXPECT_FALSE(start_request(client, request, small, sizeof small));
    EXPECT_EQ(strlen(small), 7u);
    EXPECT_FALSE(start_request(client, request, nullptr, 0));
}

TEST_F(HttpClientTest, NamesNeitherKeyNorQueryInErrors)
{
    for (const char *path : {"/hang?token=sesame", "/reset?token=sesame", "/truncated?token=sesame",
                             "/nonsense?token=sesame"}) {
        HttpRequest request = request_to(server.url(path));
        request.total_timeout_ms = 100;
        std::string error = ask(request).response.error;
        EXPECT_NE(error, "");
        EXPECT_EQ(error.find("sesame"), std::string::npos) << error;
        EXPECT_EQ(error.find("re_secret"), std::string::npos) << error;
    }
}

TEST_F(HttpClientTest, IgnoresProxiesOfTheEnvironment)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    EXPECT_EQ(ask("/ok").response.status, 200);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}
