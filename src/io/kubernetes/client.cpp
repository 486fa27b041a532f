#include "io/kubernetes/client.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <ranges>

#include "base/elapsed.h"
#include "model/time.h"

namespace axo::kubernetes {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kIdleLimit = 4;
constexpr Duration kIdleTime = std::chrono::seconds(60);
constexpr Duration kShortestPause = std::chrono::milliseconds(100);
constexpr std::size_t kBodyLimit = 64 * 1024 * 1024;
constexpr auto kClockTolerance = std::chrono::minutes(2);

std::string header(const std::map<std::string, std::string>& headers, const char* name) {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
}

// Seconds; dates (RFC 9110 allows them) count as 1.
Duration retry_after(const std::map<std::string, std::string>& headers) {
    const std::string text = header(headers, "retry-after");
    unsigned seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc{} || end == text.data()) seconds = 1;
    return std::max<Duration>(std::chrono::seconds(seconds), kShortestPause);
}

MetricSet::Labels labels_of(const Request& request) {
    return {{"path", path_template(request.target)}, {"method", request.method}};
}

}  // namespace

// /api/v1/… and /apis/group/version/…, then namespaces/NAMESPACE/ if the resource has one, the resource, a name, more.
std::string path_template(std::string_view target) {
    std::vector<std::string> parts;
    for (const auto part : std::views::split(target.substr(0, target.find('?')), '/'))
        parts.emplace_back(part.begin(), part.end());
    std::size_t resource = parts.size() > 1 && parts[1] == "api" ? 3 : 4;
    if (parts.size() > resource + 2 && parts[resource] == "namespaces") {
        // A namespace's own sub-resources are no resources in it.
        const bool own = parts[resource + 2] == "status" || parts[resource + 2] == "finalize";
        if (!own) {
            parts[resource + 1] = "{namespace}";
            resource += 2;
        }
    }
    if (parts.size() > resource + 1) parts[resource + 1] = "{name}";
    std::string text;
    for (std::size_t i = 1; i < parts.size(); ++i) text += "/" + parts[i];
    return text;
}

Client::Client(EventLoop& loop, Access access, ClientSettings settings)
    : loop_(loop),
      credentials_(std::move(access)),
      settings_(std::move(settings)),
      throttle_(loop, settings_.qps, settings_.burst),
      // What is wrong with them is the next request's answer.
      refresh_(loop.every(settings_.refresh_interval, [this] { (void)refresh(); })) {}

Client::~Client() = default;

// ---- who we are ----

Status Client::refresh() {
    const unsigned before = credentials_.generation();
    TRY(credentials_.refresh());
    if (credentials_.generation() != before) idle_.clear();
    return {};
}

std::vector<std::string> Client::concerns() const {
    std::vector<std::string> all = credentials_.concerns();
    if (std::chrono::abs(clock_offset_) > kClockTolerance) {
        all.push_back("the API server's clock is " + std::to_string(std::chrono::abs(clock_offset_).count()) + " s " +
                      (clock_offset_.count() > 0 ? "ahead of" : "behind") +
                      " this machine's: set both by NTP, or certificates and tokens may be refused");
    }
    return all;
}

// ---- one exchange ----

std::string Client::message(const Request& request, const std::string& token, bool keep) const {
    const Server& server = server_now();
    std::string text = request.method + " " + server.path + request.target + " HTTP/1.1\r\n";
    const bool v6 = server.host.find(':') != std::string::npos;
    text += "Host: " + (v6 ? "[" + server.host + "]" : server.host) + ":" + std::to_string(server.port) + "\r\n";
    text += "User-Agent: " + settings_.user_agent + "\r\nAccept: " + request.accept + "\r\n";
    if (!token.empty()) text += "Authorization: Bearer " + token + "\r\n";
    if (!keep) text += "Connection: close\r\n";
    text += request.headers;
    if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
        text += "Content-Type: " + request.content_type + "\r\nContent-Length: " + std::to_string(request.body.size()) +
                "\r\n";
    }
    return text + "\r\n" + request.body;
}

std::shared_ptr<Connection> Client::reuse() {
    const auto now = Clock::now();
    while (!idle_.empty()) {
        Idle idle = std::move(idle_.back());
        idle_.pop_back();
        if (idle.server == server_ && now - idle.since < kIdleTime && idle.connection->reusable())
            return idle.connection;
    }
    return nullptr;
}

void Client::give_back(Exchange exchange) {
    if (header(exchange.head.headers, "connection") == "close" || !exchange.connection->reusable()) return;
    // The server would go on judging it by the certificate that it was made with.
    if (exchange.generation != credentials_.generation()) return;
    if (idle_.size() >= kIdleLimit) idle_.pop_front();
    idle_.push_back({std::move(exchange.connection), exchange.server, Clock::now()});
}

Task<Result<Client::Exchange>> Client::attempt(const Request& request, bool fresh, bool keep) {
    Exchange exchange;
    CO_TRY(refresh());
    exchange.server = server_;
    exchange.generation = credentials_.generation();
    const Server server = server_now();
    CO_TRY_ASSIGN(const std::string token, credentials_.bearer());
    if (!fresh) exchange.connection = reuse();
    const bool reused = exchange.connection != nullptr;
    if (!reused) {
        CO_TRY_ASSIGN(exchange.connection, Connection::open(loop_, server, credentials_.tls(), access().server_name,
                                                            settings_.connect_timeout));
    }
    const auto asked = Clock::now();
    CO_AWAIT(auto head, exchange.connection->exchange(message(request, token, keep), settings_.request_timeout));
    ++calls_[{{"host", server.to_string()},
              {"method", request.method},
              {"return_code", head ? std::to_string(head->status) : "error"}}];
    if (head) latency_.observe(labels_of(request), seconds_since(asked));
    if (!head) {
        // The server may have closed an idle connection in the moment of its reuse; it has not seen the request then.
        if (reused && exchange.connection->silent() && head.error().code == Code::kUnavailable) {
            CO_AWAIT(auto again, attempt(request, true, keep));
            co_return again;
        }
        co_return forward_error(std::move(head).error());
    }
    exchange.head = std::move(*head);
    co_return exchange;
}

