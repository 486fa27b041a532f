#include "app/agent/preflight/findings.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace axo::preflight {
namespace {

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}

Config config(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.end(),
                     {"--k8s-node-name=node1", "--enable-ipv6=true", "--write-cni-conf-when-ready=/etc/cni/net.d"});
    auto parsed = parse_config(arguments, {});
    EXPECT_TRUE(parsed) << parsed.error().message;
    return parsed->config;
}

KernelFeatures everything() {
    KernelFeatures features;
    features.release = "6.18.44";
    for (bool KernelFeatures::* one :
         {&KernelFeatures::jit, &KernelFeatures::ring_buffer, &KernelFeatures::tcx, &KernelFeatures::redirect_neigh,
          &KernelFeatures::redirect_peer, &KernelFeatures::ktime_coarse, &KernelFeatures::fib_skip_neigh,
          &KernelFeatures::adjust_room_decap, &KernelFeatures::batch_lookup, &KernelFeatures::netns_cookie,
          &KernelFeatures::ipv6, &KernelFeatures::vxlan, &KernelFeatures::geneve, &KernelFeatures::socket_lb,
          &KernelFeatures::set_retval, &KernelFeatures::socket_destroy, &KernelFeatures::xdp})
        features.*one = true;
    return features;
}

Link link(std::uint32_t index, const char* name, const char* kind = "") {
    return {.index = IfIndex(index), .name = name, .kind = kind, .mtu = 1500, .up = true};
}

Route route(const char* destination, std::uint32_t device, const char* gateway = nullptr, std::uint32_t metric = 0) {
    Route made;
    made.destination = prefix(destination);
    made.link = IfIndex(device);
    if (gateway != nullptr) made.gateway = ip(gateway);
    made.priority = metric;
    return made;
}

// A node on which nothing is wrong.
NodeView good() {
    NodeView view;
    view.features = everything();
    view.memory_available = std::uint64_t{8} << 30;
    view.capabilities = {"NET_ADMIN", "SYS_ADMIN", "NET_RAW"};
    view.cgroup = {.version2 = true, .mounted = true, .children = 3};
    view.network.links = {link(1, "lo"), link(2, "eth0")};
    view.network.links[0].loopback = true;
    view.network.addresses = {{IfIndex(1), ip("127.0.0.1"), 8, RT_SCOPE_HOST},
                              {IfIndex(2), ip("192.168.1.11"), 24, RT_SCOPE_UNIVERSE},
                              {IfIndex(2), ip("fd11::11"), 64, RT_SCOPE_UNIVERSE}};
    view.network.routes = {route("0.0.0.0/0", 2, "192.168.1.1"), route("192.168.1.0/24", 2),
                           route("::/0", 2, "fd11::1"), route("fd11::/64", 2)};
    view.nameservers = {ip("192.168.1.1")};
    view.store = StoreView{.address = "dir:/store"};
    return view;
}

// Findings that are no information, as "error tunnel-port: …".
std::vector<std::string> troubles(const Config& config, const NodeView& view) {
    std::vector<std::string> all;
    const Findings findings = check_node(config, view);
    for (const Finding& finding : findings.all()) {
        if (finding.severity == Severity::kInfo) continue;
        EXPECT_FALSE(finding.way_out.empty()) << finding.what;
        all.push_back(std::string(finding.severity == Severity::kError ? "error " : "warning ") + finding.check + ": " +
                      finding.what);
        const auto passed = findings.passed();
        EXPECT_EQ(std::ranges::find(passed, finding.check), passed.end()) << finding.check;
    }
    return all;
}

void expect_only(const Config& config, const NodeView& view, const std::string& start, const std::string& part) {
    const auto all = troubles(config, view);
    ASSERT_EQ(all.size(), 1U) << testing::PrintToString(all);
    EXPECT_TRUE(all[0].starts_with(start)) << all[0];
    EXPECT_NE(all[0].find(part), std::string::npos) << all[0];
}

bool informs(const Config& config, const NodeView& view, const std::string& part) {
    const Findings findings = check_node(config, view);
    return std::ranges::any_of(findings.all(), [&](const Finding& finding) {
        return finding.severity == Severity::kInfo && finding.what.find(part) != std::string::npos;
    });
}

