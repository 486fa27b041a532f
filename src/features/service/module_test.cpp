#include <arpa/inet.h>
#include <sys/socket.h>

#include <fstream>
#include <sstream>

#include "features/service/module_fixture.h"

namespace axo::service {
namespace {

using Names = std::vector<std::string>;

const std::string kPlain = "{type: ClusterIP, clusterIPs: [10.96.0.1], ports: [{port: 80, targetPort: 8080}]}";

TEST_F(ServiceModuleTest, AServiceLeadsToItsBackendsAndFollowsThem) {
    put_service("web", kPlain);
    put_slice("web", {"10.0.0.1", "10.0.0.2 n2"});
    start_and_sync();
    EXPECT_EQ(reached(tcp("10.96.0.1", 80)), (Names{"10.0.0.1:8080/TCP", "10.0.0.2:8080/TCP"}));
    const auto value = entry(tcp("10.96.0.1", 80));
    ASSERT_TRUE(value);
    EXPECT_EQ(value->backends, 2);
    EXPECT_EQ(value->flags, 0);
    EXPECT_EQ(value->flags2, 0);
    EXPECT_EQ(value->algorithm, LB_RANDOM);
    EXPECT_NE(value->rev_nat_index, 0);
    // Other ports of the address are refused.
    const auto others = entry({ip("10.96.0.1"), 0, 0, LB_SCOPE_EXTERNAL});
    ASSERT_TRUE(others);
    EXPECT_EQ(others->size, 0U);
    const FrontendRow* row = module_->frontends().find(tcp("10.96.0.1", 80));
    ASSERT_NE(row, nullptr);
    EXPECT_EQ(row->id, value->rev_nat_index);
    EXPECT_EQ(row->service->name.to_string(), "default/web");

    const auto id = module_->backend_id({ip("10.0.0.2"), 8080, IPPROTO_TCP});
    const auto first_bucket = generations_->address(ip("10.0.0.1"));
    put_slice("web", {"10.0.0.2 n2", "10.0.0.3"});
    ASSERT_TRUE(wait_reached(tcp("10.96.0.1", 80), {"10.0.0.2:8080/TCP", "10.0.0.3:8080/TCP"}));
    EXPECT_EQ(module_->backend_id({ip("10.0.0.2"), 8080, IPPROTO_TCP}), id);
    EXPECT_EQ(entry(tcp("10.96.0.1", 80))->rev_nat_index, value->rev_nat_index);
    EXPECT_EQ(gone_, Names{"10.0.0.1:8080/TCP"});
    // Who has gone decides again, after the maps were written.
    EXPECT_GT(generations_->address(ip("10.0.0.1")), first_bucket);

    const auto frontend_bucket = generations_->address(ip("10.96.0.1"));
    erase("service-web.yaml");
    ASSERT_TRUE(wait_until([&] { return maps_->services()->empty(); }));
    EXPECT_TRUE(maps_->backends().empty());
    EXPECT_EQ(module_->frontends().size(), 0U);
    EXPECT_GT(generations_->address(ip("10.96.0.1")), frontend_bucket);
}

TEST_F(ServiceModuleTest, EveryTypeHasItsFrontends) {
    write("lb.yaml", R"({apiVersion: v1, kind: Service, metadata: {name: lb, namespace: default},
        spec: {type: LoadBalancer, clusterIPs: [10.96.0.9, 'fd00:96::9'], externalTrafficPolicy: Local,
               healthCheckNodePort: 31999, externalIPs: [198.51.100.9], loadBalancerSourceRanges: [203.0.113.0/24],
               sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}},
               ports: [{port: 80, targetPort: 8080, nodePort: 30080}]},
        status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {ip: 192.0.2.10, ipMode: Proxy}]}}})");
    put_slice("lb", {"10.0.0.1", "10.0.0.2 n2"});
    put_slice("lb", {"fd00:10::1 n2"}, 8080, "IPv6");
    start_and_sync();
    const Names both{"10.0.0.1:8080/TCP", "10.0.0.2:8080/TCP"}, local{"10.0.0.1:8080/TCP"};
    EXPECT_EQ(reached(tcp("10.96.0.9", 80)), both);
    EXPECT_EQ(reached(tcp("10.96.0.9", 80, LB_SCOPE_INTERNAL)), std::nullopt);
    for (const auto& frontend : {tcp("0.0.0.0", 30080), tcp("192.0.2.9", 80), tcp("198.51.100.9", 80)}) {
        EXPECT_EQ(reached(frontend), local) << frontend.to_string();
        LbFrontend inside = frontend;
        inside.scope = LB_SCOPE_INTERNAL;
        EXPECT_EQ(reached(inside), both) << inside.to_string();
        EXPECT_NE(entry(frontend)->flags2 & LB_F2_TWO_SCOPES, 0);
        EXPECT_NE(entry(frontend)->flags & LB_F_EXT_LOCAL_SCOPE, 0);
    }
    EXPECT_EQ(reached(tcp("192.0.2.10", 80)), std::nullopt);
    EXPECT_EQ(reached(tcp("::", 30080)), Names{});
    EXPECT_EQ(reached(tcp("::", 30080, LB_SCOPE_INTERNAL)), Names{"[fd00:10::1]:8080/TCP"});
    EXPECT_TRUE(maps_->port_bit(IPPROTO_TCP, 30080));
    EXPECT_FALSE(maps_->port_bit(IPPROTO_UDP, 30080));
    EXPECT_EQ(entry(tcp("0.0.0.0", 30080))->flags & LB_F_ROUTABLE, 0);
    EXPECT_NE(entry(tcp("192.0.2.9", 80))->flags & LB_F_ROUTABLE, 0);
    // Ranges: of the balancer's address only, in both scopes.
    std::set<std::uint16_t> ranged;
    const auto ranges = maps_->source_ranges().value();
    for (const LbSourceRange& range : ranges) {
        EXPECT_EQ(range.prefix.to_string(), "203.0.113.0/24");
        ranged.insert(range.rev_nat_index);
    }
    EXPECT_EQ(ranged, (std::set<std::uint16_t>{entry(tcp("192.0.2.9", 80))->rev_nat_index,
                                               entry(tcp("192.0.2.9", 80, LB_SCOPE_INTERNAL))->rev_nat_index}));
    // Affinity: one group for all, another port for who is led elsewhere.
    const auto a = *entry(tcp("10.96.0.9", 80)), b = *entry(tcp("192.0.2.9", 80));
    EXPECT_EQ(a.affinity_timeout, 60U);
    EXPECT_EQ(a.affinity_group, b.affinity_group);
    EXPECT_NE(a.port_id, b.port_id);
    std::map<std::uint32_t, std::size_t> matches;
    const auto all_matches = maps_->affinity_matches().value();
    for (const auto& [match, id] : all_matches) {
        ++matches[match.port_id];
        EXPECT_EQ(maps_->backend(id)->pod_id, match.pod_id);
    }
    EXPECT_EQ(matches[a.port_id], 2U);
    EXPECT_EQ(matches[b.port_id], 1U);
    EXPECT_EQ(health_, (std::map<std::uint16_t, HealthPort>{{31999, {{"default", "lb"}, 1}}}));

    erase("lb.yaml");
    ASSERT_TRUE(wait_until([&] { return maps_->services()->empty(); }));
    EXPECT_TRUE(maps_->source_ranges()->empty());
    EXPECT_TRUE(maps_->affinity_matches()->empty());
    EXPECT_TRUE(maps_->port_bits().empty());
    EXPECT_TRUE(health_.empty());
}

