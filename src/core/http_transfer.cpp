/*
 * http_transfer.cpp: what a request may say, and what its answer means.
 *
 * Invariant: a response is "not sent" only if libcurl never came to the point of
 * writing the request, and "answered" only if the status it carries is the one the
 * provider meant; everything between is "unknown". Secrets live in the header list
 * of a transfer and are wiped when it ends.
 */
#include "core/http_transfer.hpp"

#include "core/plain_text.hpp"

#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>
#include <vector>

/* CURLOPT_QUICK_EXIT: without it a hanging resolver would hold up timeouts and close. */
static_assert(LIBCURL_VERSION_NUM >= 0x075700, "libcurl 7.87 or newer is needed");

namespace skene
{

namespace
{

constexpr size_t max_header_bytes = 16 * 1024;

/* Free the headers, overwriting them first: one of them is the bearer token. */
void
wipe_headers(Transfer *transfer)
{
    for (curl_slist *header = transfer->headers; header; header = header->next)
        explicit_bzero(header->data, std::strlen(header->data));
    curl_slist_free_all(transfer->headers);
    transfer->headers = nullptr;
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
    read_header({data, size}, std::time(nullptr), &transfer->advice);
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

/*
 * libcurl: the connection stands (TLS included) and the request is next. For the second time
 * when a connection that was kept ended without an answer: libcurl sends the request again.
 */
int
on_connected(void *context, char *, char *, int, int)
{
    auto *transfer = static_cast<Transfer *>(context);
    transfer->resent = transfer->begun;
    transfer->begun = true;
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

Transfer::~Transfer()
{
    curl_easy_cleanup(easy);
    wipe_headers(this);
}

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

const char *
fill_transfer(Transfer *transfer, const std::string &url, const std::string &user_agent,
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
    return set_options(transfer, url, user_agent, request) ? nullptr : "out of memory";
}

void
read_transfer(const Transfer &transfer, CURLcode code, HttpResponse *response)
{
    judge_transfer(transfer, code, response);
    response->tag = transfer.tag;
    response->resent = transfer.resent;
    response->body = transfer.body;
    response->body_size = transfer.body_size;
    response->advice = transfer.advice;
    response->dns_us = measured(transfer, CURLINFO_NAMELOOKUP_TIME_T);
    response->connect_us = measured(transfer, CURLINFO_CONNECT_TIME_T);
    response->tls_us = measured(transfer, CURLINFO_APPCONNECT_TIME_T);
    response->first_byte_us = measured(transfer, CURLINFO_STARTTRANSFER_TIME_T);
    response->total_us = measured(transfer, CURLINFO_TOTAL_TIME_T);
}

void
clear_transfer(Transfer *transfer)
{
    curl_easy_reset(transfer->easy); /* keeps connections, drops every option */
    wipe_headers(transfer);
    transfer->begun = transfer->resent = transfer->body_cut = transfer->headers_cut = false;
    transfer->header_bytes = 0;
    transfer->advice = {};
    transfer->curl_error[0] = '\0';
}

} // namespace skene
