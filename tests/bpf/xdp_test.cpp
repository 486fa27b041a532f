// XDP: what tc has decided is carried out before there is an skb, to the byte; all else goes on to tc as it came.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include "bench.h"
#include "bpf/api/lb.h"
#include "checksums.h"
#include "kernel/bpf_blobs.h"
#include "kernel/features.h"
#include "kernel/netlink.h"
#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_netns.h"
#include "kernel/xdp_link.h"
#include "maps/prefilter_map.h"
#include "policy_builder.h"
#include "service_fixture.h"

AXO_BPF_BLOB(xdp)

namespace axo::test {
namespace {

struct Families {
    const char *remote, *client, *node, *any;
    bool v6;
};
const Families kIpv4{"10.0.2.1", "192.0.2.7", "172.18.0.2", "0.0.0.0", false};
const Families kIpv6{"fd00:10:2::1", "2001:db8::7", "fd00:18::2", "::", true};

std::uint32_t now_tick() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint32_t>(
        (static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec)) >>
        AXO_TICK_SHIFT);
}

const MacAddress kFar = *MacAddress::parse("02:00:00:00:00:99");
constexpr std::uint16_t kPort = 30080;

struct Ends {
    const char *source, *destination;
    std::uint16_t source_port, destination_port;
};

class Xdp : public testing::TestWithParam<Families> {
protected:
    void SetUp() override {
        start({});
        if (!object_) return;
        auto attached = attach_xdp({.device = IfIndex(ifindex("eth0")),
                                    .device_name = "eth0",
                                    .mode = XdpMode::kNative,
                                    .program_name = "cil_xdp_entry",
                                    .program_fd = program(),
                                    .pin_path = bpffs_.path() + "/link"});
        ASSERT_OK(attached);
        // Tells whether this kernel can run a program on a frame of a device.
        const auto frame = tcp_packet({GetParam().client, GetParam().node, 1, 2}, tcp::kAck);
        if (!run_program(program(), frame, {.ifindex = ifindex("eth0")})) GTEST_SKIP() << "needs kernel 5.14";
    }
    void TearDown() override { EXPECT_OK(detach_xdp(bpffs_.path() + "/link")); }
    // Anew, tc's programs with these options.
    void start(Options options) {
        object_.reset();
        services_.reset();
        tc_.emplace("netdev", with_services(options));
        services_.emplace(*tc_);
        services_->set_nat_address("eth0", "172.18.0.2", "fd00:18::2");
        load();
    }
    void load(bool ask_devices = false, bool prefilter = true) {
        node_config node{};
        node.ipv4 = node.ipv6 = 1;
        node.has_ktime_coarse = probe_kernel_features().value().ktime_coarse;
        node.conntrack_accounting = 1;
        trace_config trace{};
        trace.report_interval = 37;
        xdp_config config{};
        config.prefilter = prefilter;
        config.accelerate = 1;
        config.ask_devices = ask_devices;
        BpfLoadSpec spec;
        spec.name = "xdp";
        spec.object = bpf_blob_xdp();
        spec.config = {BpfConfigBlob::of("node_cfg", node), BpfConfigBlob::of("trace_cfg", trace),
                       BpfConfigBlob::of("xdp_cfg", config)};
        for (const char* map : {"cilium_flows4", "cilium_flows6", "cilium_generations", "cilium_metrics"})
            spec.reuse_maps[map] = tc_->map(map);
        auto object = BpfObject::load(spec);
        ASSERT_OK(object);
        object_.emplace(std::move(*object));
    }
    int program() { return object_->program_fd("cil_xdp_entry").value(); }
    TestRun run(const Bytes& frame, std::uint32_t repeat = 1) {
        auto done = run_program(program(), frame, {.ifindex = ifindex("eth0")}, repeat);
        EXPECT_OK(done);
        return done.value_or(TestRun{});
    }
    void expect_passed(const Bytes& frame, const char* what) {
        const TestRun out = run(frame);
        EXPECT_EQ(out.return_value, static_cast<std::uint32_t>(XDP_PASS)) << what;
        EXPECT_EQ(hex(out.packet_out), hex(frame)) << what;
    }

