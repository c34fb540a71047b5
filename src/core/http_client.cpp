/*
 * http_client.cpp: POST requests to providers over one libcurl multi handle.
 *
 * Invariant: a response is "not sent" only if libcurl never came to the point of
 * writing the request, and "answered" only if the status it carries is the one the
 * provider meant; everything between is "unknown". Secrets live in the header list
 * of a transfer and are wiped when it ends.
 */
#include "core/http_client.hpp"

#include "core/plain_text.hpp"
#include "core/retry_after.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>
#include <poll.h>
#include <string>
#include <utility>
#include <vector>

/* CURLOPT_QUICK_EXIT: without it a hanging resolver would hold up timeouts and close. */
static_assert(LIBCURL_VERSION_NUM >= 0x075700, "libcurl 7.87 or newer is needed");

namespace skene
{

namespace
{

constexpr size_t max_header_bytes = 16 * 1024;
constexpr size_t max_sockets = 512; /* a connection has one, and its resolver */

/* One request and its answer; libcurl's callbacks write here and nowhere else. */
struct Transfer {
    Transfer() {} /* not "= default": that would fill the body with zeros, and its pages */
    ~Transfer();
    Transfer(const Transfer &) = delete;
    Transfer &operator=(const Transfer &) = delete;

    CURL *easy = nullptr;
    curl_slist *headers = nullptr; /* holds the bearer token while the request runs */
    uint64_t tag = 0;
    bool busy = false;
    bool begun = false; /* connected: from here on bytes of the request may be out */
    bool body_cut = false;
    bool headers_cut = false;
    size_t header_bytes = 0;
    int64_t retry_after_s = -1;
    int should_retry = -1;
    size_t body_size = 0;
    char curl_error[CURL_ERROR_SIZE] = {};
    char body[max_response_bytes];
};

/* Blocks every signal while in scope, for threads started meanwhile to inherit. */
class SignalsBlocked
{
  public:
    SignalsBlocked()
    {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked &) = delete;
    SignalsBlocked &operator=(const SignalsBlocked &) = delete;

  private:
    sigset_t before_;
};

/* Free the headers, overwriting them first: one of them is the bearer token. */
void
wipe_headers(Transfer *transfer)
{
    for (curl_slist *header = transfer->headers; header; header = header->next)
        explicit_bzero(header->data, std::strlen(header->data));
    curl_slist_free_all(transfer->headers);
    transfer->headers = nullptr;
}

Transfer::~Transfer()
{
    curl_easy_cleanup(easy);
    wipe_headers(this);
}

/* Is this printable ASCII that no parser could take for more than one header value? */
bool
valid_header_value(std::string_view value)
{
    if (value.empty() || value.front() == ' ' || value.back() == ' ')
        return false;
    for (char c : value)
        if (c < 0x20 || c > 0x7e)
            return false;
    return true;
}

/* Append one line to the headers; throws std::bad_alloc. */
void
add_line(Transfer *transfer, const char *line)
{
    curl_slist *longer = curl_slist_append(transfer->headers, line);
    if (!longer)
        throw std::bad_alloc();
    transfer->headers = longer;
}

/* Append a header, name being "Name: "; false when the value is not allowed. */
bool
add_header(Transfer *transfer, std::string_view name, std::string_view value)
{
    if (!valid_header_value(value))
        return false;
    std::vector<char> line(name.size() + value.size() + 1);
    std::memcpy(line.data(), name.data(), name.size());
    std::memcpy(line.data() + name.size(), value.data(), value.size());
    add_line(transfer, line.data());
    explicit_bzero(line.data(), line.size());
    return true;
}

/* The value of a header line, null when it is another header. */
const char *
value_of(const char *line, size_t size, std::string_view name)
{
    return size >= name.size() && curl_strnequal(line, name.data(), name.size())
               ? line + name.size()
               : nullptr;
}

/* libcurl: one line of the response's header, the status line included. */
size_t
on_header(char *data, size_t, size_t size, void *context)
{
    auto *transfer = static_cast<Transfer *>(context);
    transfer->header_bytes += size;
    if (transfer->header_bytes > max_header_bytes) {
        transfer->headers_cut = true;
        return 0;
    }
    const char *end = data + size;
    if (const char *value = value_of(data, size, "retry-after:"))
        transfer->retry_after_s =
            parse_retry_after({value, static_cast<size_t>(end - value)}, std::time(nullptr));
    if (const char *value = value_of(data, size, "stripe-should-retry:")) {
        std::string_view said = trim({value, static_cast<size_t>(end - value)});
        transfer->should_retry = said == "true" ? 1 : said == "false" ? 0 : -1;
    }
    return size;
}

/* libcurl: some bytes of the body. Taking fewer than offered ends the transfer. */
size_t
on_body(char *data, size_t, size_t size, void *context)
{
    auto *transfer = static_cast<Transfer *>(context);
    size_t room = max_response_bytes - transfer->body_size;
    size_t kept = size < room ? size : room;
    std::memcpy(transfer->body + transfer->body_size, data, kept);
    transfer->body_size += kept;
    transfer->body_cut = kept < size;
    return transfer->body_cut ? 0 : size;
}

/* libcurl: the connection stands (TLS included) and the request is next. */
int
on_connected(void *context, char *, char *, int, int)
{
    static_cast<Transfer *>(context)->begun = true;
    return CURL_PREREQFUNC_OK;
}

using UrlHandle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

/* A part of a URL, empty when it has none. */
std::string
url_part(CURLU *url, CURLUPart part)
{
    char *text = nullptr;
    if (curl_url_get(url, part, &text, 0) != CURLUE_OK)
        return {};
    std::unique_ptr<char, decltype(&curl_free)> owner(text, curl_free);
    return text;
}

/* Why this URL may not be asked, or null; *normal receives it as libcurl reads it. */
const char *
check_url(std::string_view text, std::string *normal)
{
    if (text.find('\0') != std::string_view::npos)
        return "the URL is malformed";
    UrlHandle url(curl_url(), curl_url_cleanup);
    if (!url)
        return "out of memory";
    if (curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), 0) != CURLUE_OK)
        return "the URL is malformed";

