#include "datapath_fixture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "kernel/bpf_blobs.h"
#include "kernel/features.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"

AXO_BPF_BLOB(pod)
AXO_BPF_BLOB(netdev)
AXO_BPF_BLOB(overlay)
AXO_BPF_BLOB(host)

namespace axo::test {
namespace {

template <class T>
T must(Result<T> result) {
    if (!result) {
        ADD_FAILURE() << result.error().to_string();
        std::abort();
    }
    return std::move(*result);
}

void must(Status status) {
    if (!status) {
        ADD_FAILURE() << status.error().to_string();
        std::abort();
    }
}

std::span<const std::byte> blob(const std::string& name) {
    if (name == "pod") return bpf_blob_pod();
    if (name == "netdev") return bpf_blob_netdev();
    if (name == "overlay") return bpf_blob_overlay();
    return bpf_blob_host();
}

axo_addr to_addr(const IpAddress& address) {
    axo_addr out{};
    std::memcpy(&out, address.bytes().data(), address.bytes().size());
    return out;
}

std::uint8_t family_of(const IpAddress& address) {
    return address.is_v4() ? AXO_FAMILY_IPV4 : AXO_FAMILY_IPV6;
}

axo_mac to_mac(const MacAddress& mac) {
    axo_mac out{};
    std::memcpy(out.addr, mac.bytes().data(), 6);
    return out;
}

struct Keys {
    flow_key4 v4{};
    flow_key6 v6{};
    bool is_v6 = false;
};

Keys make_keys(const char* a, const char* b, std::uint16_t port_a, std::uint16_t port_b, std::uint8_t proto) {
    const IpAddress left = *IpAddress::parse(a);
    const IpAddress right = *IpAddress::parse(b);
    const bool swap = left == right ? port_a > port_b : left > right;
    const IpAddress& low = swap ? right : left;
    const IpAddress& high = swap ? left : right;
    const std::uint16_t low_port = PacketBuilder::swap16(swap ? port_b : port_a);
    const std::uint16_t high_port = PacketBuilder::swap16(swap ? port_a : port_b);
    Keys keys;
    keys.is_v6 = left.is_v6();
    keys.v4.port[0] = keys.v6.port[0] = low_port;
    keys.v4.port[1] = keys.v6.port[1] = high_port;
    keys.v4.proto = keys.v6.proto = proto;
    if (keys.is_v6) {
        std::memcpy(keys.v6.addr[0], low.bytes().data(), 16);
        std::memcpy(keys.v6.addr[1], high.bytes().data(), 16);
    } else {
        std::memcpy(&keys.v4.addr[0], low.bytes().data(), 4);
        std::memcpy(&keys.v4.addr[1], high.bytes().data(), 4);
    }
    return keys;
}

}  // namespace

std::uint32_t ifindex(const std::string& device) {
    return ::if_nametoindex(device.c_str());
}

namespace {

const KernelFeatures& features() {
    static const KernelFeatures probed = must(probe_kernel_features());
    return probed;
}

}  // namespace

bool can_push_outer_headers() {
    int major = 0;
    int minor = 0;
    std::sscanf(features().release.c_str(), "%d.%d", &major, &minor);
    return major * 100 + minor >= 514;
}

bool can_pull_outer_headers(bool inner_v6) {
    return !inner_v6 || features().adjust_room_decap;
}

void enter_test_network() {
    static bool done = false;
    if (done) return;
    done = true;
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    auto netlink = must(Netlink::open());
    auto pair = [&](const std::string& name, const std::string& peer) {
        must(netlink.add_veth({.name = name, .peer_name = peer, .mtu = 1500}));
        must(netlink.set_up(IfIndex(ifindex(name)), true));
        must(netlink.set_up(IfIndex(ifindex(peer)), true));
    };
    must(netlink.set_up(IfIndex(ifindex("lo")), true));
    must(write_sysctl("net.ipv4.ip_forward", "1"));
    must(write_sysctl("net.ipv6.conf.all.forwarding", "1"));
    pair("eth0", "uplink_far");
    pair("lxc1", "pod1");
    pair("lxc2", "pod2");
    pair("cilium_host", "cilium_net");
    must(netlink.add_vxlan({.name = "cilium_vxlan"}));
    must(netlink.set_up(IfIndex(ifindex("cilium_vxlan")), true));
    const IfIndex uplink(ifindex("eth0"));
    must(netlink.add_address(uplink, *Prefix::parse("172.18.0.2/24"), *IpAddress::parse("172.18.0.2")));
    must(netlink.add_address(uplink, *Prefix::parse("fd00:18::2/64"), *IpAddress::parse("fd00:18::2")));
    for (const char* gateway : {"172.18.0.1", "fd00:18::1"}) {
        const IpAddress address = *IpAddress::parse(gateway);
        Route route;
        route.destination = address.is_v4() ? *Prefix::parse("0.0.0.0/0") : *Prefix::parse("::/0");
        route.gateway = address;
        route.link = uplink;
        must(netlink.put_route(route));
    }
    for (const char* neighbour : {"172.18.0.1", "172.18.0.3", "fd00:18::1", "fd00:18::3"}) {
        must(netlink.put_neighbour(
            {uplink, *IpAddress::parse(neighbour), *MacAddress::parse("02:00:00:00:00:99"), true}));
    }
    for (const char* cidr : {"10.0.1.0/24", "fd00:10:1::/112"}) {
        Route route;
        route.destination = *Prefix::parse(cidr);
        route.link = IfIndex(ifindex("cilium_host"));
        must(netlink.put_route(route));
    }
}

MacAddress Datapath::pod_mac(int pod) {
    return MacAddress({0x02, 0, 0, 0, 1, static_cast<std::uint8_t>(pod)});
}
MacAddress Datapath::node_mac(int pod) {
    return MacAddress({0x02, 0, 0, 0, 2, static_cast<std::uint8_t>(pod)});
}

namespace {

BpfObject load(const std::string& name, const Options& options) {
    enter_test_network();
    node_config node{};
    node.ipv4 = node.ipv6 = 1;
    node.legacy_routing = options.legacy;
    node.extended_protocols = options.extended_protocols;
    node.host_firewall = options.host_firewall;
    node.has_ktime_coarse = features().ktime_coarse;
    node.has_redirect_peer = features().redirect_peer;
    node.has_fib_skip_neigh = features().fib_skip_neigh;
    node.conntrack_accounting = 1;
    node.host_ifindex = ifindex("cilium_host");
    node.net_ifindex = ifindex("cilium_net");
    node.mtu = 1500;
    node.router_ip4 = IpAddress::parse("10.0.1.254")->v4_network_order();
    std::memcpy(node.router_ip6, IpAddress::parse("fd00:10:1::fe")->bytes().data(), 16);
    tunnel_config tunnel{};
    if (options.tunnel) {
        tunnel.protocol = options.geneve ? TUNNEL_GENEVE : TUNNEL_VXLAN;
        tunnel.fast = options.tunnel_fast;
        tunnel.has_decap_flags = features().adjust_room_decap;
        tunnel.port = PacketBuilder::swap16(options.geneve ? 6081 : 8472);
        tunnel.underlay_v6 = options.underlay_v6;
        tunnel.overhead = options.underlay_v6 ? 70 : 50;
        tunnel.ifindex = ifindex("cilium_vxlan");
        tunnel.node_ip4 = IpAddress::parse("172.18.0.2")->v4_network_order();
        std::memcpy(tunnel.node_ip6, IpAddress::parse("fd00:18::2")->bytes().data(), 16);
    }
    trace_config trace{};
    trace.drop = trace.verdict = 1;
    trace.trace = options.trace;
    trace.dns = options.dns;
    trace.aggregation = static_cast<std::uint8_t>(options.aggregation);
    trace.report_tcp_flags = 7;
    trace.report_interval = options.report_interval;
    trace.ring_wakeup_bytes = 1U << 19;
    BpfLoadSpec spec;
    spec.name = name;
    spec.object = blob(name);
    spec.config = {BpfConfigBlob::of("node_cfg", node), BpfConfigBlob::of("tunnel_cfg", tunnel),
                   BpfConfigBlob::of("trace_cfg", trace), BpfConfigBlob::of("lb_cfg", options.lb)};
    // Making and freeing maps of their full size takes longer than most tests.
    for (const char* name : {"cilium_lb4_services_v2", "cilium_lb6_services_v2", "cilium_lb_affinity",
                             "cilium_lb_affinity_match", "cilium_lb_backends"}) {
        spec.max_entries[name] = 1024;
    }
    if (options.flow_map_max != 0) {
        spec.max_entries["cilium_flows4"] = spec.max_entries["cilium_flows6"] = options.flow_map_max;
    }
    return must(BpfObject::load(spec));
}

}  // namespace

Datapath::Datapath(const std::string& object, const Options& options) : object_(load(object, options)) {
    generations_.emplace(must(Generations::use(map("cilium_generations"))));
    slabs_.emplace(
        must(PolicySlabs::use(must(RawBpfMap::from_fd(Fd(::dup(map("cilium_policy_slabs"))), "cilium_policy_slabs")))));
    generations_->set_host_endpoint(kHostEndpoint);
    add_endpoint(1);
    add_endpoint(2);
    for (const int pod : {1, 2}) generations_->set_policy(endpoint_id(pod), PolicySlabs::open_policy().reference(0));
    for (const char* address : {"10.0.1.254", "fd00:10:1::fe", "172.18.0.2", "fd00:18::2"}) add_host(address);
    const char* node = options.tunnel ? "172.18.0.3" : nullptr;
    const std::uint8_t flags = options.native ? IPCACHE_F_SKIP_TUNNEL : 0;
    add_ipcache("10.0.2.1/32", 3001, node, flags);
    add_ipcache("fd00:10:2::1/128", 3001, node, flags);
    add_ipcache("172.18.0.3/32", 6, node, flags);
}

int Datapath::map(const std::string& name) {
    return must(object_.map_fd(name));
}

int Datapath::program(const std::string& name) {
    return must(object_.program_fd(name));
}

void Datapath::add_endpoint(int pod) {
    const std::string device = "lxc" + std::to_string(pod);
    const auto id = static_cast<std::uint16_t>(100 + pod);
    const auto identity = static_cast<std::uint32_t>(2000 + pod);
    const std::string v4 = "10.0.1." + std::to_string(pod);
    const std::string v6 = "fd00:10:1::" + std::to_string(pod);
    for (const std::string& text : {v4, v6}) {
        const IpAddress address = *IpAddress::parse(text);
        endpoint_key key{};
        key.addr = to_addr(address);
        key.family = family_of(address);
        endpoint_info info{};
        info.ifindex = ifindex(device);
        info.lxc_id = id;
        info.sec_id = identity;
        info.mac = to_mac(pod_mac(pod));
        info.node_mac = to_mac(node_mac(pod));
        ASSERT_EQ(::bpf_map_update_elem(map("cilium_lxc"), &key, &info, BPF_ANY), 0);
    }
    endpoint_device dev{};
    dev.ip4 = IpAddress::parse(v4)->v4_network_order();
    std::memcpy(dev.ip6, IpAddress::parse(v6)->bytes().data(), 16);
    dev.sec_id = identity;
    dev.lxc_id = id;
    dev.mac = to_mac(pod_mac(pod));
    dev.node_mac = to_mac(node_mac(pod));
    const std::uint32_t index = ifindex(device);
    // Only the pods' object reads devices.
    if (auto fd = object_.map_fd("cilium_lxc_dev")) {
        ASSERT_EQ(::bpf_map_update_elem(*fd, &index, &dev, BPF_ANY), 0);
    }
}

void Datapath::add_host(const char* text) {
    const IpAddress address = *IpAddress::parse(text);
    endpoint_key key{};
    key.addr = to_addr(address);
    key.family = family_of(address);
    endpoint_info info{};
    info.flags = ENDPOINT_F_HOST;
    ASSERT_EQ(::bpf_map_update_elem(map("cilium_lxc"), &key, &info, BPF_ANY), 0);
}

void Datapath::remove_endpoint(const char* text) {
    const IpAddress address = *IpAddress::parse(text);
    endpoint_key key{};
    key.addr = to_addr(address);
    key.family = family_of(address);
    ASSERT_EQ(::bpf_map_delete_elem(map("cilium_lxc"), &key), 0);
}

void Datapath::add_ipcache(const char* text, std::uint32_t identity, const char* tunnel_endpoint, std::uint8_t flags) {
    const Prefix prefix = *Prefix::parse(text);
    ipcache_key key{};
    key.prefixlen = IPCACHE_STATIC_PREFIX + static_cast<std::uint32_t>(prefix.length());
    key.family = family_of(prefix.address());
    key.addr = to_addr(prefix.address());
    remote_endpoint_info info{};
    info.sec_identity = identity;
    if (tunnel_endpoint != nullptr) {
        info.tunnel_endpoint = to_addr(*IpAddress::parse(tunnel_endpoint));
        info.flags = static_cast<std::uint8_t>(IPCACHE_F_HAS_TUNNEL_EP | flags);
    }
    ASSERT_EQ(::bpf_map_update_elem(map("cilium_ipcache_v2"), &key, &info, BPF_ANY), 0);
}

TestRun Datapath::run(const std::string& program, const Bytes& packet, const std::string& device, std::uint32_t repeat,
                      std::uint32_t mark) {
    TestRunContext context;
    context.ifindex = ifindex(device);
    context.mark = mark;
    return must(run_program(must(object_.program_fd(program)), packet, context, repeat));
}

std::optional<flow> Datapath::find_flow(const char* a, const char* b, std::uint16_t port_a, std::uint16_t port_b,
                                        std::uint8_t proto) {
    const Keys keys = make_keys(a, b, port_a, port_b, proto);
    flow value{};
    const int failed = keys.is_v6 ? ::bpf_map_lookup_elem(map("cilium_flows6"), &keys.v6, &value)
                                  : ::bpf_map_lookup_elem(map("cilium_flows4"), &keys.v4, &value);
    if (failed != 0) return std::nullopt;
    return value;
}

void Datapath::put_flow_update(const char* a, const char* b, std::uint16_t port_a, std::uint16_t port_b,
                               std::uint8_t proto, const flow& value) {
    const Keys keys = make_keys(a, b, port_a, port_b, proto);
    ASSERT_EQ(keys.is_v6 ? ::bpf_map_update_elem(map("cilium_flows6"), &keys.v6, &value, BPF_EXIST)
                         : ::bpf_map_update_elem(map("cilium_flows4"), &keys.v4, &value, BPF_EXIST),
              0);
}

void Datapath::remove_flow(const char* a, const char* b, std::uint16_t port_a, std::uint16_t port_b,
                           std::uint8_t proto) {
    const Keys keys = make_keys(a, b, port_a, port_b, proto);
    ASSERT_EQ(keys.is_v6 ? ::bpf_map_delete_elem(map("cilium_flows6"), &keys.v6)
                         : ::bpf_map_delete_elem(map("cilium_flows4"), &keys.v4),
              0);
}

std::size_t Datapath::flow_count() {
    std::size_t count = 0;
    for (const char* name : {"cilium_flows4", "cilium_flows6"}) {
        const int fd = map(name);
        std::array<std::byte, sizeof(flow_key6)> key{}, next{};
        const void* previous = nullptr;
        while (::bpf_map_get_next_key(fd, previous, next.data()) == 0) {
            ++count;
            key = next;
            previous = key.data();
        }
    }
    return count;
}

void Datapath::copy_flows_to(Datapath& other) {
    for (const char* name : {"cilium_flows4", "cilium_flows6"}) {
        std::array<std::byte, sizeof(flow_key6)> key{}, next{};
        const void* previous = nullptr;
        while (::bpf_map_get_next_key(map(name), previous, next.data()) == 0) {
            key = next;
            previous = key.data();
            flow value{};
            ASSERT_EQ(::bpf_map_lookup_elem(map(name), key.data(), &value), 0);
            ASSERT_EQ(::bpf_map_update_elem(other.map(name), key.data(), &value, BPF_ANY), 0);
        }
    }
}

void Datapath::set_policy(int pod, std::span<const policy_row> image, std::uint32_t flags) {
    generations_->set_policy(endpoint_id(pod), must(slabs_->place(image)).reference(flags));
}

void Datapath::set_host_policy(std::span<const policy_row> image, std::uint32_t flags) {
    generations_->set_policy(kHostEndpoint, must(slabs_->place(image)).reference(flags));
}

std::uint64_t Datapath::counted(std::uint8_t reason, std::uint8_t direction) {
    const auto cpus = static_cast<std::size_t>(::libbpf_num_possible_cpus());
    std::vector<metrics_value> values(cpus);
    const std::uint32_t index = metrics_index(reason, direction);
    EXPECT_EQ(::bpf_map_lookup_elem(map("cilium_metrics"), &index, values.data()), 0);
    std::uint64_t sum = 0;
    for (const metrics_value& value : values) sum += value.count;
    return sum;
}

std::uint64_t Datapath::lost_events(std::uint32_t slot) {
    std::vector<std::uint64_t> values(static_cast<std::size_t>(::libbpf_num_possible_cpus()));
    EXPECT_EQ(::bpf_map_lookup_elem(map("cilium_events_lost"), &slot, values.data()), 0);
    return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

void Datapath::read_ring() {
    auto* ring = ::ring_buffer__new(
        map("cilium_events"),
        [](void* context, void* data, std::size_t size) {
            auto* self = static_cast<Datapath*>(context);
            flow_event event{};
            std::memcpy(&event, data, sizeof(event));
            if (event.type == EVENT_DNS) {
                self->dns_events_.push_back(
                    {event, std::string(static_cast<char*>(data) + sizeof(event), size - sizeof(event))});
            } else {
                EXPECT_EQ(size, sizeof(flow_event));
                self->events_.push_back(event);
            }
            return 0;
        },
        this, nullptr);
    ::ring_buffer__consume(ring);
    ::ring_buffer__free(ring);
}

std::vector<flow_event> Datapath::events() {
    read_ring();
    return std::exchange(events_, {});
}

std::vector<Datapath::DnsEvent> Datapath::dns_events() {
    read_ring();
    return std::exchange(dns_events_, {});
}

}  // namespace axo::test