    void put_ways_out(std::uint32_t ways) {
        const std::uint32_t device = ifindex("eth0");
        ASSERT_EQ(::bpf_map_update_elem(object_->map_fd("cilium_xdp_devices").value(), &device, &ways, BPF_ANY), 0);
    }

    static PacketBuilder ip(const char* source, const char* destination, std::uint8_t ttl) {
        const MacAddress own = Netlink::open()->link(IfIndex(ifindex("eth0")))->mac;
        auto builder = PacketBuilder().eth(own, kFar);
        return GetParam().v6 ? builder.ipv6(source, destination, ttl) : builder.ipv4(source, destination, ttl);
    }
    static Bytes tcp_packet(const Ends& e, std::uint8_t flags, std::size_t size = 0, std::uint8_t ttl = 64) {
        return Checksums::filled(
            ip(e.source, e.destination, ttl).tcp(e.source_port, e.destination_port, flags).payload(size).build());
    }
    static Bytes udp_packet(const Ends& e, std::size_t size = 0, std::uint8_t ttl = 64, bool checksum = true) {
        return Checksums::filled(
            ip(e.source, e.destination, ttl).udp(e.source_port, e.destination_port).payload(size).build(), checksum);
    }
    static Bytes packet_of(std::uint8_t protocol, const Ends& e, std::size_t size, std::uint8_t ttl = 64) {
        return protocol == IPPROTO_TCP ? tcp_packet(e, tcp::kAck, size, ttl) : udp_packet(e, size, ttl);
    }
    static std::string l3(const Bytes& packet) { return hex(packet).substr(29); }

    // A client's connection to a NodePort whose backend is on another node, established in tc. The translated source
    // port.
    std::uint16_t connect(std::uint8_t protocol, std::uint16_t client_port) {
        const auto& f = GetParam();
        services_->put(Services::Backend{protocol, f.remote, 8080, protocol});
        services_->put(Services::Service{
            .address = f.any, .port = kPort, .protocol = protocol, .backends = {protocol}, .flags = LB_F_NODE_PORT});
        const bool tcp = protocol == IPPROTO_TCP;
        const Ends sent{f.client, f.node, client_port, kPort};
        EXPECT_EQ(
            tc_->run("cil_from_netdev", tcp ? tcp_packet(sent, tcp::kSyn) : udp_packet(sent), "eth0").return_value,
            kRedirect);
        const std::uint16_t port =
            PacketBuilder::swap16(tc_->find_flow(f.client, f.node, client_port, kPort, protocol)->rewrite.sport);
        const Ends back{f.remote, f.node, 8080, port};
        for (const std::uint8_t flags : {std::uint8_t{tcp::kSyn | tcp::kAck}, tcp::kAck}) {
            EXPECT_EQ(
                tc_->run("cil_from_netdev", tcp ? tcp_packet(back, flags) : udp_packet(back), "eth0").return_value,
                kRedirect);
        }
        EXPECT_EQ(tc_->run("cil_from_netdev", packet_of(protocol, sent, 3), "eth0").return_value, kRedirect);
        return port;
    }
    std::uint64_t packets_of(const char* a, const char* b, std::uint16_t port_a, std::uint16_t port_b,
                             std::uint8_t protocol) {
        const flow entry = *tc_->find_flow(a, b, port_a, port_b, protocol);
        return entry.half[0].packets + entry.half[1].packets;
    }

    ScratchBpffs bpffs_;
    std::optional<Datapath> tc_;
    std::optional<Services> services_;
    std::optional<BpfObject> object_;
};

