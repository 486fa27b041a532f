// The engine against kube-proxy's rules written down as a plain function: the same answer for random clusters, however
// they came about.
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "features/service/desired.h"

namespace axo::service {
namespace {

constexpr const char* kNode = "n1";
constexpr const char* kZone = "a";

struct Endpoint {
    int address = 0;
    bool ready = true, serving = true, terminating = false;
    int node = 1;
    std::set<int> hint_nodes;
    std::set<char> hint_zones;
};

struct Cluster {
    struct Port {
        std::string name;
        int port = 0, node_port = 0;
    };
    struct One {
        bool external_local = false, internal_local = false, hints = false, publish = false;
        int created = 0;
        std::vector<Port> ports;
        std::vector<int> external_ips;
        bool node_ports = false;
        bool exists = true;
    };
    std::map<int, One> services;
    std::map<std::pair<int, int>, std::vector<Endpoint>> slices;  // (service, number)
};

using Answer = std::map<std::string, std::vector<std::string>>;  // frontend -> backends in their order

std::string pod(int number) {
    return "10.0." + std::to_string(number / 200) + "." + std::to_string(number % 200 + 1);
}
std::string cluster_ip(int service) {
    return "10.96.0." + std::to_string(service + 1);
}
std::string external_ip(int number) {
    return "198.51.100." + std::to_string(number + 1);
}

// kube-proxy's CategorizeEndpoints.
std::vector<Endpoint> categorize(const std::vector<Endpoint>& all, bool local, bool hints) {
    std::vector<Endpoint> ready, chosen;
    for (const Endpoint& one : all) {
        if (one.ready && (!local || one.node == 1)) ready.push_back(one);
    }
    chosen = ready;
    if (!local && hints && !ready.empty()) {
        const auto all_of = [&](auto has) { return std::ranges::all_of(ready, has); };
        const auto any_of = [&](auto has) { return std::ranges::any_of(ready, has); };
        const auto here = [](const Endpoint& one) { return one.hint_nodes.contains(1); };
        const auto zone = [](const Endpoint& one) { return one.hint_zones.contains('a'); };
        if (all_of([](const Endpoint& one) { return !one.hint_nodes.empty(); }) && any_of(here)) {
            std::erase_if(chosen, [&](const Endpoint& one) { return !here(one); });
        } else if (all_of([](const Endpoint& one) { return !one.hint_zones.empty(); }) && any_of(zone)) {
            std::erase_if(chosen, [&](const Endpoint& one) { return !zone(one); });
        }
    }
    if (!chosen.empty()) return chosen;
    for (const Endpoint& one : all) {
        if (one.serving && one.terminating && (!local || one.node == 1)) chosen.push_back(one);
    }
    return chosen;
}

Answer oracle(const Cluster& cluster) {
    Answer answer;
    std::map<std::string, std::pair<std::tuple<int, int, std::string>, int>> owners;
    const auto name = [](int number) { return "default/s" + std::to_string(number); };
    for (int round = 0; round < 2; ++round) {
        for (const auto& [number, service] : cluster.services) {
            if (!service.exists) continue;
            std::map<int, Endpoint> merged;
            for (const auto& [key, endpoints] : cluster.slices) {
                if (key.first != number) continue;
                for (Endpoint one : endpoints) {
                    one.ready = one.ready || service.publish;
                    const auto rank = [](const Endpoint& e) {
                        return e.ready ? 3 : e.serving && e.terminating ? 2 : e.terminating ? 1 : 0;
                    };
                    const auto known = merged.find(one.address);
                    if (known == merged.end()) {
                        merged.emplace(one.address, one);
                    } else if (rank(one) > rank(known->second)) {
                        known->second = one;
                    }
                }
            }
            std::vector<Endpoint> all;
            for (const auto& [address, one] : merged) all.push_back(one);
            for (const auto& port : service.ports) {
                const auto add = [&](const std::string& frontend, int rank, bool local, bool scopes) {
                    auto key = std::tuple(rank, service.created, name(number));
                    const auto owner = owners.find(frontend);
                    if (round == 0) {
                        if (owner == owners.end() || key < owner->second.first) owners[frontend] = {key, number};
                        return;
                    }
                    if (owner->second.second != number) return;
                    const auto write = [&](const std::string& where, bool only_local) {
                        auto& backends = answer[where];
                        for (const Endpoint& one : categorize(all, only_local, service.hints))
                            backends.push_back(pod(one.address) + ":" + std::to_string(port.port + 8000) + "/TCP");
                    };
                    write(frontend, local);
                    if (scopes && local) write(frontend + "/i", false);
                };
                add(cluster_ip(number) + ":" + std::to_string(port.port) + "/TCP", 0, service.internal_local, false);
                if (service.node_ports)
                    add("0.0.0.0:" + std::to_string(port.node_port) + "/TCP", 1, service.external_local, true);
                for (const int ip : service.external_ips)
                    add(external_ip(ip) + ":" + std::to_string(port.port) + "/TCP", 1, service.external_local, true);
            }
        }
    }
    return answer;
}

class Random {
public:
    explicit Random(unsigned seed) : engine_(seed) {}
    int below(int limit) { return static_cast<int>(engine_() % static_cast<unsigned>(limit)); }
    bool one_in(int count) { return below(count) == 0; }

