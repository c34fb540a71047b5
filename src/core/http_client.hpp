/*
 * http_client.hpp: requests to providers, several at once, without blocking.
 *
 * Lives in the worker only. The caller drives it: start() queues a request,
 * poll() waits for at most the time given and moves transfers on, next() takes
 * finished ones. A caller with more to wait for waits for traffic_descriptor() as well, and
 * polls without waiting. Nothing here calls the server; signals are blocked
 * around calls that may start libcurl's resolver thread, so that it never runs our handlers.
 */
#pragma once

#include "core/retry_advice.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace skene
{

struct HttpRequest {
    uint64_t tag = 0;              /* the caller's; comes back in the response */
    std::string_view url;          /* https, or http on 127.0.0.1, ::1, localhost */
    std::string_view bearer_token; /* Authorization: Bearer; may be empty */
    std::string_view content_type;
    std::string_view idempotency_key; /* may be empty */
    std::string_view extra_header;    /* "Name: value", ours; may be empty */
    std::string_view body;            /* copied */
    const char *proxy = "";           /* URL; "" = none, whatever the environment says */
    const char *ca_file = "";         /* PEM of whom to trust; "" = the system's */
    int32_t connect_timeout_ms = 5000;
    int32_t total_timeout_ms = 30000;
};

enum class HttpOutcome : uint8_t {
    answered, /* a status line and a whole body (perhaps cut, see below) arrived */
    not_sent, /* refused before any byte of the request left: safe to retry */
    unknown,  /* it may have arrived: retry only with the same key and bytes */
};

struct HttpResponse {
    uint64_t tag = 0;
    HttpOutcome outcome = HttpOutcome::unknown;
    int32_t status = 0;  /* HTTP status when answered */
    bool resent = false; /* the answer to a second copy: the first may have arrived, too */
    RetryAdvice advice;
    char error[256] = {};       /* which phase failed and how; no secret, no URL query */
    const char *body = nullptr; /* first max_response_bytes; valid until the next call */
    size_t body_size = 0;
    /* since the start; 0 = never got there, or a connection was used again */
    int64_t dns_us = 0;
    int64_t connect_us = 0; /* libcurl before 7.89 counts TLS in */
    int64_t tls_us = 0;
    int64_t first_byte_us = 0;
    int64_t total_us = 0;
};

/* Bytes of a response that are kept; a longer body is cut off and still counts as answered. */
constexpr size_t max_response_bytes = 64 * 1024;

class HttpClient;

/*
 * One client for the life of the worker, which keeps so many connections open for further
 * requests; null when libcurl cannot start. How many are under way to one host is the caller's
 * concern: to libcurl two providers behind one gateway are one host.
 */
HttpClient *open_http_client(std::string_view user_agent, int connections = 16) noexcept;
void close_http_client(HttpClient *client) noexcept;

/* Queue a request; false with a reason when the URL, a header or memory forbids it. */
bool start_request(HttpClient *client, const HttpRequest &request, char *reason,
                   size_t reason_size) noexcept;

/* Wait up to timeout_ms for traffic and move transfers on; returns how many are under way. */
int poll_requests(HttpClient *client, int timeout_ms) noexcept;

/* Readable when poll_requests() has something to do: traffic, or a time that has come. */
int traffic_descriptor(const HttpClient *client) noexcept;

/* Take one finished transfer; false when there is none. */
bool next_response(HttpClient *client, HttpResponse *response) noexcept;

} // namespace skene