TEST_P(Xdp, ForwardsWhatTcHasDecidedBothWays) {
    const auto& f = GetParam();
    const MacAddress own = Netlink::open()->link(IfIndex(ifindex("eth0")))->mac;
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        const std::uint16_t port = connect(protocol, 40000);
        const Ends sent{f.client, f.node, 40000, kPort}, forth{f.node, f.remote, port, 8080};
        const Ends back{f.remote, f.node, 8080, port}, answered{f.node, f.client, kPort, 40000};
        const std::uint64_t counted = tc_->counted(FORWARDED, METRIC_INGRESS);
        const std::uint64_t before = packets_of(f.client, f.node, 40000, kPort, protocol);
        for (const std::size_t size : {0, 1, 64, 1400}) {
            for (const auto& [in, wanted] : {std::pair{sent, forth}, std::pair{back, answered}}) {
                const TestRun out = run(packet_of(protocol, in, size));
                ASSERT_EQ(out.return_value, static_cast<std::uint32_t>(XDP_TX));
                EXPECT_EQ(l3(out.packet_out), l3(packet_of(protocol, wanted, size, 63)));
                EXPECT_EQ(Checksums::wrong(out.packet_out), "");
                // The next hop's address, and the device's own.
                EXPECT_EQ(std::memcmp(out.packet_out.data(), kFar.bytes().data(), 6), 0);
                EXPECT_EQ(std::memcmp(out.packet_out.data() + 6, own.bytes().data(), 6), 0);
            }
        }
        EXPECT_EQ(tc_->counted(FORWARDED, METRIC_INGRESS), counted + 8);
        EXPECT_EQ(packets_of(f.client, f.node, 40000, kPort, protocol), before + 4);
    }
}

TEST_P(Xdp, ADatagramWithoutAChecksumStaysWithout) {
    if (GetParam().v6) GTEST_SKIP() << "IPv6 has no such datagrams";
    const auto& f = GetParam();
    const std::uint16_t port = connect(IPPROTO_UDP, 40000);
    const TestRun out = run(udp_packet({f.client, f.node, 40000, kPort}, 9, 64, false));
    ASSERT_EQ(out.return_value, static_cast<std::uint32_t>(XDP_TX));
    EXPECT_EQ(l3(out.packet_out), l3(udp_packet({f.node, f.remote, port, 8080}, 9, 63, false)));
}

TEST_P(Xdp, WhatTcHasToSeeGoesOnAsItCame) {
    const auto& f = GetParam();
    connect(IPPROTO_TCP, 40000);
    const Ends sent{f.client, f.node, 40000, kPort};
    for (const std::uint8_t flags : {tcp::kSyn, tcp::kFin, tcp::kRst})
        expect_passed(tcp_packet(sent, flags | tcp::kAck), "handshakes and ends of connections");
    expect_passed(tcp_packet(sent, tcp::kAck, 0, 1), "the last hop");
    expect_passed(tcp_packet(sent, tcp::kAck, 2000), "larger than the way out takes");
    expect_passed(tcp_packet({f.client, f.node, 40001, kPort}, tcp::kAck), "an unknown connection");
    expect_passed(udp_packet(sent), "another protocol");
    const Bytes whole = tcp_packet(sent, tcp::kAck, 20);
    for (std::size_t size = ETH_HLEN; size < whole.size() - 20; ++size)
        expect_passed(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)), "truncated");
    if (!f.v6) {
        auto fragment = PacketBuilder().eth(kFar, kFar).ipv4(f.client, f.node, 64, 0x2000).tcp(40000, kPort, tcp::kAck);
        expect_passed(fragment.payload(8).build(), "a fragment");
    }
    // As a virtual device's sender leaves it: the checksum covers addresses, protocol and length only.
    Bytes unfinished = whole;
    const std::size_t ip = ETH_HLEN, l4 = ip + (f.v6 ? 40 : 20), addresses = ip + (f.v6 ? 8 : 12);
    std::uint32_t sum = IPPROTO_TCP + static_cast<std::uint32_t>(whole.size() - l4);
    for (std::size_t at = addresses; at < l4; at += 2) {
        sum += std::to_integer<std::uint32_t>(whole[at]) << 8 | std::to_integer<std::uint32_t>(whole[at + 1]);
    }
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    unfinished[l4 + 16] = static_cast<std::byte>(sum >> 8);
    unfinished[l4 + 17] = static_cast<std::byte>(sum & 0xff);
    expect_passed(unfinished, "a checksum that the sender left to hardware");
    auto other_device = run_program(program(), whole, {});
    ASSERT_OK(other_device);
    EXPECT_EQ(other_device->return_value, static_cast<std::uint32_t>(XDP_PASS)) << "from another device";
    ASSERT_EQ(run(whole).return_value, static_cast<std::uint32_t>(XDP_TX));
    tc_->generations().bump_node();
    expect_passed(whole, "a decision that something under it has moved");
    ASSERT_EQ(tc_->run("cil_from_netdev", whole, "eth0").return_value, kRedirect);
    EXPECT_EQ(run(whole).return_value, static_cast<std::uint32_t>(XDP_TX)) << "decided again";
}