    std::string scheme = url_part(url.get(), CURLUPART_SCHEME);
    std::string host = url_part(url.get(), CURLUPART_HOST);
    bool loopback = host == "127.0.0.1" || host == "localhost" || host == "[::1]";
    if (scheme != "https" && !(scheme == "http" && loopback))
        return "the URL must be https (http only on 127.0.0.1, [::1] or localhost)";
    if (host.empty())
        return "the URL has no host";
    if (!url_part(url.get(), CURLUPART_USER).empty() ||
        !url_part(url.get(), CURLUPART_PASSWORD).empty())
        return "the URL must not carry a user or password";
    if (!url_part(url.get(), CURLUPART_FRAGMENT).empty())
        return "the URL must not carry a fragment";
    *normal = url_part(url.get(), CURLUPART_URL);
    return nullptr;
}

/*
 * Set the options of a fresh easy handle; false when one is refused. What is not
 * mentioned is off by default: redirects, cookies, HSTS, Alt-Svc, decompression.
 */
bool
set_options(Transfer *transfer, const std::string &url, const std::string &user_agent,
            const HttpRequest &request)
{
    bool ok = true;
    auto set = [&](CURLoption option, auto value) {
        ok = ok && curl_easy_setopt(transfer->easy, option, value) == CURLE_OK;
    };

    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_PROXY, request.proxy); /* the server's environment does not redirect mail */
    set(CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
    if (*request.ca_file) {
        set(CURLOPT_CAINFO, request.ca_file);
        set(CURLOPT_CAPATH, static_cast<const char *>(nullptr));
    }
    set(CURLOPT_USERAGENT, user_agent.c_str());
    set(CURLOPT_HTTPHEADER, transfer->headers);
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_COPYPOSTFIELDS, request.body.empty() ? "" : request.body.data());
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));

    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));

    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout_ms));
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(request.total_timeout_ms));
    set(CURLOPT_LOW_SPEED_LIMIT, 10L); /* bytes a second */
    set(CURLOPT_LOW_SPEED_TIME, 15L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_QUICK_EXIT, 1L);

    set(CURLOPT_PRIVATE, transfer);
    set(CURLOPT_ERRORBUFFER, transfer->curl_error);
    set(CURLOPT_HEADERFUNCTION, &on_header);
    set(CURLOPT_HEADERDATA, transfer);
    set(CURLOPT_WRITEFUNCTION, &on_body);
    set(CURLOPT_WRITEDATA, transfer);
    set(CURLOPT_PREREQFUNCTION, &on_connected);
    set(CURLOPT_PREREQDATA, transfer);
    return ok;
}