TEST_F(ServiceModuleTest, HealthChecksAtTheLoadBalancersAddresses) {
    const char* text = R"({apiVersion: v1, kind: Service, metadata: {name: lb, namespace: default},
        spec: {type: LoadBalancer, clusterIPs: [10.96.0.9, 'fd00:96::9'], externalTrafficPolicy: Local,
               healthCheckNodePort: 31999, loadBalancerSourceRanges: [203.0.113.0/24],
               ports: [{port: 80, targetPort: 8080, nodePort: 30080}]},
        status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {ip: '2001:db8::9'}]}}})";
    for (const bool wanted : {false, true}) {
        settings_.engine.health_check_load_balancer_ip = wanted;
        write("lb.yaml", text);
        start_and_sync();
        ASSERT_TRUE(reached(tcp("192.0.2.9", 80)));
        EXPECT_EQ(reached(tcp("192.0.2.9", 31999)), std::nullopt) << "the node's address is not known yet";
        module_->set_node({.zone = "", .labels = {}, .addresses = {ip("192.168.7.1"), ip("fd00:7::1")}});
        module_->flush();
        using Reached = std::optional<Names>;
        // Whether or not there are backends: the answer says so.
        EXPECT_EQ(reached(tcp("192.0.2.9", 31999)), wanted ? Reached(Names{"192.168.7.1:31999/TCP"}) : Reached());
        EXPECT_EQ(reached(tcp("2001:db8::9", 31999)), wanted ? Reached(Names{"[fd00:7::1]:31999/TCP"}) : Reached());
        if (wanted) {
            EXPECT_EQ(entry(tcp("192.0.2.9", 31999))->flags & LB_F_SOURCE_RANGE, 0);
            module_->set_node({.zone = "", .labels = {}, .addresses = {ip("192.168.7.2"), ip("fd00:7::1")}});
            module_->flush();
            EXPECT_EQ(reached(tcp("192.0.2.9", 31999)), Names{"192.168.7.2:31999/TCP"});
        }
        erase("lb.yaml");
        ASSERT_TRUE(wait_until([&] { return maps_->services()->empty(); }));
    }
}