TEST_P(Xdp, AnotherDevicesFramesOnlyWhereItTakesThem) {
    const auto& f = GetParam();
    connect(IPPROTO_TCP, 40000);
    const Bytes frame = tcp_packet({f.client, f.node, 40000, kPort}, tcp::kAck);
    flow entry = *tc_->find_flow(f.client, f.node, 40000, kPort, IPPROTO_TCP);
    // As if it had come in by another device than the one it leaves by.
    for (flow_half& half : entry.half) {
        if (half.action == FLOW_NEIGH) half.ifindex_in = 1;
    }
    tc_->put_flow_update(f.client, f.node, 40000, kPort, IPPROTO_TCP, entry);
    auto out = run_program(program(), frame, {});
    ASSERT_OK(out);
    EXPECT_EQ(out->return_value, static_cast<std::uint32_t>(XDP_PASS));
    EXPECT_EQ(hex(out->packet_out), hex(frame));
    put_ways_out(XDP_DEVICE_TX);
    EXPECT_EQ(run_program(program(), frame, {})->return_value, static_cast<std::uint32_t>(XDP_PASS));
    put_ways_out(XDP_DEVICE_TX | XDP_DEVICE_REDIRECT);
    EXPECT_EQ(run_program(program(), frame, {})->return_value, static_cast<std::uint32_t>(XDP_REDIRECT));
}

// Ends of veth pairs.
TEST_P(Xdp, FramesLeaveByTheirOwnDeviceAsItTakesThem) {
    const auto& f = GetParam();
    connect(IPPROTO_TCP, 40000);
    const Bytes frame = tcp_packet({f.client, f.node, 40000, kPort}, tcp::kAck);
    const auto verdict = [&] { return run(frame).return_value; };
    EXPECT_EQ(verdict(), static_cast<std::uint32_t>(XDP_TX)) << "without a question";
    object_.reset();
    load(true);
    expect_passed(frame, "takes none");
    put_ways_out(XDP_DEVICE_REDIRECT);
    EXPECT_EQ(verdict(), static_cast<std::uint32_t>(XDP_REDIRECT));
    put_ways_out(XDP_DEVICE_TX);
    EXPECT_EQ(verdict(), static_cast<std::uint32_t>(XDP_TX));
}