TEST(Preflight, NothingIsWrongWithAGoodNode) {
    EXPECT_EQ(troubles(config(), good()), std::vector<std::string>{});
    EXPECT_EQ(troubles(config({"--kube-proxy-replacement=true", "--routing-mode=native",
                               "--ipv4-native-routing-cidr=10.0.0.0/8", "--ipv6-native-routing-cidr=fd00::/104"}),
                       good()),
              std::vector<std::string>{});
    const auto passed = check_node(config(), good()).passed();
    for (const char* check :
         {"kernel", "capabilities", "bpffs", "cgroup", "memory", "tunnel-port", "devices", "mtu", "cidr-overlap",
          "cni-config", "other-cni", "netfilter", "leftovers", "store", "clock", "cidr-policies"})
        EXPECT_NE(std::ranges::find(passed, check), passed.end()) << check;
}

TEST(Preflight, Kernel) {
    NodeView view = good();
    view.features->ring_buffer = false;
    const auto both = troubles(config(), view);  // the agent's own decision says so too
    ASSERT_EQ(both.size(), 2U) << testing::PrintToString(both);
    EXPECT_TRUE(both[0].starts_with("error kernel: kernel 6.18.44 has no BPF ring buffer"));

    view = good();
    view.features->jit = false;
    expect_only(config(), view, "warning kernel: ", "BPF JIT");

    view = good();
    view.features->vxlan = false;
    expect_only(config(), view, "error devices: ", "load the module vxlan");
    EXPECT_TRUE(
        troubles(config({"--routing-mode=native", "--enable-ipv4-masquerade=false", "--enable-ipv6-masquerade=false"}),
                 view)
            .empty());

    view = good();
    view.features->geneve = false;
    EXPECT_TRUE(troubles(config(), view).empty());
    expect_only(config({"--tunnel-protocol=geneve"}), view, "error devices: ", "load the module geneve");

    view = good();
    view.features->socket_lb = false;
    expect_only(config({"--kube-proxy-replacement=true"}), view, "error services: ", "kube-proxy-replacement=probe");

    view = good();
    view.features.reset();
    view.features_problem = "load a BPF program: Operation not permitted";
    expect_only(config(), view, "error kernel: load a BPF program", "");

    view = good();
    view.features->tcx = false;
    EXPECT_TRUE(troubles(config(), view).empty());
    EXPECT_TRUE(informs(config(), view, "tcx links"));
}

TEST(Preflight, Capabilities) {
    NodeView view = good();
    view.capabilities.erase("NET_RAW");
    expect_only(config(), view, "error capabilities: ", "CAP_NET_RAW");
    view = good();
    view.lock_limit = 64U << 10;
    EXPECT_TRUE(troubles(config(), view).empty());  // neither SYS_RESOURCE nor SYS_MODULE is missed
    view.features->release = "5.10.262";
    expect_only(config(), view, "error capabilities: ", "locked memory, the limit is 1 MiB");
    view.capabilities.insert("SYS_RESOURCE");
    EXPECT_TRUE(troubles(config(), view).empty());
}

TEST(Preflight, FileSystems) {
    NodeView view = good();
    view.bpffs = false;
    EXPECT_TRUE(troubles(config(), view).empty());
    EXPECT_TRUE(informs(config(), view, "mountPropagation"));
    view.bpffs_problem = "this kernel has none";
    expect_only(config(), view, "error bpffs: ", "/sys/fs/bpf");

    view = good();
    view.cgroup.version2 = false;
    view.cgroup.problem = "this kernel has none";
    EXPECT_TRUE(troubles(config(), view).empty());  // without services at sockets nobody needs it
    expect_only(config({"--kube-proxy-replacement=true"}), view, "error cgroup: ", "/run/cilium/cgroupv2");

    view = good();
    view.cgroup.own_namespace = true;
    EXPECT_TRUE(informs(config({"--kube-proxy-replacement=true"}), view, "the node is nested"));
    view.cgroup.children = 0;
    expect_only(config({"--kube-proxy-replacement=true"}), view, "error cgroup: ", "the agent's own container");

    view = good();
    view.cgroup.net_classifiers = true;
    EXPECT_TRUE(troubles(config({"--kube-proxy-replacement=true"}), view).empty());
    view.features->netns_cookie = false;
    expect_only(config({"--kube-proxy-replacement=true"}), view, "warning cgroup: ", "net_cls");
}

