// Plain blocking sockets and Beast's parser: a program that only asks needs neither Asio's reactor nor a thread.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/fd.h"
#include "io/http.h"

namespace axo {
namespace {

namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using Parser = http::response_parser<http::string_body>;

constexpr std::uint64_t kBodyLimit = 512ULL * 1024 * 1024;
constexpr std::uint32_t kHeaderLimit = 64 * 1024;
constexpr Duration kLongestTimeout = std::chrono::hours(24 * 365);

struct Target {
    sockaddr_storage address{};
    socklen_t length = 0;
    std::string host;  // for the Host header
};

std::unexpected<Error> bad_address(const std::string& address, std::string_view why) {
    return fail(
        Code::kInvalidArgument,
        "address \"" + address + "\": " + std::string(why) +
            "; accepted are unix:///path/to.sock, http://192.0.2.1:80, http://[2001:db8::1]:80 and http://localhost:80");
}

Result<Target> parse_address(const std::string& address) {
    Target target;
    if (address.starts_with("unix://")) {
        const std::string path = address.substr(7);
        auto& un = reinterpret_cast<sockaddr_un&>(target.address);
        if (path.empty()) return bad_address(address, "no path");
        if (path.size() >= sizeof(un.sun_path)) {
            return bad_address(address, "path longer than " + std::to_string(sizeof(un.sun_path) - 1) + " bytes");
        }
        un.sun_family = AF_UNIX;
        std::memcpy(un.sun_path, path.data(), path.size());
        target.length = sizeof(un);
        target.host = "localhost";
        return target;
    }
    if (!address.starts_with("http://")) return bad_address(address, "unknown scheme");
    std::string host = address.substr(7);
    if (!host.empty() && host.back() == '/') host.pop_back();
    target.host = host;
    std::uint16_t port = 80;
    const auto colon = host.rfind(':');
    if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
        const std::string_view digits = std::string_view(host).substr(colon + 1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
        if (error != std::errc() || end != digits.data() + digits.size() || port == 0)
            return bad_address(address, "port is not 1 to 65535");
        host.resize(colon);
    }
    if (host == "localhost") host = "127.0.0.1";
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    const auto ip = IpAddress::parse(host);
    if (!ip) return bad_address(address, "host is neither an IP address nor localhost");
    if (ip->is_v4()) {
        auto& v4 = reinterpret_cast<sockaddr_in&>(target.address);
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, ip->bytes().data(), 4);
        target.length = sizeof(v4);
    } else {
        auto& v6 = reinterpret_cast<sockaddr_in6&>(target.address);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&v6.sin6_addr, ip->bytes().data(), 16);
        target.length = sizeof(v6);
    }
    return target;
}