/* A time that libcurl measured on this transfer, 0 = never got there. */
curl_off_t
measured(const Transfer &transfer, CURLINFO which)
{
    curl_off_t us = 0;
    curl_easy_getinfo(transfer.easy, which, &us);
    return us;
}

/* Name the phase in which a transfer failed. */
const char *
failed_phase(const Transfer &transfer, CURLcode code, long status)
{
    if (transfer.begun)
        return status ? "reading the response" : "waiting for the response";
    if (code == CURLE_COULDNT_RESOLVE_HOST || !measured(transfer, CURLINFO_NAMELOOKUP_TIME_T))
        return "DNS";
    if (code == CURLE_COULDNT_CONNECT)
        return "TCP connect";
    long local_port = 0; /* known once TCP stands; CONNECT_TIME includes TLS in 7.88 */
    curl_easy_getinfo(transfer.easy, CURLINFO_LOCAL_PORT, &local_port);
    return local_port == 0 ? "TCP connect" : "TLS";
}

/* What libcurl says, or what we know better, in printable ASCII (fits any encoding). */
void
explain_failure(const Transfer &transfer, CURLcode code, long status, HttpResponse *response)
{
    const char *text = transfer.headers_cut   ? "the headers are larger than 16 KiB"
                       : code == CURLE_OK     ? "no status line"
                       : *transfer.curl_error ? transfer.curl_error
                                              : curl_easy_strerror(code);
    std::snprintf(response->error, sizeof response->error, "%s: %.220s",
                  failed_phase(transfer, code, status), text);
    for (char *c = response->error; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
}

/* Decide what became of a transfer that libcurl calls finished. */
void
judge_transfer(const Transfer &transfer, CURLcode code, HttpResponse *response)
{
    long status = 0;
    curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        status = 0; /* 100 Continue and the like are not answers */
    response->status = static_cast<int32_t>(status);

    if (status && (code == CURLE_OK || transfer.body_cut)) {
        response->outcome = HttpOutcome::answered;
        return;
    }
    explain_failure(transfer, code, status, response);
    if (!transfer.begun)
        response->outcome = HttpOutcome::not_sent;
    else if (status >= 400) /* a refusal is one even if its body broke off */
        response->outcome = HttpOutcome::answered;
    else
        response->outcome = HttpOutcome::unknown;
}

} // namespace

class HttpClient
{
  public:
    CURLM *multi = nullptr;
    std::string user_agent;
    std::vector<std::unique_ptr<Transfer>> transfers; /* easy handles are used again */
    std::vector<pollfd> sockets;                      /* that libcurl waits for */
    int64_t timer_at = -1;                            /* when it wants to be called; -1 = never */
    Transfer *shown = nullptr; /* its body was handed out by the last next_response() */
    int in_flight = 0;         /* started and not handed out */
    int running = 0;           /* of those, not finished */
};

