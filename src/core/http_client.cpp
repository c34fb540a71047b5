/*
 * http_client.cpp: POST requests to providers over one libcurl multi handle.
 *
 * Invariant: whatever libcurl waits for, sockets and time, is in one epoll set, whose
 * descriptor is readable when there is something to do. However many requests are under
 * way, waiting costs the same.
 */
#include "core/http_client.hpp"

#include "core/http_transfer.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <new>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace skene
{

namespace
{

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

} // namespace

class HttpClient
{
  public:
    HttpClient() = default;
    ~HttpClient();
    HttpClient(const HttpClient &) = delete;
    HttpClient &operator=(const HttpClient &) = delete;

    CURLM *multi = nullptr;
    int epoll = -1; /* sockets that libcurl waits for, and the timer */
    int timer = -1; /* when it wants to be called */
    bool timer_expires_now = false;
    std::string user_agent;
    std::vector<std::unique_ptr<Transfer>> transfers; /* easy handles are used again */
    std::vector<Transfer *> idle;
    Transfer *shown = nullptr; /* its body was handed out by the last next_response() */
    int in_flight = 0;         /* started and not handed out */
    int running = 0;           /* of those, not finished */
};

/* Stop everything, however far it got; waits for no peer and no resolver. */
HttpClient::~HttpClient()
{
    for (const auto &transfer : transfers)
        curl_multi_remove_handle(multi, transfer->easy); /* harmless if not in it */
    transfers.clear();
    curl_multi_cleanup(multi);
    for (int fd : {epoll, timer})
        if (fd >= 0)
            close(fd);
}

namespace
{

/* Find or make a transfer that is not in use; throws std::bad_alloc. */
Transfer *
idle_transfer(HttpClient *client)
{
    if (client->idle.empty()) {
        auto fresh = std::make_unique<Transfer>();
        fresh->easy = curl_easy_init();
        if (!fresh->easy)
            throw std::bad_alloc();
        client->transfers.reserve(client->transfers.size() + 1);
        client->idle.reserve(client->transfers.capacity()); /* to give back cannot fail */
        client->idle.push_back(fresh.get());
        client->transfers.push_back(std::move(fresh));
    }
    Transfer *transfer = client->idle.back();
    client->idle.pop_back();
    return transfer;
}

/* libcurl: wait for this socket from now on, or no longer. */
int
on_socket(CURL *, curl_socket_t fd, int what, void *context, void *known)
{
    auto *client = static_cast<HttpClient *>(context);
    epoll_event event{};
    event.data.fd = fd;
    event.events =
        ((what & CURL_POLL_IN) ? EPOLLIN : 0U) | ((what & CURL_POLL_OUT) ? EPOLLOUT : 0U);
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(client->epoll, EPOLL_CTL_DEL, fd, nullptr);
        return 0;
    }
    if (epoll_ctl(client->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0)
        return -1;
    curl_multi_assign(client->multi, fd, client); /* known from now on */
    return 0;
}

/* libcurl: call again in so many milliseconds; -1 = no need to. */
int
on_timer(CURLM *, long timeout_ms, void *context)
{
    auto *client = static_cast<HttpClient *>(context);
    if (timeout_ms == 0 && client->timer_expires_now)
        return 0;
    itimerspec when{}; /* zeros: never */
    if (timeout_ms > 0) {
        when.it_value.tv_sec = timeout_ms / 1000;
        when.it_value.tv_nsec = timeout_ms % 1000 * 1000000;
    } else if (timeout_ms == 0) {
        when.it_value.tv_nsec = 1;
    }
    client->timer_expires_now = timeout_ms == 0;
    return timerfd_settime(client->timer, 0, &when, nullptr);
}

/* The timer has expired: let libcurl look at the time. */
void
take_time(HttpClient *client)
{
    uint64_t expirations;
    (void) !read(client->timer, &expirations, sizeof expirations);
    client->timer_expires_now = false;
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &client->running);
}

/* Wait up to timeout_ms for something to do, and let libcurl do all there is. */
int
move_transfers(HttpClient *client, int timeout_ms)
{
    epoll_event ready[64];
    int count;

    do {
        count = epoll_wait(client->epoll, ready, std::size(ready), timeout_ms);
        timeout_ms = 0;
        SignalsBlocked blocked;
        for (int i = 0; i < count; i++) {
            uint32_t seen = ready[i].events;
            int what = ((seen & (EPOLLIN | EPOLLHUP)) ? CURL_CSELECT_IN : 0) |
                       ((seen & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
                       ((seen & EPOLLERR) ? CURL_CSELECT_ERR : 0);
            if (ready[i].data.fd == client->timer)
                take_time(client);
            else
                curl_multi_socket_action(client->multi, ready[i].data.fd, what, &client->running);
        }
    } while (count == static_cast<int>(std::size(ready)));
    return client->running;
}

/* Make the epoll set and its timer. */
bool
open_epoll(HttpClient *client)
{
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    client->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = client->timer;
    return epoll_ctl(client->epoll, EPOLL_CTL_ADD, client->timer, &event) == 0;
}

} // namespace

/*
 * Start libcurl. SIGPIPE must be ignored by the process, as it is in every
 * PostgreSQL process: OpenSSL writes to sockets that a peer may have closed.
 */
HttpClient *
open_http_client(std::string_view user_agent, int connections) noexcept
try {
    if (!valid_header_value(user_agent) || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return nullptr;
    auto client = std::make_unique<HttpClient>();
    client->user_agent = user_agent;
    client->multi = curl_multi_init();
    if (!client->multi || !open_epoll(client.get()))
        return nullptr;
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, static_cast<long>(connections));
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, &on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client.get());
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, &on_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client.get());
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
    return client.release();
} catch (...) {
    return nullptr;
}

void
close_http_client(HttpClient *client) noexcept
{
    if (!client)
        return;
    delete client;
    curl_global_cleanup();
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
            wrong = fill_transfer(transfer, url, client->user_agent, request);
            SignalsBlocked blocked;
            if (!wrong && curl_multi_add_handle(client->multi, transfer->easy) != CURLM_OK)
                wrong = "out of memory";
        }
    } catch (...) {
        wrong = "out of memory";
    }
    if (wrong) {
        if (transfer) {
            clear_transfer(transfer);
            client->idle.push_back(transfer);
        }
        if (reason_size > 0)
            std::snprintf(reason, reason_size, "%s", wrong);
        return false;
    }
    transfer->tag = request.tag;
    transfer->body_size = 0;
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
    int running = move_transfers(client, 0);
    if (running == 0 || running < client->in_flight || timeout_ms <= 0)
        return running;
    return move_transfers(client, timeout_ms);
}

int
traffic_descriptor(const HttpClient *client) noexcept
{
    return client->epoll;
}

/* Take one finished transfer; its body stays until the next call. */
bool
next_response(HttpClient *client, HttpResponse *response) noexcept
{
    if (client->shown)
        client->idle.push_back(client->shown);
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

    read_transfer(*transfer, code, response);
    curl_multi_remove_handle(client->multi, easy);
    clear_transfer(transfer);
    client->shown = transfer;
    client->in_flight--;
    return true;
}

} // namespace skene
