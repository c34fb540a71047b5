/*
 * http_transfer.hpp: one request and its answer, as libcurl's callbacks see them. Within the
 * core only: http_client.cpp runs them.
 */
#pragma once

#include "core/http_client.hpp"

#include <curl/curl.h>

#include <string>

namespace skene
{

/* Callbacks write here and nowhere else. */
struct Transfer {
    Transfer() {} /* not "= default": that would fill the body with zeros, and its pages */
    ~Transfer();
    Transfer(const Transfer &) = delete;
    Transfer &operator=(const Transfer &) = delete;

    CURL *easy = nullptr;
    curl_slist *headers = nullptr; /* holds the bearer token while the request runs */
    uint64_t tag = 0;
    bool begun = false; /* connected: from here on bytes of the request may be out */
    bool resent = false;
    bool body_cut = false;
    bool headers_cut = false;
    size_t header_bytes = 0;
    RetryAdvice advice;
    size_t body_size = 0;
    char curl_error[CURL_ERROR_SIZE] = {};
    char body[max_response_bytes];
};

/* May this be a header's value? Printable ASCII that no parser takes for more than one. */
bool valid_header_value(std::string_view value);

/* Why this URL may not be asked, or null; *normal receives it as libcurl reads it. */
const char *check_url(std::string_view text, std::string *normal);

/*
 * Give an idle transfer a request; returns what is wrong with it, or null. Throws
 * std::bad_alloc.
 */
const char *fill_transfer(Transfer *transfer, const std::string &url, const std::string &user_agent,
                          const HttpRequest &request);

/* Tell what became of a transfer that libcurl calls finished; the body stays its own. */
void read_transfer(const Transfer &transfer, CURLcode code, HttpResponse *response);

/* Forget what a finished request left, the body excepted. */
void clear_transfer(Transfer *transfer);

} // namespace skene