TEST(Preflight, SmallNodes) {
    NodeView view = good();
    view.page_size = 16384;
    view.address_bits = 39;
    view.systemd = false;
    EXPECT_TRUE(troubles(config(), view).empty());
    EXPECT_TRUE(informs(config(), view, "pages of 16 KiB"));
    EXPECT_TRUE(informs(config(), view, "39 bits"));
    EXPECT_TRUE(informs(config(), view, "no systemd"));
    view.memory_available = std::uint64_t{300} << 20;
    EXPECT_TRUE(troubles(config(), view).empty());
    EXPECT_TRUE(informs(config(), view, "maps grow with use"));
    view.memory_available = std::uint64_t{60} << 20;
    expect_only(config(), view, "error memory: 60 MiB", "maps take");
}

TEST(Preflight, TunnelPort) {
    NodeView view = good();
    view.tunnel_ports["vxlan7"] = {.port = 8472};
    view.udp_ports = {8472};
    expect_only(config(), view, "error tunnel-port: ", "VXLAN device vxlan7");
    EXPECT_TRUE(troubles(config({"--tunnel-port=8473"}), view).empty());
    view.tunnel_ports.clear();
    expect_only(config(), view, "error tunnel-port: ", "taken by a process");
    view.tunnel_ports["cilium_vxlan"] = {.port = 8472};
    EXPECT_TRUE(troubles(config(), view).empty());

    view = good();
    view.tunnel_ports["genev_sys_6081"] = {.port = 6081, .geneve = true};
    EXPECT_TRUE(troubles(config(), view).empty());
    const std::vector<std::string> geneve = {"--tunnel-protocol=geneve"};
    expect_only(config(geneve), view, "error tunnel-port: ", "Geneve device genev_sys_6081");
    view.tunnel_ports = {{"cilium_geneve", {.port = 6081, .geneve = true}}};
    EXPECT_TRUE(troubles(config(geneve), view).empty());
    // With native routing there is a tunnel where DSR needs one.
    std::vector<std::string> native = {"--tunnel-protocol=geneve", "--routing-mode=native",
                                       "--enable-ipv4-masquerade=false", "--enable-ipv6-masquerade=false"};
    view.tunnel_ports = {{"genev_sys_6081", {.port = 6081, .geneve = true}}};
    EXPECT_TRUE(troubles(config(native), view).empty());
    native.insert(native.end(), {"--kube-proxy-replacement=true", "--bpf-lb-mode=dsr", "--bpf-lb-dsr-dispatch=geneve"});
    expect_only(config(native), view, "error tunnel-port: ", "Geneve device genev_sys_6081");
}

TEST(Preflight, Devices) {
    NodeView view = good();
    view.network.links.push_back(link(3, "eth1"));
    view.network.addresses.push_back({IfIndex(3), ip("192.168.2.11"), 24, RT_SCOPE_UNIVERSE});
    view.network.routes.push_back(route("0.0.0.0/0", 3, "192.168.2.1"));
    expect_only(config(), view, "warning devices: ", "eth0, eth1");
    EXPECT_TRUE(troubles(config({"--devices=eth0"}), view).empty());
    view.network.routes.back().priority = 100;
    EXPECT_TRUE(troubles(config(), view).empty());

    expect_only(config({"--devices=bond0"}), good(), "error devices: ", "devices=bond0: there is no such device");
    view = good();
    view.network.links[1].up = false;
    expect_only(config(), view, "error devices: ", "eth0 is down");
    view = good();
    view.network.routes.clear();
    const auto none = troubles(config(), view);
    ASSERT_EQ(none.size(), 1U);
    EXPECT_NE(none[0].find("no native device found"), std::string::npos);
}

TEST(Preflight, Mtu) {
    expect_only(config({"--mtu=9000"}), good(), "error mtu: mtu=9000", "eth0 carries 1500");
    NodeView view = good();
    view.network.links[1].mtu = 1300;
    expect_only(config(), view, "error mtu: ", "1250 bytes");
    EXPECT_TRUE(informs(
        config({"--devices=eth0 eth1"}),
        [] {
            NodeView two = good();
            two.network.links.push_back(link(3, "eth1"));
            two.network.links.back().mtu = 9000;
            return two;
        }(),
        "different MTUs"));
}