    Cluster::One service(int number) {
        Cluster::One one;
        one.external_local = one_in(3);
        one.internal_local = one_in(4);
        one.hints = one_in(3);
        one.publish = one_in(6);
        one.created = below(3);
        one.node_ports = one_in(2);
        // NodePorts clash now and then.
        for (int i = 0; i <= below(2); ++i)
            one.ports.push_back(
                {"p" + std::to_string(i), 80 + i, 30000 + (i == 0 && one_in(4) ? 0 : 1 + number * 2 + i)});
        for (int i = below(3); i > 0; --i) one.external_ips.push_back(below(4));
        std::ranges::sort(one.external_ips);
        const auto repeated = std::ranges::unique(one.external_ips);
        one.external_ips.erase(repeated.begin(), repeated.end());
        return one;
    }
    std::vector<Endpoint> endpoints() {
        std::vector<Endpoint> all;
        const bool zones = one_in(2), nodes = one_in(3);
        for (int i = 1 + below(6); i > 0; --i) {
            Endpoint one;
            one.address = below(40);
            const int state = below(6);
            one.ready = state < 3;
            one.serving = state < 5;
            one.terminating = state == 3 || state == 4;
            one.node = 1 + below(3);
            if (zones && !one_in(8)) one.hint_zones = {static_cast<char>('a' + below(3))};
            if (nodes && !one_in(8)) one.hint_nodes = {1 + below(3)};
            // One address twice in one slice says the same twice.
            if (std::ranges::any_of(all, [&](const Endpoint& e) { return e.address == one.address; })) continue;
            all.push_back(one);
        }
        return all;
    }

private:
    std::mt19937 engine_;
};

Definition definition(int number, const Cluster::One& one) {
    Service service;
    service.metadata.name = "s" + std::to_string(number);
    service.metadata.name_space = "default";
    service.metadata.creation_timestamp = "2024-01-0" + std::to_string(one.created + 1) + "T00:00:00Z";
    service.type = one.node_ports ? Service::Type::kNodePort : Service::Type::kClusterIp;
    service.cluster_ips = {IpAddress::parse(cluster_ip(number)).value()};
    for (const int ip : one.external_ips) service.external_ips.push_back(IpAddress::parse(external_ip(ip)).value());
    if (one.external_local) service.external_traffic_policy = Service::TrafficPolicy::kLocal;
    if (one.internal_local) service.internal_traffic_policy = Service::TrafficPolicy::kLocal;
    service.publish_not_ready_addresses = one.publish;
    if (one.hints) service.traffic_distribution = "PreferClose";
    for (const auto& port : one.ports) {
        service.ports.push_back({.name = port.name,
                                 .protocol = "TCP",
                                 .port = static_cast<std::uint16_t>(port.port),
                                 .target = {},
                                 .node_port = static_cast<std::uint16_t>(port.node_port),
                                 .app_protocol = {}});
    }
    auto made = define(service, {.node_name = kNode}, {});
    EXPECT_TRUE(made && *made);
    return **made;
}

SliceData slice(const std::vector<Endpoint>& endpoints) {
    EndpointSlice slice;
    for (int i = 0; i < 2; ++i) {
        slice.ports.push_back({.name = "p" + std::to_string(i),
                               .protocol = "TCP",
                               .port = static_cast<std::uint16_t>(8080 + i),
                               .app_protocol = {}});
    }
    for (const Endpoint& one : endpoints) {
        EndpointSlice::Endpoint& to = slice.endpoints.emplace_back();
        to.addresses = {IpAddress::parse(pod(one.address)).value()};
        to.ready = one.ready;
        to.serving = one.serving;
        to.terminating = one.terminating;
        to.node_name = "n" + std::to_string(one.node);
        for (const int node : one.hint_nodes) to.hint_nodes.push_back("n" + std::to_string(node));
        for (const char zone : one.hint_zones) to.hint_zones.emplace_back(1, zone);
    }
    return slice_data(slice);
}

// What the changes have told so far.
class Mirror {
public:
    void take(ServiceEngine& engine, std::size_t limit) {
        do {
            const auto changes = engine.take_changes(limit);
            for (const auto& [key, row] : changes.frontends) {
                if (row) {
                    rows_[key] = *row;
                } else {
                    rows_.erase(key);
                }
            }
            for (const auto& [where, text] : changes.problems) {
                if (text.empty()) {
                    problems_.erase(where);
                } else {
                    problems_[where] = text;
                }
            }
        } while (engine.dirty());
    }
    [[nodiscard]] Answer answer() const {
        Answer answer;
        for (const auto& [key, row] : rows_) {
            auto& backends = answer[key.to_string()];
            for (std::uint32_t i = 0; i < row.selection->usable; ++i)
                backends.push_back(row.selection->backends[i].address.to_string());
        }
        return answer;
    }
    // The rest keeps connections: it terminates.
    [[nodiscard]] bool rest_terminates() const {
        for (const auto& [key, row] : rows_) {
            for (std::size_t i = row.selection->usable; i < row.selection->backends.size(); ++i) {
                if (row.selection->backends[i].state != BackendState::kTerminating) return false;
            }
        }
        return true;
    }
    [[nodiscard]] const std::map<std::string, std::string>& problems() const { return problems_; }

private:
    std::map<FrontendKey, FrontendRow> rows_;
    std::map<std::string, std::string> problems_;
};

using Kind = ServiceEngine::SliceKind;

TEST(ServiceOracle, RandomClustersGiveKubeProxysAnswers) {
    for (unsigned seed = 0; seed < 200; ++seed) {
        Random random(seed);
        Cluster cluster;
        ServiceEngine engine({.node_name = kNode});
        engine.set_zone(kZone);
        Mirror mirror;
        for (int step = 0; step < 60; ++step) {
            const int number = random.below(5);
            const ServiceName name{"default", "s" + std::to_string(number)};
            const int what = random.below(10);
            if (what < 3) {
                cluster.services[number] = random.service(number);
                engine.set_service(name, definition(number, cluster.services[number]));
            } else if (what == 3) {
                cluster.services.erase(number);
                engine.remove_service(name);
            } else if (what < 9) {
                const int part = random.below(2);
                cluster.slices[{number, part}] = random.endpoints();
                engine.set_slices(name, Kind::kEndpointSlice, "slice-" + std::to_string(number * 2 + part),
                                  {slice(cluster.slices[{number, part}])});
            } else {
                const int part = random.below(2);
                cluster.slices.erase({number, part});
                engine.set_slices({"default", ""}, Kind::kEndpointSlice, "slice-" + std::to_string(number * 2 + part),
                                  {});
            }
            if (random.one_in(3)) continue;  // several changes at once
            mirror.take(engine, random.one_in(2) ? 1 : SIZE_MAX);
            ASSERT_EQ(mirror.answer(), oracle(cluster)) << "seed " << seed << ", step " << step;
            ASSERT_TRUE(mirror.rest_terminates()) << "seed " << seed << ", step " << step;
        }
        // From nothing, in another order: the same.
        ServiceEngine again({.node_name = kNode});
        again.set_zone(kZone);
        for (const auto& [key, endpoints] : cluster.slices)
            again.set_slices({"default", "s" + std::to_string(key.first)}, Kind::kEndpointSlice,
                             "slice-" + std::to_string(key.first * 2 + key.second), {slice(endpoints)});
        for (auto one = cluster.services.rbegin(); one != cluster.services.rend(); ++one)
            again.set_service({"default", "s" + std::to_string(one->first)}, definition(one->first, one->second));
        Mirror fresh;
        fresh.take(again, SIZE_MAX);
        mirror.take(engine, SIZE_MAX);
        ASSERT_EQ(fresh.answer(), oracle(cluster)) << seed;
        ASSERT_EQ(fresh.problems(), mirror.problems()) << seed;
        // Gone is gone.
        for (int number = 0; number < 5; ++number) engine.remove_service({"default", "s" + std::to_string(number)});
        mirror.take(engine, SIZE_MAX);
        ASSERT_TRUE(mirror.answer().empty());
        ASSERT_TRUE(mirror.problems().empty());
    }
}

}  // namespace
}  // namespace axo::service
