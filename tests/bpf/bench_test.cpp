// Nanoseconds per packet of an established flow (bench.h). `make bench` runs it.
#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <cstdlib>
#include <fstream>
#include <iostream>

#include "bench.h"
#include "checksums.h"
#include "datapath_fixture.h"
#include "policy_builder.h"
#include "service_fixture.h"

namespace axo::test {
namespace {

int empty_program() {
    // r0 = TC_ACT_UNSPEC; exit
    bpf_insn code[2] = {};
    code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    code[0].imm = -1;
    code[1].code = BPF_JMP | BPF_EXIT;
    return ::bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", code, 2, nullptr);
}

template <class Run>
Figure measure(Run run) {
    const Fd empty(empty_program());
    const auto small =
        PacketBuilder().eth(MacAddress(), MacAddress()).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(64).build();
    return test::measure(std::move(run),
                         [&](std::uint32_t repeat) { return run_program(empty.get(), small, {}, repeat)->average_ns; });
}

void bench(const char* name, const char* object, const char* program, const char* device, const Options& options,
           const char* source, const char* destination) {
    Datapath datapath(object, options);
    const auto packet = PacketBuilder()
                            .eth(Datapath::node_mac(1), Datapath::pod_mac(1))
                            .ipv4(source, destination, 255)
                            .udp(5000, 53)
                            .payload(64)
                            .build();
    ASSERT_EQ(datapath.run(program, packet, device).return_value, kRedirect);
    datapath.events();
    report(name,
           measure([&](std::uint32_t repeat) { return datapath.run(program, packet, device, repeat).average_ns; }));
    // At most the periodic reports: everything else left by the fast path.
    EXPECT_LE(datapath.events().size(), 4U);
    EXPECT_TRUE(datapath.find_flow(source, destination, 5000, 53, IPPROTO_UDP)->flags & FLOW_F_FAST);
}

// What looking at policy adds to a decision: every packet is decided anew, with and without a policy that is enforced.
// 100 rules, 500 identities.
void bench_policy() {
    std::vector<PolicyRule> rules;
    for (std::uint32_t i = 0; i < 99; ++i) {
        rules.push_back({.cookie = i + 1,
                         .protocol = IPPROTO_TCP,
                         .first = static_cast<std::uint16_t>(1000 + i),
                         .last = static_cast<std::uint16_t>(1000 + i)});
        for (std::uint32_t peer = 0; peer < 5; ++peer) rules.back().peers.push_back(5000 + i * 5 + peer);
    }
    rules.push_back({.cookie = 100, .peers = {2001}, .protocol = IPPROTO_UDP, .first = 53, .last = 53});
    Datapath datapath("pod", {.report_interval = 0, .trace = false});
    const auto packet = PacketBuilder()
                            .eth(Datapath::node_mac(1), Datapath::pod_mac(1))
                            .ipv4("10.0.1.1", "10.0.1.2", 255)
                            .udp(5000, 53)
                            .payload(64)
                            .build();
    const auto decide = [&](std::uint32_t repeat) {
        return datapath.run("cil_from_container", packet, "lxc1", repeat).average_ns;
    };
    ASSERT_EQ(datapath.run("cil_from_container", packet, "lxc1").return_value, kRedirect);
    const Figure open = measure(decide);
    datapath.set_policy(2, PolicyImageBuilder::build({.enforced = true, .default_cookie = 900, .rules = rules}, {}),
                        POLICY_REF_F_INGRESS);
    ASSERT_EQ(datapath.run("cil_from_container", packet, "lxc1").return_value, kRedirect);
    const Figure enforced = measure(decide);
    report("bpf_ns_decide_open", open);
    report("bpf_ns_decide_policy", enforced);
    EXPECT_EQ(datapath.find_flow("10.0.1.1", "10.0.1.2", 5000, 53, IPPROTO_UDP)->ingress_cookie, 100U);
}

// An established connection to a service. of_pod: from a pod of this node to one of this node; otherwise from a client
// outside to a backend on another node, with the node's address.
void bench_service(const char* name, bool of_pod) {
    Datapath datapath(of_pod ? "pod" : "netdev", with_services());
    Services services(datapath);
    services.set_nat_address("eth0", "172.18.0.2", "fd00:18::2");
    services.put(Services::Backend{1, of_pod ? "10.0.1.2" : "10.0.2.1", 5353, IPPROTO_UDP});
    const char* frontend = of_pod ? "10.96.0.10" : "172.18.0.2";
    const char* client = of_pod ? "10.0.1.1" : "192.0.2.7";
    services.put(Services::Service{.address = frontend,
                                   .port = 53,
                                   .protocol = IPPROTO_UDP,
                                   .backends = {1},
                                   .flags = LB_F_NODE_PORT | LB_F_ROUTABLE});
    const char* program = of_pod ? "cil_from_container" : "cil_from_netdev";
    const auto packet = PacketBuilder()
                            .eth(Datapath::node_mac(1), Datapath::pod_mac(1))
                            .ipv4(client, frontend, 255)
                            .udp(40000, 53)
                            .payload(64)
                            .build();
    const auto with_sum = Checksums::filled(packet);
    const char* device = of_pod ? "lxc1" : "eth0";
    ASSERT_EQ(datapath.run(program, with_sum, device).return_value, kRedirect);
    datapath.events();
    // A repeat sees what the one before it has written. With a rewrite to what the packet has already, each does the
    // same work.
    auto entry = *datapath.find_flow(client, frontend, 40000, 53, IPPROTO_UDP);
    EXPECT_NE(entry.rewrite.addr_delta, 0U);
    entry.rewrite.saddr.ip4 = IpAddress::parse(client)->v4_network_order();
    entry.rewrite.daddr.ip4 = IpAddress::parse(frontend)->v4_network_order();
    entry.rewrite.sport = PacketBuilder::swap16(40000);
    entry.rewrite.dport = PacketBuilder::swap16(53);
    entry.rewrite.addr_delta = entry.rewrite.port_delta = 0xffff;  // a zero that is added all the same
    datapath.put_flow_update(client, frontend, 40000, 53, IPPROTO_UDP, entry);
    report(name,
           measure([&](std::uint32_t repeat) { return datapath.run(program, with_sum, device, repeat).average_ns; }));
    EXPECT_LE(datapath.events().size(), 4U);
}

// What a connection's first packet costs: straight to a pod, and through a service. One call, one packet.
void bench_connect(const char* name, bool service) {
    Datapath datapath("pod", service ? with_services({.trace = false}) : Options{.trace = false});
    if (service) {
        Services services(datapath);
        services.put(Services::Backend{1, "10.0.1.2", 80});
        services.put(Services::Service{.address = "10.96.0.10", .port = 80, .backends = {1}});
    }
    const char* to = service ? "10.96.0.10" : "10.0.1.2";
    const auto packet = Checksums::filled(PacketBuilder()
                                              .eth(Datapath::node_mac(1), Datapath::pod_mac(1))
                                              .ipv4("10.0.1.1", to)
                                              .tcp(40000, 80, tcp::kSyn)
                                              .build());
    report(name, measure([&](std::uint32_t repeat) {
               const std::uint32_t packets = benching() ? repeat / 10 : 1;
               std::uint64_t sum = 0;
               for (std::uint32_t i = 0; i < packets; ++i) {
                   sum += datapath.run("cil_from_container", packet, "lxc1").average_ns;
                   datapath.remove_flow("10.0.1.1", to, 40000, 80, IPPROTO_TCP);
                   if (service) datapath.remove_flow("10.0.1.1", "10.0.1.2", 40000, 80, IPPROTO_TCP);
               }
               return static_cast<std::uint32_t>(sum / packets);
           }));
}

TEST(Bench, Decisions) {
    bench_policy();
    bench_connect("bpf_ns_connect_pod", false);
    bench_connect("bpf_ns_connect_service", true);
}

TEST(Bench, EstablishedFlows) {
    bench("bpf_ns_from_container", "pod", "cil_from_container", "lxc1", {}, "10.0.1.1", "10.0.1.2");
    bench_service("bpf_ns_service_local", true);
    bench_service("bpf_ns_nodeport_snat", false);
    bench("bpf_ns_from_netdev", "netdev", "cil_from_netdev", "eth0", {}, "10.0.2.1", "10.0.1.1");
}

}  // namespace
}  // namespace axo::test