TEST_F(ServiceModuleTest, ARestartWritesNothing) {
    put_service("web", kPlain);
    put_slice("web", {"10.0.0.1", "10.0.0.2 n2"});
    put_service("np",
                "{type: NodePort, clusterIPs: [10.96.0.2], sessionAffinity: ClientIP, "
                "ports: [{port: 80, targetPort: 8080, nodePort: 30081}]}");
    put_slice("np", {"10.0.0.1", "10.0.0.3"});
    settings_.engine.maglev = true;
    start_and_sync();
    const auto before = maps_->services().value();
    const auto backends = maps_->backends();
    const auto matches = maps_->affinity_matches().value();
    const auto node = generations_->node();
    const auto bucket = generations_->address(ip("10.0.0.1"));

    forget_tables();
    start_and_sync();
    const auto after = maps_->services().value();
    EXPECT_EQ(before.size(), after.size());
    for (const auto& [key, value] : before) {
        const auto now = entry(key);
        ASSERT_TRUE(now) << key.to_string();
        EXPECT_TRUE(*now == value) << key.to_string();
    }
    EXPECT_EQ(backends, maps_->backends());
    EXPECT_EQ(matches, maps_->affinity_matches().value());
    const ReconcileCounters counters = module_->counters();
    EXPECT_EQ(counters.added + counters.updated + counters.removed + counters.failed, 0U);
    EXPECT_EQ(counters.unchanged_at_start, before.size() + backends.size());
    EXPECT_EQ(generations_->node(), node);
    EXPECT_EQ(generations_->address(ip("10.0.0.1")), bucket);
    EXPECT_TRUE(gone_.empty());
}

TEST_F(ServiceModuleTest, WhatWentWhileNoAgentRanIsRemovedOnceEverythingIsKnown) {
    put_service("web", kPlain);
    put_slice("web", {"10.0.0.1", "10.0.0.2 n2"});
    put_service("old", "{clusterIPs: [10.96.0.3], ports: [{port: 80}]}");
    put_slice("old", {"10.0.0.7"}, 80);
    start_and_sync();
    const auto kept = entry(tcp("10.96.0.1", 80))->rev_nat_index;
    forget_tables();
    erase("service-old.yaml");
    erase("slice-old-four.yaml");
    put_slice("web", {"10.0.0.2 n2"});
    start();
    // Host ports are not known yet: only their entries may not go.
    ASSERT_TRUE(wait_until([this] { return synced_; }));
    EXPECT_EQ(entry(tcp("10.96.0.3", 80)), std::nullopt);
    EXPECT_EQ(reached(tcp("10.96.0.1", 80)), Names{"10.0.0.2:8080/TCP"});
    EXPECT_EQ(entry(tcp("10.96.0.1", 80))->rev_nat_index, kept);
    EXPECT_TRUE(gone_.empty());
    module_->host_ports_complete();
    EXPECT_EQ(maps_->backends().size(), 1U);
    std::ranges::sort(gone_);
    EXPECT_EQ(gone_, (Names{"10.0.0.1:8080/TCP", "10.0.0.7:80/TCP"}));
}