TEST(Preflight, OverlappingAddresses) {
    NodeView view = good();
    view.network.addresses.push_back({IfIndex(2), ip("10.9.0.4"), 16, RT_SCOPE_UNIVERSE});
    view.network.routes.push_back(route("10.9.0.0/16", 2));
    expect_only(config(), view, "warning cidr-overlap: pod CIDR 10.0.0.0/8 contains", "10.9.0.4 (eth0)");
    // The configuration names another pool.
    EXPECT_TRUE(troubles(config({"--cluster-pool-ipv4-cidr=10.42.0.0/16"}), view).empty());

    view = good();
    view.network.routes.push_back(route("10.128.0.0/9", 2));
    expect_only(config(), view, "warning cidr-overlap: ", "10.128.0.0/9 dev eth0");
    view.network.routes.back() = route("10.0.0.0/7", 2, "192.168.1.7");
    expect_only(config(), view, "warning cidr-overlap: ", "10.0.0.0/7 via 192.168.1.7");
    // A route to pods of another node, as native routing needs them.
    view.network.routes.back() = route("10.0.3.0/24", 2, "192.168.1.7");
    EXPECT_TRUE(troubles(config(), view).empty());

    view = good();
    view.nameservers = {ip("10.0.0.2")};
    expect_only(config(), view, "warning cidr-overlap: ", "nameserver 10.0.0.2");

    view = good();
    view.store->services = {
        Json::parse(R"({"metadata":{"namespace":"default","name":"kubernetes"},"spec":{"clusterIP":"10.96.0.1"}})"),
        Json::parse(R"({"metadata":{"namespace":"default","name":"none"},"spec":{"clusterIP":"None"}})")};
    expect_only(config(), view, "warning cidr-overlap: ", "Service default/kubernetes");
    // What nodes have already is what counts, not the default.
    view.store->cilium_nodes = {Json::parse(R"({"spec":{"ipam":{"podCIDRs":["172.20.1.0/24"]}}})")};
    EXPECT_TRUE(troubles(config(), view).empty());

    view = good();
    view.store->nodes = {Json::parse(R"({"spec":{"podCIDRs":["192.168.1.0/25"]}})")};
    EXPECT_TRUE(troubles(config(), view).empty());
    const auto found = troubles(config({"--ipam=kubernetes"}), view);
    EXPECT_EQ(found.size(), 2U) << testing::PrintToString(found);  // the node's address and its nameserver
}

TEST(Preflight, TwoCniConfigurations) {
    NodeView view = good();
    view.cni_files = {{"05-cilium.conflist", true, {"cilium-cni"}},
                      {"10-flannel.conflist", true, {"flannel", "portmap"}}};
    expect_only(config(), view, "warning cni-config: ", "10-flannel.conflist (flannel, portmap)");
    expect_only(config({"--cni-exclusive=false"}), view,
                "warning cni-config: ", "the first by name, 05-cilium.conflist");
    view.cni_files = {{"00-multus.conf", true, {"multus"}}};
    expect_only(config({"--cni-exclusive=false"}), view, "error cni-config: ", "the first by name, 00-multus.conf");
    view.cni_files = {{"05-cilium.conflist", true, {"cilium-cni"}}, {"99-broken.conf", false, {}}};
    expect_only(config(), view, "warning cni-config: 99-broken.conf", "not JSON");
}

TEST(Preflight, OtherNetworks) {
    NodeView view = good();
    view.network.links.push_back(link(4, "cali12345"));
    expect_only(config(), view, "warning other-cni: devices of Calico", "cali12345");
    view = good();
    view.chains["iptables nat"] = {"POSTROUTING", "FLANNEL-POSTRTG"};
    expect_only(config(), view, "warning other-cni: chains of Flannel", "iptables nat");
    view.chains["iptables nat"] = {"KUBE-SERVICES", "KUBE-MARK-MASQ"};
    EXPECT_TRUE(troubles(config(), view).empty());  // a kube-proxy is welcome
    expect_only(config({"--kube-proxy-replacement=true"}), view, "warning kube-proxy: ", "KUBE-SERVICES");
    view.chains["iptables nat"] = {"KUBE-KUBELET-CANARY"};
    EXPECT_TRUE(troubles(config({"--kube-proxy-replacement=true"}), view).empty());
    view = good();
    view.network.links.push_back(link(4, "kube-ipvs0"));
    expect_only(config({"--kube-proxy-replacement=true"}), view, "warning kube-proxy: ", "kube-ipvs0");
}

TEST(Preflight, Netfilter) {
    NodeView view = good();
    view.iptables_problem = "iptables: no such program in PATH";
    expect_only(config(), view, "error netfilter: ", "no such program");
    EXPECT_TRUE(troubles(config({"--enable-bpf-masquerade=true"}), view).empty());
}