TEST_P(Xdp, ANextHopThatIsNotKnownIsTcsToFindOut) {
    const auto& f = GetParam();
    auto netlink = Netlink::open();
    ASSERT_OK(netlink);
    const IfIndex uplink(ifindex("eth0"));
    const auto neighbours = [&](bool present) {
        for (const char* hop : {"172.18.0.1", "172.18.0.3", "fd00:18::1", "fd00:18::3"}) {
            const Neighbour neighbour{uplink, *IpAddress::parse(hop), kFar, true};
            ASSERT_OK(present ? netlink->put_neighbour(neighbour) : netlink->remove_neighbour(neighbour));
        }
    };
    connect(IPPROTO_TCP, 40000);
    neighbours(false);
    const Bytes frame = tcp_packet({f.client, f.node, 40000, kPort}, tcp::kAck);
    expect_passed(frame, "no neighbour");
    neighbours(true);
    EXPECT_EQ(run(frame).return_value, static_cast<std::uint32_t>(XDP_TX));
    // Once found out, it is asked for no more while the decision lasts.
    neighbours(false);
    EXPECT_EQ(run(frame).return_value, static_cast<std::uint32_t>(XDP_TX));
    neighbours(true);
}

TEST_P(Xdp, SourcesOnTheListAreDropped) {
    const auto& f = GetParam();
    const auto raw = [&](const char* map) {
        return RawBpfMap::from_fd(Fd(::dup(object_->map_fd(map).value())), map).value();
    };
    auto list = PrefilterMaps::wrap(raw("cilium_cidr_v4_fix"), raw("cilium_cidr_v4_dyn"), raw("cilium_cidr_v6_fix"),
                                    raw("cilium_cidr_v6_dyn"));
    ASSERT_OK(list);
    const Prefix one = *Prefix::parse(f.v6 ? "2001:db8::7/128" : "192.0.2.7/32");
    const Prefix many = *Prefix::parse(f.v6 ? "2001:db8:1::/48" : "198.51.100.0/24");
    for (const Prefix& prefix : {one, many, one}) ASSERT_OK(list->put(prefix));
    EXPECT_EQ(list->list().value(), (std::vector{one, many}));
    const auto verdict = [&](const char* source) { return run(udp_packet({source, f.node, 1, 2}, 4)).return_value; };
    const std::uint64_t counted = tc_->counted(DROP_POLICY_DENY, METRIC_INGRESS);
    EXPECT_EQ(verdict(f.v6 ? "2001:db8::7" : "192.0.2.7"), static_cast<std::uint32_t>(XDP_DROP));
    EXPECT_EQ(verdict(f.v6 ? "2001:db8:1::9" : "198.51.100.9"), static_cast<std::uint32_t>(XDP_DROP));
    EXPECT_EQ(verdict(f.v6 ? "2001:db8::8" : "192.0.2.8"), static_cast<std::uint32_t>(XDP_PASS));
    EXPECT_EQ(verdict(f.v6 ? "2001:db8:2::9" : "198.51.101.9"), static_cast<std::uint32_t>(XDP_PASS));
    EXPECT_EQ(tc_->counted(DROP_POLICY_DENY, METRIC_INGRESS), counted + 2);
    for (const Prefix& prefix : {one, many, one}) ASSERT_OK(list->remove(prefix));
    EXPECT_TRUE(list->list()->empty());
    EXPECT_EQ(verdict(f.v6 ? "2001:db8::7" : "192.0.2.7"), static_cast<std::uint32_t>(XDP_PASS));
}