TEST_F(ServiceModuleTest, HostPortsOfAnEarlierRunStayUntilPodsAreKnown) {
    start_and_sync();
    const HostPort port{.port = 9000, .protocol = IPPROTO_TCP, .address = {}, .pod_port = 90, .pods = {ip("10.0.0.5")}};
    module_->set_host_ports("default/pod", {port});
    ASSERT_TRUE(wait_reached(tcp("0.0.0.0", 9000), {"10.0.0.5:90/TCP"}));
    EXPECT_EQ(entry(tcp("0.0.0.0", 9000))->flags, LB_F_HOST_PORT);
    forget_tables();
    start();
    ASSERT_TRUE(wait_until([this] { return synced_; }));
    EXPECT_EQ(reached(tcp("0.0.0.0", 9000)), Names{"10.0.0.5:90/TCP"});
    module_->set_host_ports("default/pod", {port});
    module_->host_ports_complete();
    run_for(std::chrono::milliseconds(30));
    EXPECT_EQ(reached(tcp("0.0.0.0", 9000)), Names{"10.0.0.5:90/TCP"});
    module_->set_host_ports("default/pod", {});
    ASSERT_TRUE(wait_until([&] { return !entry(tcp("0.0.0.0", 9000)); }));
    EXPECT_FALSE(maps_->port_bit(IPPROTO_TCP, 9000));
}

TEST_F(ServiceModuleTest, TerminatingBackendsKeepTheirEntries) {
    put_service("web", kPlain);
    put_slice("web", {"10.0.0.1", "10.0.0.2"});
    start_and_sync();
    const auto id = module_->backend_id({ip("10.0.0.1"), 8080, IPPROTO_TCP});
    put_slice("web", {"10.0.0.1 terminating", "10.0.0.2"});
    ASSERT_TRUE(wait_reached(tcp("10.96.0.1", 80), {"10.0.0.2:8080/TCP"}));
    ASSERT_TRUE(maps_->backend(id));
    EXPECT_EQ(maps_->backend(id)->state, LB_BACKEND_TERMINATING);
    EXPECT_TRUE(gone_.empty());
    // The last one is used.
    put_slice("web", {"10.0.0.1 terminating"});
    ASSERT_TRUE(wait_reached(tcp("10.96.0.1", 80), {"10.0.0.1:8080/TCP"}));
    EXPECT_EQ(module_->backend_id({ip("10.0.0.1"), 8080, IPPROTO_TCP}), id);
    put_slice("web", {"10.0.0.1 unready"});
    ASSERT_TRUE(wait_reached(tcp("10.96.0.1", 80), {}));
    EXPECT_FALSE(maps_->backend(id));
}

TEST_F(ServiceModuleTest, AFullMapIsReportedAndTheRestGoesOn) {
    create_maps({.services = 6, .backends = 5, .source_ranges = 4});
    put_service("a", "{clusterIPs: [10.96.0.1], ports: [{port: 80}]}");
    put_slice("a", {"10.0.0.1", "10.0.0.2", "10.0.0.3"}, 80);
    start_and_sync();
    put_service("b", "{clusterIPs: [10.96.0.2], ports: [{port: 80}]}");
    put_slice("b", {"10.0.1.1", "10.0.1.2"}, 80);
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("Service default/b"); }));
    EXPECT_NE(rejected_["Service default/b"].find("10.96.0.2:80/TCP: map cilium_lb_backends is full"),
              std::string::npos)
        << rejected_["Service default/b"];
    EXPECT_EQ(module_->frontends().find(tcp("10.96.0.2", 80))->id, 0);
    EXPECT_EQ(reached(tcp("10.96.0.1", 80))->size(), 3U);
    put_service("c", "{clusterIPs: [10.96.0.3], ports: [{port: 80}]}");
    put_slice("c", {"10.0.2.1"}, 80);
    ASSERT_TRUE(wait_reached(tcp("10.96.0.3", 80), {"10.0.2.1:80/TCP"}));
    ASSERT_FALSE(module_->problems().empty());
    // There is room again.
    put_slice("a", {"10.0.0.1"}, 80);
    ASSERT_TRUE(wait_reached(tcp("10.96.0.2", 80), {"10.0.1.1:80/TCP", "10.0.1.2:80/TCP"}));
    ASSERT_TRUE(wait_until([&] { return rejected_.empty(); }));
    EXPECT_TRUE(module_->problems().empty());
    // Entries of frontends: six, three of which are for other ports.
    put_service("d", "{clusterIPs: [10.96.0.4], ports: [{port: 81}]}");
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("Service default/d"); }));
    EXPECT_NE(rejected_["Service default/d"].find("map cilium_lb4_services_v2 is full: it has 6 entries"),
              std::string::npos)
        << rejected_["Service default/d"];
    erase("service-c.yaml");
    ASSERT_TRUE(wait_until([&] { return entry(tcp("10.96.0.4", 81)).has_value() && rejected_.empty(); }));
}