// From the server in use, else from the next one.
Task<Result<Client::Exchange>> Client::begin(const Request& request, bool keep) {
    for (std::size_t tries = 1;; ++tries) {
        const std::size_t asked = server_;
        CO_AWAIT(auto exchange, attempt(request, false, keep));
        if (exchange && exchange->head.status == 401 && credentials_.token_refused() && tries == 1) {
            CO_TRY(body_of(*exchange));
            continue;
        }
        if (exchange) {
            answered(exchange->head.headers);
            co_return exchange;
        }
        if (server_ == asked) server_ = (server_ + 1) % access().servers.size();
        if (tries < access().servers.size()) continue;
        failed(exchange.error());
        co_return forward_error(std::move(exchange).error());
    }
}

Task<Result<Client::Exchange>> Client::begin_patiently(const Request& request, bool keep) {
    const auto until = Clock::now() + settings_.patience;
    while (true) {
        const auto since = Clock::now();
        auto turn = throttle_.pass(request.lane);
        co_await std::move(turn);
        limiter_.observe(labels_of(request), seconds_since(since));
        CO_TRY_ASSIGN(Exchange exchange, begin(request, keep));
        const Duration pause = retry_after(exchange.head.headers);
        const bool later = exchange.head.status == 429 ||
                           (exchange.head.status == 503 && exchange.head.headers.contains("retry-after"));
        if (!later || Clock::now() + pause > until) co_return exchange;
        CO_TRY(body_of(exchange));
        give_back(std::move(exchange));
        auto slept = sleep_for(loop_, pause);
        co_await std::move(slept);
    }
}

Task<Result<std::string>> Client::body_of(Exchange& exchange) {
    std::string body;
    while (true) {
        CO_TRY_ASSIGN(const std::string piece, exchange.connection->read_body(settings_.request_timeout));
        if (piece.empty()) co_return body;
        body += piece;
        if (body.size() > kBodyLimit) {
            exchange.connection->close();
            co_return fail(Code::kResourceExhausted,
                           "the API server's answer is larger than " + std::to_string(kBodyLimit >> 20) + " MiB");
        }
    }
}

Task<Result<Response>> Client::request(Request request) {
    CO_TRY_ASSIGN(Exchange exchange, begin_patiently(request, true));
    CO_AWAIT(auto body, body_of(exchange));
    if (!body) {
        failed(body.error());
        co_return forward_error(std::move(body).error());
    }
    Response response{exchange.head.status, std::move(*body)};
    give_back(std::move(exchange));
    co_return response;
}

Task<Result<Response>> Client::stream(Request request, std::function<bool(std::string_view)> sink, Duration silence) {
    CO_TRY_ASSIGN(Exchange exchange, begin_patiently(request, true));
    Response response{exchange.head.status, {}};
    if (response.status != 200) {
        CO_TRY_ASSIGN(response.body, body_of(exchange));
        give_back(std::move(exchange));
        co_return response;
    }
    while (true) {
        CO_TRY_ASSIGN(const std::string piece, exchange.connection->read_body(silence));
        if (piece.empty()) break;
        if (!sink(piece)) co_return response;
    }
    give_back(std::move(exchange));
    co_return response;
}

Task<Result<Client::Upgraded>> Client::upgrade(Request request) {
    CO_TRY_ASSIGN(Exchange exchange, begin_patiently(request, true));
    Upgraded answer{.status = exchange.head.status};
    if (answer.status == 101) {
        answer.connection = std::move(exchange.connection);
        co_return answer;
    }
    CO_TRY_ASSIGN(answer.body, body_of(exchange));
    give_back(std::move(exchange));
    co_return answer;
}

// ---- how it is going ----

void Client::add_metrics(MetricSet& set) const {
    latency_.add_to(set);
    limiter_.add_to(set);
    for (const auto& [labels, count] : calls_) {
        set.counter("k8s_client_api_calls_total",
                    "Number of API calls made to kube-apiserver labeled by host, method and return code",
                    static_cast<double>(count), labels);
    }
}

void Client::answered(const Headers& headers) {
    look_at_clock(headers);
    if (state_.reachable && state_.since != std::chrono::system_clock::time_point{}) return;
    if (!state_.reachable) log_.info("The API server answers again", {{"server", server()}});
    state_ = {true, std::chrono::system_clock::now(), {}};
}

void Client::failed(const Error& error) {
    if (state_.reachable) {
        log_.warn("The API server cannot be reached; what is known stays in force", {{"server", server()}, error});
        state_ = {false, std::chrono::system_clock::now(), {}};
    }
    state_.error = error.message;
}

void Client::look_at_clock(const Headers& headers) {
    const std::string date = header(headers, "date");
    std::tm parts{};
    if (date.empty() || ::strptime(date.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr) return;
    const auto theirs = std::chrono::system_clock::from_time_t(::timegm(&parts));
    clock_offset_ = std::chrono::round<std::chrono::seconds>(theirs - std::chrono::system_clock::now());
    const bool off = std::chrono::abs(clock_offset_) > kClockTolerance;
    if (off && !clock_reported_) {
        log_.warn("The API server's clock and this machine's differ: certificates and tokens may be refused",
                  {{"seconds", clock_offset_.count()}});
    }
    clock_reported_ = off;
}

}  // namespace axo::kubernetes