namespace
{

/* Forget what a finished request left in its transfer, the body excepted. */
void
clear_transfer(Transfer *transfer)
{
    curl_easy_reset(transfer->easy); /* keeps connections, drops every option */
    wipe_headers(transfer);
    transfer->begun = transfer->body_cut = transfer->headers_cut = false;
    transfer->header_bytes = 0;
    transfer->retry_after_s = -1;
    transfer->should_retry = -1;
    transfer->curl_error[0] = '\0';
}

/* Find or make a transfer that is not in use; throws std::bad_alloc. */
Transfer *
idle_transfer(HttpClient *client)
{
    for (const auto &transfer : client->transfers)
        if (!transfer->busy)
            return transfer.get();
    auto fresh = std::make_unique<Transfer>();
    fresh->easy = curl_easy_init();
    if (!fresh->easy)
        throw std::bad_alloc();
    client->transfers.push_back(std::move(fresh));
    return client->transfers.back().get();
}

/* Fill in an idle transfer and hand it to libcurl; returns what is wrong, or null. */
const char *
queue_transfer(HttpClient *client, Transfer *transfer, const std::string &url,
               const HttpRequest &request)
{
    if (!add_header(transfer, "Content-Type: ", request.content_type))
        return "the content type is not a valid header value";
    if (!request.bearer_token.empty() &&
        !add_header(transfer, "Authorization: Bearer ", request.bearer_token))
        return "the API key is not a valid header value";
    if (!request.idempotency_key.empty() &&
        !add_header(transfer, "Idempotency-Key: ", request.idempotency_key))
        return "the idempotency key is not a valid header value";
    if (!request.extra_header.empty()) {
        if (!valid_header_value(request.extra_header))
            return "the extra header is not valid";
        add_line(transfer, std::string(request.extra_header).c_str());
    }
    add_line(transfer, "Expect:"); /* no 100-continue: a round trip for large bodies */

    SignalsBlocked blocked;
    if (!set_options(transfer, url, client->user_agent, request) ||
        curl_multi_add_handle(client->multi, transfer->easy) != CURLM_OK)
        return "out of memory";
    return nullptr;
}

/* Milliseconds of a clock that does not go back. */
int64_t
clock_ms()
{
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

/* libcurl: wait for this socket from now on, or no longer. */
int
on_socket(CURL *, curl_socket_t fd, int what, void *context, void *)
{
    auto &sockets = static_cast<HttpClient *>(context)->sockets;
    auto known = std::find_if(sockets.begin(), sockets.end(),
                              [fd](const pollfd &one) { return one.fd == fd; });
    if (what == CURL_POLL_REMOVE) {
        if (known != sockets.end())
            sockets.erase(known);
        return 0;
    }
    short events = static_cast<short>(((what & CURL_POLL_IN) ? POLLIN : 0) |
                                      ((what & CURL_POLL_OUT) ? POLLOUT : 0));
    if (known != sockets.end())
        known->events = events;
    else if (sockets.size() <
             sockets.capacity()) /* reserved: an exception must not reach libcurl */
        sockets.push_back({fd, events, 0});
    else
        return -1;
    return 0;
}

/* libcurl: call again in so many milliseconds; -1 = no need to. */
int
on_timer(CURLM *, long timeout_ms, void *context)
{
    auto *client = static_cast<HttpClient *>(context);
    client->timer_at = timeout_ms < 0 ? -1 : clock_ms() + timeout_ms;
    return 0;
}

/* Let libcurl do what it can without waiting; returns how many are unfinished. */
int
move_transfers(HttpClient *client)
{
    SignalsBlocked blocked;
    pollfd ready[max_sockets];
    size_t count = client->sockets.size();

    /* of a copy: libcurl changes the list meanwhile */
    std::copy(client->sockets.begin(), client->sockets.end(), ready);
    if (count > 0 && ::poll(ready, count, 0) > 0) {
        for (size_t i = 0; i < count; i++) {
            int what = ((ready[i].revents & (POLLIN | POLLHUP)) ? CURL_CSELECT_IN : 0) |
                       ((ready[i].revents & POLLOUT) ? CURL_CSELECT_OUT : 0) |
                       ((ready[i].revents & (POLLERR | POLLNVAL)) ? CURL_CSELECT_ERR : 0);
            if (what)
                curl_multi_socket_action(client->multi, ready[i].fd, what, &client->running);
        }
    }
    if (client->timer_at >= 0 && client->timer_at <= clock_ms()) {
        client->timer_at = -1;
        curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &client->running);
    }
    return client->running;
}

} // namespace

/*
 * Start libcurl. SIGPIPE must be ignored by the process, as it is in every
 * PostgreSQL process: OpenSSL writes to sockets that a peer may have closed.
 */
HttpClient *
open_http_client(std::string_view user_agent, int connections_per_host) noexcept
try {
    if (!valid_header_value(user_agent))
        return nullptr;
    auto client = std::make_unique<HttpClient>();
    client->user_agent = user_agent;
    client->sockets.reserve(max_sockets);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return nullptr;
    client->multi = curl_multi_init();
    if (!client->multi) {
        curl_global_cleanup();
        return nullptr;
    }
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, 2L * connections_per_host);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                      static_cast<long>(connections_per_host));
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, &on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client.get());
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, &on_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client.get());
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
    return client.release();
} catch (...) {
    return nullptr;
}