TEST_F(ServiceModuleTest, BadInputIsReportedAndTakenBack) {
    settings_.engine.ipv6 = false;
    start_and_sync();
    put_service("one", "{clusterIPs: [10.96.0.1], externalIPs: [198.51.100.1], ports: [{port: 80}]}",
                ", creationTimestamp: '2024-01-01T00:00:00Z'");
    put_slice("one", {"10.0.0.1"}, 80);
    ASSERT_TRUE(wait_reached(tcp("198.51.100.1", 80), {"10.0.0.1:80/TCP"}));
    put_service("two", "{clusterIPs: [10.96.0.2], externalIPs: [198.51.100.1], ports: [{port: 80}]}",
                ", creationTimestamp: '2023-01-01T00:00:00Z'");
    put_slice("two", {"10.0.0.2"}, 80);
    // The older one gets it.
    ASSERT_TRUE(wait_reached(tcp("198.51.100.1", 80), {"10.0.0.2:80/TCP"}));
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("Service default/one"); }));
    EXPECT_NE(rejected_["Service default/one"].find("ExternalIPs 198.51.100.1:80/TCP: Service default/two has it"),
              std::string::npos);
    EXPECT_EQ(reached(tcp("10.96.0.1", 80)), Names{"10.0.0.1:80/TCP"});
    erase("service-two.yaml");
    ASSERT_TRUE(wait_reached(tcp("198.51.100.1", 80), {"10.0.0.1:80/TCP"}));
    ASSERT_TRUE(wait_until([&] { return !rejected_.contains("Service default/one"); }));

    put_service("dual", "{clusterIPs: [10.96.0.5, 'fd00:96::5'], ports: [{port: 80}]}");
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("Service default/dual"); }));
    EXPECT_NE(rejected_["Service default/dual"].find("spec.clusterIPs[1]: \"fd00:96::5\": IPv6 is disabled"),
              std::string::npos);
    EXPECT_EQ(reached(tcp("10.96.0.5", 80)), Names{});

    put_slice("one", {"10.0.0.1 unready", "10.0.0.2 unready"}, 80);
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("Service default/one"); }));
    EXPECT_NE(rejected_["Service default/one"].find("0 of 2 endpoints are ready"), std::string::npos);
    put_slice("one", {"10.0.0.1"}, 80);
    ASSERT_TRUE(wait_until([&] { return !rejected_.contains("Service default/one"); }));

    // What cannot be parsed leaves the last version in force.
    put_service("one", "{clusterIPs: [10.96.0.1], ports: [{port: 80, name: a}, {port: 81, name: a}]}");
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("Service default/one"); }));
    EXPECT_EQ(reached(tcp("198.51.100.1", 80)), Names{"10.0.0.1:80/TCP"});
    put_service("one", "{clusterIPs: [10.96.0.1], ports: [{port: 80}]}",
                ", annotations: {service.cilium.io/type: Foo}");
    ASSERT_TRUE(wait_until([&] { return rejected_["Service default/one"].find("Foo") != std::string::npos; }));
    put_service("one", "{clusterIPs: [10.96.0.1], ports: [{port: 80}]}");
    ASSERT_TRUE(wait_until([&] { return !rejected_.contains("Service default/one"); }));

    put_service("sctp", "{clusterIPs: [10.96.0.6], ports: [{port: 80, targetPort: 81, protocol: SCTP}]}");
    put_slice("sctp", {"10.0.0.3"}, 81, "IPv4", "SCTP");
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("Service default/sctp"); }));
    EXPECT_NE(rejected_["Service default/sctp"].find("SCTP"), std::string::npos);

    // A slice of a Service that does not exist.
    put_slice("ghost", {"10.0.0.9"}, 80);
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("EndpointSlice default/ghost-four"); }));
    EXPECT_NE(rejected_["EndpointSlice default/ghost-four"].find("\"ghost\": there is no such Service"),
              std::string::npos);
    put_service("ghost", "{clusterIPs: [10.96.0.7], ports: [{port: 80}]}");
    ASSERT_TRUE(wait_until([&] { return !rejected_.contains("EndpointSlice default/ghost-four"); }));
}

