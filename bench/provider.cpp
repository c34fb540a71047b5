/*
 * provider.cpp: the provider of the bench: takes requests, answers them as Resend does,
 * and is so quick that it never is what is measured.
 *
 *   provider PORT_FILE          listens on 127.0.0.1, writes the port down, ends on SIGTERM
 *
 *   POST /DELAY/...             200 {"id": ...} after DELAY milliseconds; without a number at once
 *   POST /hang/...              no answer
 *   GET  /release               those are answered after all
 *   GET  /requests              a line for each POST since the last GET: when it was there,
 *                               in microseconds of CLOCK_REALTIME, and its idempotency key
 *
 * One thread, one epoll. Answers of one delay are due in the order of their requests, so a
 * queue for each delay holds them. Whoever does not speak HTTP/1.1 with a Content-Length is
 * left: the only client is ours.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace
{

/* A client; ids, as file descriptors are used again before an answer is due. */
struct Connection {
    int fd;
    std::string received;
};

struct Answer {
    int64_t due; /* nanoseconds of CLOCK_MONOTONIC */
    uint64_t connection;
};

constexpr uint64_t listener_id = 0;
constexpr uint64_t timer_id = 1;

std::unordered_map<uint64_t, Connection> connections;
std::map<int, std::deque<Answer>> answers; /* by delay */
std::vector<uint64_t> hanging;             /* connections */
std::string requests;
uint64_t next_id = 2;
uint64_t answered = 0;
int epoll = -1;
int timer = -1;

[[noreturn]] void
fail(const char *what)
{
    std::perror(what);
    std::exit(1);
}

int64_t
clock_ns(clockid_t clock)
{
    timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void
watch(int fd, uint64_t id)
{
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = id;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
}

void
hang_up(uint64_t id)
{
    auto found = connections.find(id);
    if (found == connections.end())
        return;
    close(found->second.fd);
    connections.erase(found);
}

/* Write all of an answer; one that does not fit the socket's buffer waits, as all do then. */
void
reply(uint64_t id, std::string_view body)
{
    auto found = connections.find(id);
    if (found == connections.end())
        return;
    std::string text = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"
                       "Content-Type: application/json\r\nContent-Length: " +
                       std::to_string(body.size()) + "\r\n\r\n";
    text += body;
    for (size_t done = 0; done < text.size();) {
        ssize_t sent = send(found->second.fd, text.data() + done, text.size() - done, MSG_NOSIGNAL);
        if (sent < 0) {
            hang_up(id);
            return;
        }
        done += static_cast<size_t>(sent);
    }
}

/* Say that a message is accepted. */
void
accept_message(uint64_t id)
{
    char body[64];
    int size = std::snprintf(body, sizeof body, "{\"id\":\"49a3999c-0ce1-4ea6-ab68-%012llx\"}",
                             static_cast<unsigned long long>(++answered));
    reply(id, {body, static_cast<size_t>(size)});
}

/* The value of a header, empty when it is not there. */
std::string_view
header(std::string_view head, std::string_view name)
{
    for (size_t line = head.find("\r\n"); line != std::string_view::npos;
         line = head.find("\r\n", line)) {
        line += 2;
        if (head.size() - line > name.size() && head[line + name.size()] == ':' &&
            strncasecmp(head.data() + line, name.data(), name.size()) == 0) {
            size_t begin = line + name.size() + 1;
            begin += begin < head.size() && head[begin] == ' ';
            return head.substr(begin, head.find("\r\n", begin) - begin);
        }
    }
    return {};
}

/* Take one whole request off what a connection has received; false when there is none. */
bool
take_request(uint64_t id, Connection *connection)
{
    std::string_view received = connection->received;
    size_t end = received.find("\r\n\r\n");
    if (end == std::string_view::npos)
        return false;
    std::string_view head = received.substr(0, end + 2);
    size_t size = end + 4 + std::strtoul(header(head, "content-length").data() ?: "0", nullptr, 10);
    if (received.size() < size)
        return false;
    if (head.starts_with("GET /requests ")) {
        reply(id, requests);
        requests.clear();
    } else if (head.starts_with("GET /release ")) {
        for (uint64_t one : hanging)
            accept_message(one);
        hanging.clear();
        reply(id, "{}");
    } else {
        requests += std::to_string(clock_ns(CLOCK_REALTIME) / 1000) + ' ';
        requests += header(head, "idempotency-key");
        requests += '\n';
        if (head.starts_with("POST /hang/")) {
            hanging.push_back(id);
        } else {
            int delay = std::atoi(head.data() + std::strlen("POST /"));
            answers[delay].push_back({clock_ns(CLOCK_MONOTONIC) + delay * 1000000LL, id});
        }
    }
    connection->received.erase(0, size);
    return true;
}

/* Read what a client has sent. */
void
receive(uint64_t id)
{
    char buffer[64 * 1024];
    auto found = connections.find(id);
    if (found == connections.end())
        return;
    ssize_t got = recv(found->second.fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        hang_up(id);
        return;
    }
    if (got > 0)
        found->second.received.append(buffer, static_cast<size_t>(got));
    while (take_request(id, &found->second))
        ;
}

/* Answer what is due, and set the timer for the next. */
void
answer_due()
{
    int64_t next = 0;
    for (auto &[delay, waiting] : answers) {
        while (!waiting.empty() && waiting.front().due <= clock_ns(CLOCK_MONOTONIC)) {
            accept_message(waiting.front().connection);
            waiting.pop_front();
        }
        if (!waiting.empty() && (next == 0 || waiting.front().due < next))
            next = waiting.front().due;
    }
    itimerspec when{};
    when.it_value.tv_sec = next / 1000000000;
    when.it_value.tv_nsec = next % 1000000000;
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, nullptr);
}

void
welcome(int listener)
{
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections.emplace(next_id, Connection{fd, {}});
    watch(fd, next_id++);
}

int
listen_somewhere(const char *port_file)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    socklen_t size = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto *generic = reinterpret_cast<sockaddr *>(&address);
    if (listener < 0 || bind(listener, generic, size) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, generic, &size) != 0)
        fail("listen");
    std::FILE *file = std::fopen(port_file, "w");
    if (!file || std::fprintf(file, "%d\n", ntohs(address.sin_port)) < 0 || std::fclose(file) != 0)
        fail(port_file);
    return listener;
}

} // namespace

int
main(int, char **arguments)
{
    epoll = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int listener = listen_somewhere(arguments[1]);
    watch(listener, listener_id);
    watch(timer, timer_id);
    for (;;) {
        epoll_event ready[256];
        int count = epoll_wait(epoll, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            uint64_t id = ready[i].data.u64;
            if (id == listener_id)
                welcome(listener);
            else if (id != timer_id)
                receive(id);
        }
        answer_due();
    }
}