TEST(Preflight, Leftovers) {
    NodeView view = good();
    view.bpf_owner_problem = "BPF root /sys/fs/bpf belongs to other/node1";
    expect_only(config(), view, "error leftovers: ", "other/node1");
    view = good();
    view.foreign_maps = {"/sys/fs/bpf/tc/globals/cilium_ct4_global", "/sys/fs/bpf/tc/globals/cilium_policy_1"};
    expect_only(config(), view, "warning leftovers: 2 pinned maps", "cilium_ct4_global");
    view = good();
    view.tc_filters = {"eth0 ingress bpf_netdev_eth0.o:[from-netdev]"};
    expect_only(config(), view, "warning leftovers: ", "bpf_netdev_eth0");
    view = good();
    view.network.links.push_back(link(4, "cilium_wg0"));
    expect_only(config(), view, "warning leftovers: ", "WireGuard");
    view = good();
    view.chains["iptables filter"] = {"CILIUM_FORWARD", "CILIUM_INPUT"};
    view.chains["iptables nat"] = {"CILIUM_POST_nat"};
    expect_only(config(), view, "warning leftovers: chains of Cilium in iptables filter",
                "CILIUM_FORWARD, CILIUM_INPUT");
    view = good();
    view.map_differences = {{"cilium_lxc", "value size 48, wanted 64"}};
    EXPECT_TRUE(troubles(config(), view).empty());
    EXPECT_TRUE(informs(config(), view, "value size 48"));
}

TEST(Preflight, Store) {
    NodeView view = good();
    view.store->problem = "No such file or directory";
    expect_only(config(), view, "error store: object store dir:/store", "No such file");
    view = good();
    view.store->slow = true;
    expect_only(config(), view, "warning store: object store dir:/store answers, but slowly", "not looked at");
    view = good();
    view.store->clock_ahead_s = -3600;
    expect_only(config(), view, "error clock: ", "3600 s behind");
    view.store->clock_ahead_s = 2;
    EXPECT_TRUE(troubles(config(), view).empty());
}

TEST(Preflight, StaleObjects) {
    NodeView view = good();
    const auto named = [](const std::string& name, const std::string& cidr) {
        return Json{{"metadata", {{"name", name}}}, {"spec", {{"ipam", {{"podCIDRs", {cidr}}}}}}};
    };
    view.store->cilium_nodes = {named("node1", "10.0.1.0/24"), named("gone", "10.0.2.0/24")};
    EXPECT_TRUE(troubles(config(), view).empty());  // a store without Nodes
    view.store->nodes = {named("node1", ""), named("node2", "")};
    expect_only(config(), view, "warning stale-objects: CiliumNode gone has no Node", "have routes to it");
    view.store->cilium_nodes = {named("node1", "10.0.1.0/24"), named("node2", "10.0.1.0/24")};
    expect_only(config(), view, "error stale-objects: pod CIDR 10.0.1.0/24", "CiliumNode node1's and node2's");
}

TEST(Preflight, CidrPolicies) {
    NodeView view = good();
    view.store->cilium_nodes = {Json::parse(
        R"({"spec":{"ipam":{"podCIDRs":["10.0.1.0/24"]},"addresses":[{"ip":"192.168.1.12","type":"InternalIP"}]}})")};
    const auto policy = [](const char* spec) {
        return Json::parse(R"({"kind":"CiliumNetworkPolicy","metadata":{"namespace":"shop","name":"p"},"spec":)" +
                           std::string(spec) + "}");
    };
    view.store->policies = {policy(
        R"({"egress":[{"toCIDR":["203.0.113.0/24"]},{"toCIDRSet":[{"cidr":"0.0.0.0/0","except":["10.0.1.0/24"]}]}]})")};
    EXPECT_TRUE(troubles(config(), view).empty());
    view.store->policies = {policy(R"({"egress":[{"toCIDR":["10.0.1.7/32"]}]})")};
    expect_only(config(), view, "warning cidr-policies: CiliumNetworkPolicy shop/p names 10.0.1.7/32",
                "inside the pod CIDRs");
    view.store->policies = {policy(R"({"ingress":[{"from":[{"ipBlock":{"cidr":"192.168.0.0/16"}}]}]})")};
    expect_only(config(), view, "warning cidr-policies: ", "where nodes are");
}

}  // namespace
}  // namespace axo::preflight