TEST_F(ServiceModuleTest, MaglevTablesAreComputedElsewhereWhenTheyAreMany) {
    settings_.engine.maglev = settings_.engine.external_cluster_ip = true;
    for (int i = 0; i < 12; ++i) {
        put_service("s" + std::to_string(i), "{clusterIPs: [10.96.1." + std::to_string(i) + "], ports: [{port: 80}]}");
        put_slice("s" + std::to_string(i), {"10.0.0." + std::to_string(i + 1), "10.0.1." + std::to_string(i + 1)}, 80);
    }
    start_and_sync();
    for (int i = 0; i < 12; ++i) {
        const auto value = entry(tcp("10.96.1." + std::to_string(i), 80));
        ASSERT_TRUE(value) << i;
        EXPECT_EQ(value->algorithm, LB_MAGLEV);
        EXPECT_EQ(value->size, 16381U);
        const auto all = *reached(tcp("10.96.1." + std::to_string(i), 80));
        const auto first = std::ranges::count(all, "10.0.0." + std::to_string(i + 1) + ":80/TCP");
        EXPECT_NEAR(static_cast<double>(first), 8190.5, 1);
    }
}

TEST_F(ServiceModuleTest, NodeLabelsDecideWhereAServiceIsExposed) {
    put_service("here", "{clusterIPs: [10.96.0.1], ports: [{port: 80}]}",
                ", annotations: {service.cilium.io/node-selector: 'tier in (front, edge), !old'}");
    put_service("there", "{clusterIPs: [10.96.0.2], ports: [{port: 80}]}",
                ", annotations: {service.cilium.io/node: beefy}");
    write("node.yaml", "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {tier: edge}}}");
    start_and_sync();
    EXPECT_TRUE(entry(tcp("10.96.0.1", 80)));
    EXPECT_FALSE(entry(tcp("10.96.0.2", 80)));
    write("node.yaml", "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {service.cilium.io/node: beefy}}}");
    ASSERT_TRUE(wait_until([&] { return entry(tcp("10.96.0.2", 80)) && !entry(tcp("10.96.0.1", 80)); }));
}

TEST_F(ServiceModuleTest, AProcessThatANodePortHidesIsReported) {
    start_and_sync();
    const Fd listener(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    socklen_t size = sizeof(address);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    const std::string port = std::to_string(ntohs(address.sin_port));
    put_service("np", "{type: NodePort, clusterIPs: [10.96.0.2], ports: [{port: 80, nodePort: " + port + "}]}");
    ASSERT_TRUE(wait_until([&] { return rejected_.contains("Service default/np"); }));
    EXPECT_EQ(rejected_["Service default/np"],
              "NodePort " + port + "/TCP: a process of this node listens on this port and is hidden by the Service");
    put_service("np", "{type: NodePort, clusterIPs: [10.96.0.2], ports: [{port: 80}]}");
    ASSERT_TRUE(wait_until([&] { return !entry(tcp("0.0.0.0", ntohs(address.sin_port))); }));
    ASSERT_TRUE(wait_until([&] { return rejected_.empty(); }));
}

TEST_F(ServiceModuleTest, EndpointsCountOnlyWithoutSlices) {
    put_service("web", kPlain);
    write("endpoints.yaml",
          "{apiVersion: v1, kind: Endpoints, metadata: {name: web, namespace: default}, subsets: "
          "[{addresses: [{ip: 10.0.0.8}], ports: [{port: 8080}]}]}");
    start_and_sync();
    EXPECT_EQ(reached(tcp("10.96.0.1", 80)), Names{"10.0.0.8:8080/TCP"});
    put_slice("web", {"10.0.0.1"});
    ASSERT_TRUE(wait_reached(tcp("10.96.0.1", 80), {"10.0.0.1:8080/TCP"}));
    erase("slice-web-four.yaml");
    ASSERT_TRUE(wait_reached(tcp("10.96.0.1", 80), {"10.0.0.8:8080/TCP"}));
}

}  // namespace
}  // namespace axo::service
