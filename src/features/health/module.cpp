#include "features/health/module.h"

#include <algorithm>
#include <ranges>

namespace axo {

namespace {
// After 0.3 s, and each time twice as late.
constexpr int kQuickLooks = 5;
constexpr std::chrono::milliseconds kFirstLook{300};

bool same_addresses(const NodeHealth& a, const NodeHealth& b) {
    const auto same = [](const std::vector<AddressHealth>& x, const std::vector<AddressHealth>& y) {
        return std::ranges::equal(x, y, {}, &AddressHealth::ip, &AddressHealth::ip);
    };
    return same(a.host, b.host) && same(a.endpoint, b.endpoint);
}
}  // namespace

HealthChecker::HealthChecker(EventLoop& loop, HealthSettings settings, Table<std::string, NodeRow>& nodes,
                             std::unique_ptr<Prober> prober)
    : loop_(loop),
      settings_(std::move(settings)),
      nodes_(nodes),
      prober_(std::move(prober)),
      responder_(loop, [this](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
          const std::string& instance = settings_.instance_id;
          const std::string from = request.query_value("from");
          if (!from.empty() && from != instance && request.query_value("to") == "host")
              heard_at_ = std::chrono::steady_clock::now();
          HttpResponse response;
          response.content_type = "text/plain";
          if (request.path == "/hello" && (request.method == "GET" || request.method == "HEAD")) {
              response.headers.emplace("X-Axoneme-Instance", instance);
          } else {
              response.status = 404;
          }
          responder->send(std::move(response));
      }) {}

Status HealthChecker::listen() {
    if (settings_.ipv4) TRY(responder_.listen_tcp(IpAddress::v4(0U), settings_.port));
    if (settings_.ipv6) TRY(responder_.listen_tcp(IpAddress::v6(std::array<std::uint8_t, 16>{}), settings_.port));
    return {};
}

void HealthChecker::start() {
    if (started_) return;
    started_ = true;
    watch_ = nodes_.watch([this](const std::set<std::string>&) { nodes_changed(); });
    probe();
}

void HealthChecker::nodes_changed() {
    std::map<std::string, NodeHealth> now;
    const auto first_look = std::chrono::steady_clock::now() + kFirstLook;
    for (const auto& [name, row] : nodes_.rows()) {
        NodeHealth health = probe_targets(row, settings_.ipv4, settings_.ipv6, settings_.endpoints);
        const auto old = results_.find(name);
        // It is often still setting itself up.
        if (old == results_.end() || !same_addresses(health, old->second)) fresh_[name] = {.next = first_look};
        if (old != results_.end()) health = merge_results(std::move(health), old->second);
        now.emplace(name, std::move(health));
    }
    results_ = std::move(now);
    std::erase_if(fresh_, [this](const auto& one) { return !results_.contains(one.first); });
    look_again();
}

void HealthChecker::look_again() {
    if (fresh_.empty()) return;
    const auto now = std::chrono::steady_clock::now();
    const auto next = std::ranges::min(fresh_ | std::views::values | std::views::transform(&Fresh::next));
    // Not sooner than the first look: a whole cluster coming up is few rounds.
    const auto at = std::max(next, now + kFirstLook);
    if (soon_ && soon_at_ <= at) return;
    soon_at_ = at;
    soon_ = loop_.after(at - now, [this] {
        soon_ = {};
        probe_fresh();
    });
}

void HealthChecker::probe_fresh() {
    const auto now = std::chrono::steady_clock::now();
    std::vector<std::string> names;
    for (auto one = fresh_.begin(); one != fresh_.end();) {
        auto& [name, fresh] = *one;
        bool over = reachable(results_.at(name));
        if (!over && fresh.next <= now) {
            names.push_back(name);
            fresh.next = now + kFirstLook * (1 << ++fresh.looks);
            over = fresh.looks == kQuickLooks;
        }
        one = over ? fresh_.erase(one) : std::next(one);
    }
    probe_nodes(names, std::min(settings_.timeout, Duration(std::chrono::seconds(1))), {});
    look_again();
}

void HealthChecker::schedule() {
    interval_ = probe_interval(nodes_.size());
    timer_ = loop_.after(interval_, [this] { probe(); });
}

void HealthChecker::probe(std::function<void()> done) {
    nodes_changed();
    std::vector<std::string> names;
    for (const auto& [name, health] : results_) names.push_back(name);
    probe_nodes(names, settings_.timeout, std::move(done));
    schedule();
}

void HealthChecker::probe_nodes(const std::vector<std::string>& names, Duration timeout, std::function<void()> done) {
    // Runs done when the last probe drops its copy; not for probes that end with the checker.
    const std::shared_ptr<void> all(nullptr, [done = std::move(done), alive = std::weak_ptr<bool>(alive_)](void*) {
        if (done && !alive.expired()) done();
    });
    const auto probe_address = [&](const std::string& name, bool endpoint, const IpAddress& ip) {
        const auto store = [this, name, endpoint, ip, all](bool http, const std::string& failure, Duration latency) {
            const auto node = results_.find(name);
            if (node == results_.end()) return;
            for (AddressHealth& address : endpoint ? node->second.endpoint : node->second.host) {
                if (address.ip != ip) continue;
                ProbeResult& result = http ? address.http : address.icmp;
                result = {.done = true,
                          .failure = failure,
                          .latency = latency,
                          .last_probed = std::chrono::system_clock::now()};
            }
        };
        prober_->icmp(ip, timeout,
                      [store](const std::string& failure, Duration latency) { store(false, failure, latency); });
        prober_->http(ip, settings_.port,
                      "/hello?from=" + settings_.instance_id + "&to=" + (endpoint ? "endpoint" : "host"), timeout,
                      [store](const std::string& failure, Duration latency) { store(true, failure, latency); });
    };
    for (const std::string& name : names) {
        const auto node = results_.find(name);
        if (node == results_.end()) continue;
        for (const AddressHealth& address : node->second.host) probe_address(name, false, address.ip);
        for (const AddressHealth& address : node->second.endpoint) probe_address(name, true, address.ip);
    }
    last_probe_ = std::chrono::system_clock::now();
}

std::size_t HealthChecker::reachable_nodes() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(results_, [](const auto& entry) { return reachable(entry.second); }));
}

bool other_agent_answers(const std::vector<IpAddress>& addresses, std::uint16_t port, const std::string& own_instance) {
    for (const IpAddress& address : addresses) {
        const std::string host = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
        auto client =
            HttpClient::connect("http://" + host + ":" + std::to_string(port), std::chrono::milliseconds(700));
        if (!client) continue;
        auto answer = client->request("GET", "/hello");
        if (!answer || answer->status != 200) continue;
        for (const auto& [name, value] : answer->headers) {
            std::string lower = name;
            for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            if (lower == "x-axoneme-instance" && value != own_instance) return true;
        }
    }
    return false;
}

}  // namespace axo