/* Stop everything, however far it got; waits for no peer and no resolver. */
void
close_http_client(HttpClient *client) noexcept
{
    if (!client)
        return;
    for (const auto &transfer : client->transfers)
        curl_multi_remove_handle(client->multi, transfer->easy); /* harmless if not in it */
    client->transfers.clear();
    curl_multi_cleanup(client->multi);
    curl_global_cleanup();
    delete client;
}

/* Queue a request; it moves with the next poll_requests(). */
bool
start_request(HttpClient *client, const HttpRequest &request, char *reason,
              size_t reason_size) noexcept
{
    Transfer *transfer = nullptr;
    const char *wrong = nullptr;
    try {
        std::string url;
        wrong = check_url(request.url, &url);
        if (!wrong && (request.connect_timeout_ms <= 0 || request.total_timeout_ms <= 0))
            wrong = "timeouts must be positive"; /* libcurl takes 0 for "none" */
        if (!wrong) {
            transfer = idle_transfer(client);
            wrong = queue_transfer(client, transfer, url, request);
        }
    } catch (...) {
        wrong = "out of memory";
    }
    if (wrong) {
        if (transfer)
            clear_transfer(transfer);
        if (reason_size > 0)
            std::snprintf(reason, reason_size, "%s", wrong);
        return false;
    }
    transfer->tag = request.tag;
    transfer->body_size = 0;
    transfer->busy = true;
    client->in_flight++;
    client->running++;
    return true;
}

/*
 * Move transfers on, after waiting for traffic unless an answer is already there.
 * Returns at once when nothing is under way. Signals are delivered during the wait.
 */
int
poll_requests(HttpClient *client, int timeout_ms) noexcept
{
    int running = move_transfers(client);
    if (running == 0 || running < client->in_flight || timeout_ms <= 0)
        return running;
    int within = poll_within(client);
    if (within >= 0)
        timeout_ms = std::min(timeout_ms, within);
    (void) ::poll(client->sockets.data(), client->sockets.size(), timeout_ms);
    return move_transfers(client);
}

int
waiting_sockets(const HttpClient *client, HttpSocket *sockets, int max) noexcept
{
    int count = 0;
    for (const pollfd &one : client->sockets)
        if (count < max)
            sockets[count++] = {one.fd, (one.events & POLLIN) != 0, (one.events & POLLOUT) != 0};
    return count;
}

int
poll_within(const HttpClient *client) noexcept
{
    if (client->timer_at < 0)
        return -1;
    return static_cast<int>(std::clamp<int64_t>(client->timer_at - clock_ms(), 0, 3600 * 1000));
}

/* Take one finished transfer; its body stays until the next call. */
bool
next_response(HttpClient *client, HttpResponse *response) noexcept
{
    if (client->shown)
        client->shown->busy = false;
    client->shown = nullptr;
    *response = HttpResponse{};

    int left = 0;
    CURLMsg *message = curl_multi_info_read(client->multi, &left);
    if (!message)
        return false;
    CURLcode code = message->data.result; /* the message dies with remove_handle */
    CURL *easy = message->easy_handle;
    char *context = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    auto *transfer = reinterpret_cast<Transfer *>(context);

    judge_transfer(*transfer, code, response);
    response->tag = transfer->tag;
    response->retry_after_s = transfer->retry_after_s;
    response->body = transfer->body;
    response->body_size = transfer->body_size;
    response->should_retry = transfer->should_retry;
    response->dns_us = measured(*transfer, CURLINFO_NAMELOOKUP_TIME_T);
    response->connect_us = measured(*transfer, CURLINFO_CONNECT_TIME_T);
    response->tls_us = measured(*transfer, CURLINFO_APPCONNECT_TIME_T);
    response->first_byte_us = measured(*transfer, CURLINFO_STARTTRANSFER_TIME_T);
    response->total_us = measured(*transfer, CURLINFO_TOTAL_TIME_T);

    curl_multi_remove_handle(client->multi, easy);
    clear_transfer(transfer);
    client->shown = transfer;
    client->in_flight--;
    return true;
}

} // namespace skene
