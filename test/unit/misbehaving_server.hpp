/*
 * misbehaving_server.hpp: an HTTP server on loopback that misbehaves on demand.
 *
 * The path of a request names the behaviour; see behave(). Destroying the server
 * ends every connection, also those that hang.
 */
#pragma once

#include "core/http_client.hpp"

#include <arpa/inet.h>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace skene
{

/* Listens on loopback; every connection gets a thread. */
class MisbehavingServer
{
  public:
    MisbehavingServer()
    {
        listener_ = socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (bind(listener_, reinterpret_cast<sockaddr *>(&address), size) != 0 ||
            listen(listener_, 16) != 0 ||
            getsockname(listener_, reinterpret_cast<sockaddr *>(&address), &size) != 0)
            abort();
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }

    ~MisbehavingServer()
    {
        stop_ = true;
        shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        for (std::thread &thread : threads_)
            thread.join();
        close(listener_);
    }

    std::string
    url(const std::string &path, const std::string &scheme = "http") const
    {
        return scheme + "://127.0.0.1:" + std::to_string(port_) + path;
    }

    std::string
    last_request()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return last_request_;
    }

    int
    requests() const
    {
        return requests_;
    }

    int
    connections() const
    {
        return connections_;
    }

  private:
    void
    accept_all()
    {
        for (;;) {
            int fd = accept(listener_, nullptr, nullptr);
            if (fd < 0)
                return;
            connections_++;
            threads_.emplace_back([this, fd] {
                serve(fd);
                close(fd);
            });
        }
    }

    /* Wait until there is something to read; false when the test is over. */
    bool
    readable(int fd) const
    {
        pollfd wanted{fd, POLLIN, 0};
        while (!stop_)
            if (poll(&wanted, 1, 10) > 0)
                return true;
        return false;
    }

    void
    serve(int fd)
    {
        std::string text;
        char piece[4096];
        while (readable(fd)) {
            ssize_t size = recv(fd, piece, sizeof piece, 0);
            if (size <= 0)
                return;
            text.append(piece, static_cast<size_t>(size));
            size_t head = text.find("\r\n\r\n");
            if (head == std::string::npos)
                continue;
            size_t mark = text.find("Content-Length: ");
            size_t length = mark < head ? std::stoul(text.substr(mark + 16)) : 0;
            if (text.size() < head + 4 + length)
                continue;
            {
                std::lock_guard<std::mutex> lock(mutex_);
                last_request_ = text;
                requests_++;
            }
            std::string path = text.substr(5, text.find(' ', 5) - 5); /* "POST " */
            if (!behave(fd, path.substr(0, path.find('?'))))
                return;
            text.clear();
        }
    }

    static bool
    say(int fd, const std::string &text)
    {
        return send(fd, text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size());
    }

    static std::string
    response(const std::string &status, const std::string &body, const std::string &headers = "")
    {
        return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\n" + headers + "\r\n" + body;
    }

    /* Answer as the path says; true to keep the connection. */
    bool
    behave(int fd, const std::string &path)
    {
        if (path == "/ok")
            return say(fd, response("200 OK", R"({"id":"1"})"));
        if (path == "/created-and-closed")
            return say(fd, response("201 Created", "{}")), false;
        if (path == "/redirect")
            return say(fd, response("302 Found", "", "Location: " + url("/ok") + "\r\n"));
        if (path == "/redirect-loop")
            return say(fd, response("302 Found", "", "Location: " + url(path) + "\r\n"));
        if (path == "/gzip-bomb") /* the head of one is enough: nobody may unpack it */
            return say(fd, response("200 OK", "\x1f\x8b\x08" + std::string(65536, '\0'),
                                    "Content-Encoding: gzip\r\n")),
                   false;
        if (path == "/truncated-chunk")
            return say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"), false;
        if (path == "/nonsense-chunk")
            return say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n"), false;
        if (path.starts_with("/should-retry/"))
            return say(
                fd, response("500 No", "{}", "Stripe-Should-Retry: " + path.substr(14) + "\r\n"));
        if (path == "/continue")
            return say(fd, "HTTP/1.1 100 Continue\r\n\r\n" + response("200 OK", "{}"));
        if (path == "/exactly-full")
            return say(fd, response("200 OK", std::string(max_response_bytes, 'x')));
        if (path.starts_with("/retry-after/")) {
            std::string value = path.substr(13);
            if (value == "past" || value == "future") {
                time_t then = time(nullptr) + (value == "past" ? -100 : 100);
                char text[64];
                strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then));
                value = text;
            }
            return say(fd, response("429 Slow", "", "rEtry-aFter: " + value + " \r\n"));
        }
        if (path == "/hang")
            return readable(fd) && false;
        if (path == "/status-then-hang") {
            say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1");
            return readable(fd) && false;
        }
        if (path == "/refuse-then-hang") {
            say(fd, "HTTP/1.1 503 No\r\nContent-Length: 10\r\n\r\n1");
            return readable(fd) && false;
        }
        if (path == "/continue-then-hang") {
            say(fd, "HTTP/1.1 100 Continue\r\n\r\n");
            return readable(fd) && false;
        }
        if (path == "/reset") {
            linger now{1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            return false;
        }
        if (path == "/no-reply")
            return false;
        if (path == "/lost-then-refused") {
            if (losses_++ % 2 == 0)
                return false;
            return say(fd, response("429 Slow", "{}"));
        }
        if (path == "/truncated")
            return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1"), false;
        if (path == "/truncated-refusal")
            return say(fd, "HTTP/1.1 422 No\r\nContent-Length: 10\r\n\r\n1"), false;
        if (path == "/nonsense")
            return say(fd, "hello\r\n\r\n"), false;
        if (path == "/slow") {
            for (char c : response("200 OK", "slow")) {
                say(fd, std::string(1, c));
                usleep(1000);
            }
            return true;
        }
        if (path == "/endless-body") {
            say(fd, "HTTP/1.1 200 OK\r\n\r\n");
            while (!stop_ && say(fd, std::string(8192, 'x')))
                ;
            return false;
        }
        if (path == "/endless-headers") {
            say(fd, "HTTP/1.1 200 OK\r\n");
            while (!stop_ && say(fd, "X-Header: " + std::string(1000, 'x') + "\r\n"))
                ;
            return false;
        }
        return say(fd, response("404 Not Found", ""));
    }

    int listener_ = -1;
    int port_ = 0;
    std::atomic<bool> stop_{false};
    std::atomic<int> connections_{0};
    std::atomic<int> requests_{0};
    std::atomic<int> losses_{0};
    std::thread acceptor_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::string last_request_;
};

} // namespace skene