// Waits until the descriptor is ready; time_point::max(): for ever.
Status wait_for(int fd, short events, Clock::time_point deadline, std::string_view what) {
    for (;;) {
        int timeout = -1;
        if (deadline != Clock::time_point::max()) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
            if (left <= 0) return fail(Code::kDeadlineExceeded, std::string(what) + ": timed out");
            timeout = static_cast<int>(std::min<std::int64_t>(left, 1'000'000'000));
        }
        pollfd state{.fd = fd, .events = events, .revents = 0};
        const int ready = ::poll(&state, 1, timeout);
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return fail_errno(what);
    }
}

bool is_idempotent(std::string_view method) {
    return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE";
}

Code code_of_status(int status) {
    switch (status) {
        case 400: return Code::kInvalidArgument;
        case 401:
        case 403: return Code::kPermissionDenied;
        case 404: return Code::kNotFound;
        case 409: return Code::kAlreadyExists;
        case 429: return Code::kResourceExhausted;
        case 501: return Code::kUnimplemented;
        case 503: return Code::kUnavailable;
        case 504: return Code::kDeadlineExceeded;
        default: return status >= 500 ? Code::kInternal : Code::kUnknown;
    }
}

std::string lower(std::string text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

HttpResponse to_response(Parser::value_type&& message) {
    HttpResponse response;
    response.status = static_cast<int>(message.result_int());
    response.content_type.clear();
    for (const auto& field : message) {
        std::string value(field.value());
        std::string name = lower(std::string(field.name_string()));
        if (name == "content-type") response.content_type = value;
        response.headers.insert_or_assign(std::move(name), std::move(value));
    }
    response.body = std::move(message.body());
    return response;
}

}  // namespace

struct HttpClient::Impl {
    Impl(std::string where, Target goal, Duration limit)
        : address(std::move(where)), target(std::move(goal)), timeout(limit) {}

    [[nodiscard]] Clock::time_point deadline() const { return Clock::now() + timeout; }

    Status open(Clock::time_point until) {
        const std::string what = "connect " + address;
        input.clear();
        used = false;
        fd.reset(::socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!fd) return fail_errno("socket");
        const auto refused = [&](int error) -> Status {
            fd.reset();
            auto failure = fail_errno(what, error);
            // No socket file is the same news as no listener: the other side does not run.
            if (error == ENOENT || error == ENETUNREACH || error == EHOSTUNREACH)
                failure.error().code = Code::kUnavailable;
            return failure;
        };
        while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&target.address), target.length) != 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN && target.address.ss_family == AF_UNIX) {
                // The backlog is full; unlike TCP there is nothing to wait on.
                if (Clock::now() >= until)
                    return fail(Code::kDeadlineExceeded, what + ": timed out, too many clients are waiting");
                ::poll(nullptr, 0, 2);
                continue;
            }
            if (errno != EINPROGRESS && errno != EALREADY) return refused(errno);
            if (auto ready = wait_for(fd.get(), POLLOUT, until, what); !ready) {
                fd.reset();
                return ready;
            }
            int error = 0;
            socklen_t length = sizeof(error);
            ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
            if (error != 0) return refused(error);
            break;
        }
        if (target.address.ss_family != AF_UNIX) {
            const int on = 1;
            ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        }
        return {};
    }

    Status write(std::string_view data, Clock::time_point until) const {
        while (!data.empty()) {
            const ssize_t count = ::send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL);
            if (count >= 0) {
                data.remove_prefix(static_cast<std::size_t>(count));
            } else if (errno == EAGAIN) {
                TRY(wait_for(fd.get(), POLLOUT, until, "sending to " + address));
            } else if (errno != EINTR) {
                return fail_errno("sending to " + address);
            }
        }
        return {};
    }

    // Reads more input; false at the end of the connection.
    Result<bool> read(Clock::time_point until) {
        constexpr std::size_t kPiece = 64 * 1024;
        for (;;) {
            const std::size_t old = input.size();
            input.resize(old + kPiece);
            const ssize_t count = ::recv(fd.get(), input.data() + old, kPiece, 0);
            const int error = errno;
            input.resize(old + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
            if (count > 0) return true;
            if (count == 0) return false;
            if (error == EAGAIN) {
                TRY(wait_for(fd.get(), POLLIN, until, "waiting for " + address));
            } else if (error != EINTR) {
                return fail_errno("reading from " + address, error);
            }
        }
    }

    // Gives the parser what has arrived, reading when that is not enough for one step.
    Status feed(Parser& parser, Clock::time_point until) {
        for (;;) {
            boost::system::error_code error;
            if (!input.empty()) {
                const std::size_t used_up = parser.put(boost::asio::const_buffer(input.data(), input.size()), error);
                input.erase(0, used_up);
                if (error && error != http::error::need_more) return malformed(error);
                if (used_up > 0 || parser.is_done()) return {};
            }
            TRY_ASSIGN(const bool more, read(until));
            if (more) continue;
            if (!parser.got_some())
                return fail(Code::kUnavailable, address + " closed the connection without an answer");
            parser.put_eof(error);
            if (error) return fail(Code::kDataLoss, address + " closed the connection in mid-answer");
            return {};
        }
    }

    [[nodiscard]] Status malformed(const boost::system::error_code& error) const {
        return fail(Code::kDataLoss, "answer of " + address + " is not HTTP as expected: " + error.message());
    }

    [[nodiscard]] std::string head(const std::string& method, const std::string& path, const std::string& body,
                                   const std::map<std::string, std::string>& headers) const {
        std::string text = method + " " + path + " HTTP/1.1\r\nHost: " + target.host + "\r\nAccept: */*\r\n";
        bool has_type = false;
        for (const auto& [name, value] : headers) {
            has_type = has_type || lower(name) == "content-type";
            text += name + ": " + value + "\r\n";
        }
        if (!body.empty() && !has_type) text += "Content-Type: application/json\r\n";
        if (!body.empty() || method == "POST" || method == "PUT" || method == "PATCH") {
            text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
        }
        return text + "\r\n";
    }

    static void renew(std::optional<Parser>& parser, std::string_view method) {
        parser.emplace();
        parser->eager(true);
        parser->header_limit(kHeaderLimit);
        parser->body_limit(kBodyLimit);
        if (method == "HEAD") parser->skip(true);
    }

    // Sends the request and reads the head of the answer. A kept connection may have been closed by the server just
    // now; then the request is sent once more over a new one, unless doing it twice could do harm.
    Status begin(const std::string& method, const std::string& path, const std::string& body,
                 const std::map<std::string, std::string>& headers, std::optional<Parser>& parser,
                 Clock::time_point until) {
        if (path.empty() || path.front() != '/' || path.find_first_of(" \r\n") != std::string::npos) {
            return fail(Code::kInvalidArgument, "request target \"" + path + "\" must start with / and hold no blanks");
        }
        for (const auto& [name, value] : headers) {
            if ((name + value).find_first_of("\r\n") != std::string::npos)
                return fail(Code::kInvalidArgument, "header \"" + name + "\" holds a line break");
        }
        const std::string request = head(method, path, body, headers);
        for (;;) {
            if (!fd) TRY(open(until));
            const bool retry = std::exchange(used, true) && is_idempotent(method);
            renew(parser, method);
            auto sent = write(request, until);
            if (sent) sent = write(body, until);
            // A server that refuses early (413) may stop reading; its answer is there nevertheless.
            Status answered = sent || sent.error().code == Code::kUnavailable ? feed(*parser, until) : sent;
            while (answered && !parser->is_header_done()) answered = feed(*parser, until);
            // 100 Continue and its like announce the answer.
            if (answered && parser->get().result_int() / 100 == 1) {
                renew(parser, method);
                do answered = feed(*parser, until);
                while (answered && !parser->is_header_done());
            }
            if (answered) return {};
            fd.reset();
            if (!retry || parser->got_some() || answered.error().code != Code::kUnavailable) return answered;
        }
    }

    void finish(const Parser& parser) {
        if (!parser.is_done() || !parser.keep_alive()) fd.reset();
    }

    std::string address;
    Target target;
    Duration timeout;
    Fd fd;
    bool used = false;  // the connection has carried a request
    std::string input;  // read and not parsed
};

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpClient> HttpClient::connect(const std::string& address, Duration timeout) {
    TRY_ASSIGN(Target target, parse_address(address));
    auto impl = std::make_unique<Impl>(address, std::move(target), std::clamp(timeout, Duration{0}, kLongestTimeout));
    TRY(impl->open(impl->deadline()));
    return HttpClient(std::move(impl));
}

