#include "datapath/decide.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include "datapath/map_layout.h"
#include "datapath/program_config.h"

namespace axo {
namespace {

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(std::string_view text) {
    return Prefix::parse(text).value();
}

KernelFeatures new_kernel() {
    KernelFeatures features;
    features.release = "6.18.44";
    features.ring_buffer = features.tcx = features.redirect_neigh = features.redirect_peer = true;
    features.ktime_coarse = features.fib_skip_neigh = features.adjust_room_decap = features.batch_lookup = true;
    features.netns_cookie = features.ipv6 = features.vxlan = features.geneve = true;
    return features;
}

DatapathSettings settings() {
    DatapathSettings out;
    out.router_ipv4 = ip("10.0.0.1");
    out.router_ipv6 = ip("fd00::1");
    return out;
}

Link link(std::uint32_t index, const std::string& name, std::uint32_t mtu = 1500, const std::string& kind = "") {
    Link out;
    out.index = IfIndex(index);
    out.name = name;
    out.mtu = mtu;
    out.kind = kind;
    out.loopback = name == "lo";
    out.up = true;
    return out;
}

InterfaceAddress address(std::uint32_t index, std::string_view text) {
    InterfaceAddress out;
    out.link = IfIndex(index);
    out.address = ip(text);
    out.prefix_length = out.address.is_v6() ? 64 : 24;
    out.scope = out.address.is_link_local() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    return out;
}

Route default_route(std::uint32_t index, std::string_view gateway, std::uint32_t priority = 0) {
    Route out;
    out.destination = ip(gateway).is_v6() ? prefix("::/0") : prefix("0.0.0.0/0");
    out.gateway = ip(gateway);
    out.link = IfIndex(index);
    out.priority = priority;
    return out;
}

NodeNetwork one_uplink() {
    NodeNetwork network;
    network.links = {link(1, "lo", 65536), link(2, "eth0"), link(5, "docker0", 1500, "bridge"),
                     link(6, "lxc1234", 1500, "veth")};
    network.addresses = {address(1, "127.0.0.1"), address(2, "192.168.0.1"), address(2, "fe80::1"),
                         address(5, "172.17.0.1")};
    network.routes = {default_route(2, "192.168.0.254")};
    return network;
}

std::vector<std::string> names(const DatapathDecisions& decisions) {
    std::vector<std::string> out;
    for (const NativeDevice& device : decisions.devices) out.push_back(device.name);
    return out;
}

std::string reason_of(const DatapathDecisions& decisions, const std::string& what) {
    for (const auto& reason : decisions.reasons) {
        if (reason.what == what) return reason.choice + ": " + reason.reason;
    }
    return "";
}

std::string error_of_decision(const DatapathSettings& with, const KernelFeatures& features,
                              const NodeNetwork& network) {
    const auto decided = decide_datapath(with, features, network);
    return decided ? "" : decided.error().message;
}

TEST(Decide, ANewKernelGetsEverything) {
    const auto decided = decide_datapath(settings(), new_kernel(), one_uplink());
    ASSERT_TRUE(decided) << decided.error().message;
    EXPECT_EQ(decided->attach_mode, AttachMode::kTcx);
    EXPECT_FALSE(decided->legacy_host_routing);
    EXPECT_TRUE(decided->tunnel_fast_path);
    EXPECT_FALSE(decided->underlay_ipv6);
    EXPECT_EQ(decided->device_mtu, 1500U);
    EXPECT_EQ(decided->route_mtu, 1450U);
    EXPECT_EQ(names(*decided), std::vector<std::string>{"eth0"});
    EXPECT_EQ(decided->node_ipv4, ip("192.168.0.1"));
    EXPECT_FALSE(decided->node_ipv6);
    EXPECT_EQ(reason_of(*decided, "Device eth0"), "native: carries the default route");
}

TEST(Decide, AnAddressThatComesAndGoesIsNotTheNodes) {
    NodeNetwork network = one_uplink();
    const auto alone = [&](const char* text) {
        InterfaceAddress one = address(2, text);
        one.prefix_length = one.address.bits();
        network.addresses.insert(network.addresses.begin(), one);  // as the kernel lists IPv6: the last one first
    };
    alone("192.0.2.9");
    const auto with_service = decide_datapath(settings(), new_kernel(), network);
    ASSERT_TRUE(with_service) << with_service.error().message;
    EXPECT_EQ(with_service->node_ipv4, ip("192.168.0.1"));
    // Another network's: the one that it is known by stays while it is there.
    network.addresses.insert(network.addresses.begin(), address(2, "10.0.0.9"));
    EXPECT_EQ(decide_datapath(settings(), new_kernel(), network, &*with_service)->node_ipv4, ip("192.168.0.1"));
    EXPECT_EQ(decide_datapath(settings(), new_kernel(), network)->node_ipv4, ip("10.0.0.9"));
    std::erase_if(network.addresses, [](const InterfaceAddress& one) { return one.address == ip("192.168.0.1"); });
    EXPECT_EQ(decide_datapath(settings(), new_kernel(), network, &*with_service)->node_ipv4, ip("10.0.0.9"));
    // It is all there is.
    std::erase_if(network.addresses, [](const InterfaceAddress& one) { return one.address == ip("10.0.0.9"); });
    EXPECT_EQ(decide_datapath(settings(), new_kernel(), network)->node_ipv4, ip("192.0.2.9"));
}

struct FeatureCase {
    const char* description;
    void (*change)(DatapathSettings&, KernelFeatures&);
    AttachMode attach;
    bool legacy;
    bool fast;
    const char* what;
    const char* reason;
};

TEST(Decide, WhatIsMissingHasAFallbackAndAReason) {
    const FeatureCase cases[] = {
        {"no tcx", [](DatapathSettings&, KernelFeatures& f) { f.tcx = false; }, AttachMode::kLegacyTc, false, true,
         "Attach mode", "Legacy TC: kernel 6.18.44 has no tcx links (6.6)"},
        {"tcx off", [](DatapathSettings& s, KernelFeatures&) { s.enable_tcx = false; }, AttachMode::kLegacyTc, false,
         true, "Attach mode", "Legacy TC: enable-tcx=false"},
        {"legacy asked for", [](DatapathSettings& s, KernelFeatures&) { s.legacy_host_routing = true; },
         AttachMode::kTcx, true, false, "Host routing", "Legacy: enable-host-legacy-routing=true"},
        {"no redirect_peer", [](DatapathSettings&, KernelFeatures& f) { f.redirect_peer = false; }, AttachMode::kTcx,
         true, false, "Tunnel fast path", "Disabled: legacy host routing leaves forwarding to the kernel"},
        {"fast path off", [](DatapathSettings& s, KernelFeatures&) { s.tunnel_fast_path = false; }, AttachMode::kTcx,
         false, false, "Tunnel fast path", "Disabled: enable-tunnel-fast-path=false"},
        {"old kernel", [](DatapathSettings&, KernelFeatures& f) { f.release = "5.10.262"; }, AttachMode::kTcx, false,
         false, "Tunnel fast path", "Disabled: kernel 5.10.262 cannot push an inner Ethernet header in tc (5.14)"},
        {"Debian 12's",
         [](DatapathSettings&, KernelFeatures& f) {
             f.release = "6.1.0";
             f.adjust_room_decap = false;
         },
         AttachMode::kTcx, false, true, "Tunnel fast path",
         "Enabled: the kernel can push outer headers in tc; those of the other family are pulled by the device (kernel "
         "6.1.0 cannot: 6.3)"},
    };
    for (const FeatureCase& one : cases) {
        DatapathSettings with = settings();
        KernelFeatures features = new_kernel();
        one.change(with, features);
        const auto decided = decide_datapath(with, features, one_uplink());
        ASSERT_TRUE(decided) << one.description;
        EXPECT_EQ(decided->attach_mode, one.attach) << one.description;
        EXPECT_EQ(decided->legacy_host_routing, one.legacy) << one.description;
        EXPECT_EQ(decided->tunnel_fast_path, one.fast) << one.description;
        EXPECT_EQ(reason_of(*decided, one.what), one.reason) << one.description;
    }
}

TEST(Decide, DevicesAreThoseOfTheDefaultRouteAndOfTheNodesAddress) {
    NodeNetwork network = one_uplink();
    network.links.push_back(link(3, "eth1", 9000));
    network.links.push_back(link(4, "eth2"));
    network.links.push_back(link(7, "cilium_host", 1500, "veth"));
    network.links.push_back(link(8, "br0", 1500, "bridge"));
    network.links.push_back(link(9, "eth3"));
    network.links.back().master = IfIndex(8);
    network.addresses.push_back(address(3, "10.10.0.1"));
    network.addresses.push_back(address(4, "10.20.0.1"));
    network.addresses.push_back(address(7, "10.0.0.1"));
    network.addresses.push_back(address(8, "10.30.0.1"));
    network.addresses.push_back(address(9, "10.30.0.2"));
    network.routes.push_back(default_route(8, "10.30.0.254", 100));
    network.routes.push_back(default_route(9, "10.30.0.254", 100));
    DatapathSettings with = settings();
    with.node_ipv4 = ip("10.10.0.1");
    const auto decided = decide_datapath(with, new_kernel(), network);
    ASSERT_TRUE(decided) << decided.error().message;
    EXPECT_EQ(names(*decided), (std::vector<std::string>{"eth0", "eth1", "br0"}));
    EXPECT_EQ(reason_of(*decided, "Device eth1"), "native: carries the node's address");
    EXPECT_EQ(decided->node_ipv4, ip("10.10.0.1"));
    EXPECT_EQ(decided->device_mtu, 1500U);
    // Without an address given, the better default route decides.
    with.node_ipv4 = {};
    EXPECT_EQ(decide_datapath(with, new_kernel(), network)->node_ipv4, ip("192.168.0.1"));
}

TEST(Decide, NamedDevicesAndWildcards) {
    NodeNetwork network = one_uplink();
    network.links.push_back(link(3, "eth1", 9000));
    network.addresses.push_back(address(3, "10.10.0.1"));
    DatapathSettings with = settings();
    with.devices = {"eth1"};
    EXPECT_EQ(names(*decide_datapath(with, new_kernel(), network)), std::vector<std::string>{"eth1"});
    EXPECT_EQ(decide_datapath(with, new_kernel(), network)->device_mtu, 9000U);
    with.devices = {"eth1", "eth+"};
    EXPECT_EQ(names(*decide_datapath(with, new_kernel(), network)), (std::vector<std::string>{"eth1", "eth0"}));
    with.devices = {"ens3"};
    EXPECT_EQ(error_of_decision(with, new_kernel(), network),
              "devices=ens3: there is no such device; there are: eth0, docker0, lxc1234, eth1");
    with.devices = {"ens+"};
    EXPECT_NE(error_of_decision(with, new_kernel(), network).find("no device has such a name"), std::string::npos);
}

TEST(Decide, Mtu) {
    DatapathSettings with = settings();
    with.mtu = 1400;
    EXPECT_EQ(decide_datapath(with, new_kernel(), one_uplink())->device_mtu, 1400U);
    EXPECT_EQ(decide_datapath(with, new_kernel(), one_uplink())->route_mtu, 1350U);
    with.routing = RoutingMode::kNative;
    EXPECT_EQ(decide_datapath(with, new_kernel(), one_uplink())->route_mtu, 1400U);
    with.mtu = 500;
    EXPECT_NE(error_of_decision(with, new_kernel(), one_uplink()).find("MTU 500 (mtu=500): accepted: 1280 to 65535"),
              std::string::npos);
}

TEST(Decide, GeneveIsATunnelAsWell) {
    DatapathSettings with = settings();
    with.tunnel_protocol = TunnelProtocol::kGeneve;
    const auto decided = decide_datapath(with, new_kernel(), one_uplink());
    ASSERT_TRUE(decided) << decided.error().message;
    EXPECT_EQ(reason_of(*decided, "Routing"), "Tunnel [geneve]: routing-mode=tunnel");
    EXPECT_TRUE(decided->tunnel_fast_path);
    EXPECT_EQ(decided->route_mtu, 1450U);
    KernelFeatures features = new_kernel();
    features.vxlan = false;
    EXPECT_TRUE(decide_datapath(with, features, one_uplink()));
    features = new_kernel();
    features.geneve = false;
    EXPECT_EQ(error_of_decision(with, features, one_uplink()),
              "tunnel-protocol=geneve, but this kernel cannot make Geneve devices: load the module geneve "
              "(CONFIG_GENEVE), or use tunnel-protocol=vxlan on all nodes");
    with.tunnel_protocol = TunnelProtocol::kVxlan;
    EXPECT_TRUE(decide_datapath(with, features, one_uplink()));
}

TEST(Decide, WithNativeRoutingDsrByGeneveHasATunnelOfItsOwn) {
    DatapathSettings with = settings();
    with.routing = RoutingMode::kNative;
    with.tunnel_protocol = TunnelProtocol::kGeneve;
    with.services.dispatch = LB_DISPATCH_GENEVE;
    with.services.mode = LB_MODE_DSR;
    EXPECT_FALSE(with.tunnel_needed());  // nothing arrives from outside
    with.services.node_port = true;
    EXPECT_TRUE(with.tunnel_needed());
    const auto decided = decide_datapath(with, new_kernel(), one_uplink());
    ASSERT_TRUE(decided) << decided.error().message;
    EXPECT_EQ(reason_of(*decided, "Routing"), "Native: routing-mode=native");
    EXPECT_TRUE(reason_of(*decided, "Tunnel").starts_with("geneve: bpf-lb-dsr-dispatch=geneve"));
    EXPECT_TRUE(decided->tunnel_fast_path);
    EXPECT_EQ(decided->route_mtu, 1500U);
    KernelFeatures features = new_kernel();
    features.geneve = false;
    EXPECT_EQ(error_of_decision(with, features, one_uplink()),
              "bpf-lb-dsr-dispatch=geneve, but this kernel cannot make Geneve devices: load the module geneve "
              "(CONFIG_GENEVE), or use bpf-lb-dsr-dispatch=opt or bpf-lb-mode=snat");
    with.services.mode = LB_MODE_SNAT;
    EXPECT_TRUE(decide_datapath(with, features, one_uplink()));
}

TEST(Decide, AnIpv6UnderlayTakesMoreRoom) {
    NodeNetwork network = one_uplink();
    network.addresses = {address(2, "fc00::1"), address(2, "fe80::1")};
    network.routes = {default_route(2, "fc00::fe")};
    DatapathSettings with = settings();
    with.ipv6 = true;
    const auto decided = decide_datapath(with, new_kernel(), network);
    ASSERT_TRUE(decided) << decided.error().message;
    EXPECT_TRUE(decided->underlay_ipv6);
    EXPECT_EQ(decided->route_mtu, 1430U);
    EXPECT_EQ(decided->node_ipv6, ip("fc00::1"));
    EXPECT_EQ(reason_of(*decided, "Underlay"), "IPv6: the node has no IPv4 address");
    with.routing = RoutingMode::kNative;
    EXPECT_NE(error_of_decision(with, new_kernel(), network)
                  .find("routing-mode=native with IPv4 on, but eth0 has no global IPv4"),
              std::string::npos);
}

TEST(Decide, ErrorsNameWhatIsMissing) {
    NodeNetwork bare = one_uplink();
    bare.routes.clear();
    EXPECT_EQ(error_of_decision(settings(), new_kernel(), bare),
              "no native device found: none has a global address and the default route or the node's address; looked "
              "at: eth0 (no "
              "default route); name it with devices=<name>");
    KernelFeatures features = new_kernel();
    features.vxlan = false;
    EXPECT_NE(error_of_decision(settings(), features, one_uplink()).find("routing-mode=native"), std::string::npos);
    features = new_kernel();
    features.ring_buffer = false;
    EXPECT_NE(error_of_decision(settings(), features, one_uplink()).find("5.10 or newer"), std::string::npos);
    features = new_kernel();
    features.ipv6 = false;
    DatapathSettings with = settings();
    with.ipv6 = true;
    EXPECT_NE(error_of_decision(with, features, one_uplink()).find("enable-ipv6=true"), std::string::npos);
    with = settings();
    with.node_ipv4 = ip("1.2.3.4");
    EXPECT_NE(error_of_decision(with, new_kernel(), one_uplink()).find("no device of this node has this address"),
              std::string::npos);
    with = settings();
    with.router_ipv4 = {};
    EXPECT_NE(error_of_decision(with, new_kernel(), one_uplink()).find("no IPv4 router address"), std::string::npos);
}

TEST(ProgramConfig, HoldsWhatWasDecided) {
    DatapathSettings with = settings();
    with.ct_tcp = std::chrono::seconds(8000);
    with.monitor_interval = std::chrono::nanoseconds(1);
    const auto decided = decide_datapath(with, new_kernel(), one_uplink());
    ASSERT_TRUE(decided);
    BaseDevices devices;
    devices.host = link(10, "cilium_host");
    devices.host.mac = MacAddress::parse("02:00:00:00:00:0a").value();
    devices.net = link(11, "cilium_net");
    devices.tunnel = link(12, "cilium_vxlan");
    const ProgramConfig config = make_program_config(with, new_kernel(), *decided, devices);
    EXPECT_EQ(config.node.host_ifindex, 10U);
    EXPECT_EQ(config.node.net_ifindex, 11U);
    EXPECT_EQ(config.node.mtu, 1500);
    EXPECT_EQ(config.node.router_ip4, ip("10.0.0.1").v4_network_order());
    EXPECT_EQ(config.tunnel.ifindex, 12U);
    EXPECT_EQ(config.tunnel.port, __builtin_bswap16(8472));
    EXPECT_EQ(config.tunnel.overhead, 50);
    EXPECT_EQ(config.tunnel.node_ip4, ip("192.168.0.1").v4_network_order());
    EXPECT_EQ(config.tunnel.protocol, TUNNEL_VXLAN);
    EXPECT_EQ(config.ct.regular_tcp, 59604U);  // 8000 s of 134 ms
    EXPECT_EQ(config.trace.report_interval, 1U);
    // The same inputs give the same digest, another lifetime or map size another.
    const auto maps = shared_maps(with);
    const std::string digest = program_digest({}, config, maps);
    EXPECT_EQ(program_digest({}, make_program_config(with, new_kernel(), *decided, devices), shared_maps(with)),
              digest);
    ProgramConfig other = config;
    other.ct.regular_tcp = 1;
    EXPECT_NE(program_digest({}, other, maps), digest);
    with.tunnel_protocol = TunnelProtocol::kGeneve;
    EXPECT_EQ(make_program_config(with, new_kernel(), *decided, devices).tunnel.protocol, TUNNEL_GENEVE);
    with.ipcache_map_max = 1000;
    EXPECT_NE(program_digest({}, config, shared_maps(with)), digest);
}

}  // namespace
}  // namespace axo