// A node port that the node's policy closes is closed to established connections, too: their decision holds no longer,
// and tc denies.
TEST_P(Xdp, TheNodesPolicyIsNotPassedBy) {
    const auto& f = GetParam();
    start({.host_firewall = true});
    const auto policy = [&](std::vector<PolicyRule> rules) {
        tc_->set_host_policy(PolicyImageBuilder::build({.enforced = true, .rules = std::move(rules)}, {}),
                             POLICY_REF_F_INGRESS);
    };
    const PolicyRule open{.cookie = 1, .protocol = IPPROTO_TCP, .first = kPort, .last = kPort};
    policy({open});
    const std::uint16_t port = connect(IPPROTO_TCP, 40000);
    const Bytes there = tcp_packet({f.client, f.node, 40000, kPort}, tcp::kAck, 3);
    const Bytes back = tcp_packet({f.remote, f.node, 8080, port}, tcp::kAck, 3);
    for (const Bytes& frame : {there, back}) EXPECT_EQ(run(frame).return_value, static_cast<std::uint32_t>(XDP_TX));
    policy({});
    for (const Bytes& frame : {there, back}) {
        expect_passed(frame, "decided under another policy");
        EXPECT_EQ(tc_->run("cil_from_netdev", frame, "eth0").return_value, kDrop);
        expect_passed(frame, "refused");
    }
    policy({open});
    for (const Bytes& frame : {there, back}) {
        expect_passed(frame, "not decided yet");
        EXPECT_EQ(tc_->run("cil_from_netdev", frame, "eth0").return_value, kRedirect);
        EXPECT_EQ(run(frame).return_value, static_cast<std::uint32_t>(XDP_TX));
    }
}

// Every repeat of a system call gets the frame as the last one left it: an entry whose rewrite changes nothing costs
// the same. As a cluster has it that asks for acceleration only: the prefilter is off.
TEST_P(Xdp, CostsLittle) {
    if (GetParam().v6 && !benching()) GTEST_SKIP() << "one family is enough to see that it works";
    const auto& f = GetParam();
    load(false, false);
    connect(IPPROTO_TCP, 40000);
    const IpAddress client = *IpAddress::parse(f.client), node = *IpAddress::parse(f.node);
    const Bytes frame = tcp_packet({f.client, f.node, 40000, kPort}, tcp::kAck, 64, 255);
    bpf_insn code[2] = {};
    code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    code[0].imm = XDP_TX;
    code[1].code = BPF_JMP | BPF_EXIT;
    const Fd empty(::bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "GPL", code, 2, nullptr));
    const Figure figure = measure(
        [&](std::uint32_t repeat) {
            // Decided by tc; again when its time is over, and then with its own rewrite.
            flow entry = *tc_->find_flow(f.client, f.node, 40000, kPort, IPPROTO_TCP);
            if (entry.rewrite.sport != PacketBuilder::swap16(40000) ||
                entry.rewrite.dport != PacketBuilder::swap16(kPort) ||
                now_tick() - entry.half[entry.half[0].action == FLOW_NEIGH ? 0 : 1].decided_at > 20) {
                if (tc_->run("cil_from_netdev", frame, "eth0").return_value != kRedirect) return 0U;
                entry = *tc_->find_flow(f.client, f.node, 40000, kPort, IPPROTO_TCP);
                std::memcpy(&entry.rewrite.saddr, client.bytes().data(), client.bytes().size());
                std::memcpy(&entry.rewrite.daddr, node.bytes().data(), node.bytes().size());
                entry.rewrite.sport = PacketBuilder::swap16(40000);
                entry.rewrite.dport = PacketBuilder::swap16(kPort);
                entry.rewrite.addr_delta = entry.rewrite.port_delta = 0;
                tc_->put_flow_update(f.client, f.node, 40000, kPort, IPPROTO_TCP, entry);
            }
            const TestRun out = run(frame, repeat);
            EXPECT_EQ(out.return_value, static_cast<std::uint32_t>(XDP_TX));
            return out.average_ns;
        },
        [&](std::uint32_t repeat) {
            return run_program(empty.get(), frame, {.ifindex = ifindex("eth0")}, repeat)->average_ns;
        },
        // Each call of an XDP program patches the kernel's dispatcher, which takes some 10 ms.
        benching() ? 25 : 2);
    report(f.v6 ? "xdp_nodeport_cross_v6" : "xdp_nodeport_cross", figure);
}

INSTANTIATE_TEST_SUITE_P(Families, Xdp, testing::Values(kIpv4, kIpv6),
                         [](const auto& info) { return std::string(info.param.v6 ? "IPv6" : "IPv4"); });

}  // namespace
}  // namespace axo::test