Result<HttpResponse> HttpClient::request(const std::string& method, const std::string& target, const std::string& body,
                                         const std::map<std::string, std::string>& headers) {
    const auto until = impl_->deadline();
    std::optional<Parser> parser;
    TRY(impl_->begin(method, target, body, headers, parser, until));
    while (!parser->is_done()) {
        if (auto fed = impl_->feed(*parser, until); !fed) {
            impl_->fd.reset();
            return std::unexpected(std::move(fed).error());
        }
    }
    impl_->finish(*parser);
    return to_response(parser->release());
}

Status HttpClient::stream(const std::string& method, const std::string& target,
                          const std::function<bool(std::string_view)>& sink) {
    std::optional<Parser> parser;
    const auto until = impl_->deadline();
    TRY(impl_->begin(method, target, {}, {}, parser, until));
    const int status = static_cast<int>(parser->get().result_int());
    const bool good = status / 100 == 2;
    for (;;) {
        std::string& body = parser->get().body();
        if (good && !body.empty()) {
            const std::string piece = std::exchange(body, {});
            if (!sink(piece)) {
                impl_->fd.reset();  // the rest of the stream would be taken for the next answer
                return {};
            }
        }
        if (parser->is_done()) break;
        if (auto fed = impl_->feed(*parser, good ? Clock::time_point::max() : until); !fed) {
            impl_->fd.reset();
            return fed;
        }
    }
    impl_->finish(*parser);
    if (good) return {};
    return fail(code_of_status(status), method + " " + target + ": status " + std::to_string(status) + ": " +
                                            parser->get().body().substr(0, 4096));
}

}  // namespace axo
