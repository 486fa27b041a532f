#include "datapath/decide.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace axo {
namespace {

constexpr std::uint32_t kSmallestMtu = 1280;  // IPv6 needs it

bool kernel_at_least(const std::string& release, int major, int minor) {
    int found_major = 0;
    int found_minor = 0;
    const char* end = release.data() + release.size();
    const auto first = std::from_chars(release.data(), end, found_major);
    if (first.ec != std::errc{} || first.ptr == end) return false;
    std::from_chars(first.ptr + 1, end, found_minor);
    return found_major != major ? found_major > major : found_minor >= minor;
}

std::string join(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
    return text;
}

class Decider {
public:
    Decider(const DatapathSettings& settings, const KernelFeatures& features, const NodeNetwork& network,
            const DatapathDecisions* before)
        : settings_(settings), features_(features), network_(network), before_(before) {}

    Result<DatapathDecisions> run() {
        TRY(check());
        decide_attach_mode();
        decide_host_routing();
        TRY(decide_devices());
        TRY(decide_node_addresses());
        decide_tunnel();
        TRY(decide_mtu());
        return std::move(out_);
    }

private:
    void reason(std::string what, std::string choice, std::string why) {
        out_.reasons.push_back({std::move(what), std::move(choice), std::move(why)});
    }

    [[nodiscard]] bool tunnel() const { return settings_.routing == RoutingMode::kTunnel; }

    Status check() const {
        if (!settings_.ipv4 && !settings_.ipv6) {
            return fail(Code::kInvalidArgument,
                        "enable-ipv4 and enable-ipv6 are both false: at least one must be true");
        }
        if (settings_.ipv6 && !features_.ipv6) {
            return fail(
                Code::kFailedPrecondition,
                "enable-ipv6=true, but this node has no IPv6: net.ipv6.conf.all.disable_ipv6=1, ipv6.disable=1 on the "
                "kernel's command line, or a kernel without it; turn IPv6 on, or set enable-ipv6=false");
        }
        if (!features_.ring_buffer) {
            return fail(
                Code::kFailedPrecondition,
                "kernel " + features_.release + " has no BPF ring buffer, which events need: run kernel 5.10 or newer");
        }
        TRY(check_tunnel());
        if (settings_.ipv4 && !settings_.router_ipv4.is_v4()) {
            return fail(Code::kInvalidArgument, "enable-ipv4=true, but the node has no IPv4 router address yet");
        }
        if (settings_.ipv6 && !settings_.router_ipv6.is_v6()) {
            return fail(Code::kInvalidArgument, "enable-ipv6=true, but the node has no IPv6 router address yet");
        }
        return {};
    }

    Status check_tunnel() const {
        if (!settings_.tunnel_needed()) return {};
        if (settings_.tunnel_protocol == TunnelProtocol::kVxlan) {
            if (features_.vxlan) return {};
            return fail(Code::kFailedPrecondition,
                        "routing-mode=tunnel, but this kernel cannot make VXLAN devices: load the module vxlan, or use "
                        "routing-mode=native");
        }
        if (features_.geneve) return {};
        const std::string module = "this kernel cannot make Geneve devices: load the module geneve (CONFIG_GENEVE)";
        if (!tunnel()) {
            return fail(Code::kFailedPrecondition, "bpf-lb-dsr-dispatch=geneve, but " + module +
                                                       ", or use bpf-lb-dsr-dispatch=opt or bpf-lb-mode=snat");
        }
        return fail(Code::kFailedPrecondition,
                    "tunnel-protocol=geneve, but " + module + ", or use tunnel-protocol=vxlan on all nodes" +
                        (settings_.services.dsr_by_geneve() ? " with bpf-lb-mode=snat" : ""));
    }

    void decide_attach_mode() {
        if (!settings_.enable_tcx) {
            out_.attach_mode = AttachMode::kLegacyTc;
            reason("Attach mode", "Legacy TC", "enable-tcx=false");
        } else if (!features_.tcx) {
            out_.attach_mode = AttachMode::kLegacyTc;
            reason("Attach mode", "Legacy TC", "kernel " + features_.release + " has no tcx links (6.6)");
        } else {
            out_.attach_mode = AttachMode::kTcx;
            reason("Attach mode", "TCX", "the kernel has tcx links");
        }
    }

    void decide_host_routing() {
        std::string why;
        if (settings_.legacy_host_routing) {
            why = "enable-host-legacy-routing=true";
        } else if (settings_.services.netfilter_masquerade) {
            why = "netfilter masquerades: what leaves the cluster has to pass the kernel's stack";
        } else if (!features_.redirect_neigh || !features_.redirect_peer) {
            why = "kernel " + features_.release + " has no bpf_redirect_neigh and bpf_redirect_peer (5.10)";
        }
        out_.legacy_host_routing = !why.empty();
        reason("Host routing", why.empty() ? "BPF" : "Legacy",
               why.empty() ? "the kernel has bpf_redirect_neigh and bpf_redirect_peer" : why);
    }

    [[nodiscard]] const Link* link(IfIndex index) const {
        const auto found = std::ranges::find(network_.links, index, &Link::index);
        return found == network_.links.end() ? nullptr : &*found;
    }

    [[nodiscard]] NativeDevice native(const Link& link) const {
        NativeDevice device{.name = link.name, .link = link.index, .mtu = link.mtu, .kind = link.kind};
        // What stands for itself alone is often a service's, and comes and goes with it.
        for (const bool alone : {false, true}) {
            for (const InterfaceAddress& address : network_.addresses) {
                if (address.link == link.index && usable(address) &&
                    alone == (address.prefix_length == address.address.bits()))
                    device.addresses.push_back(address.address);
            }
        }
        return device;
    }

    static bool usable(const InterfaceAddress& address) {
        return address.scope == RT_SCOPE_UNIVERSE && !address.address.is_link_local() &&
               !address.address.is_loopback() && !address.deprecated;
    }

    // Never an uplink, whatever addresses they have: our own devices and those other container software makes.
    static bool excluded_name(const std::string& name) {
        for (const char* prefix : {"cilium_", "lxc", "docker", "cni", "virbr"}) {
            if (name.starts_with(prefix)) return true;
        }
        return name == "lo";
    }

    [[nodiscard]] bool bridge_port(const Link& candidate) const {
        const Link* master = candidate.master.value == 0 ? nullptr : link(candidate.master);
        return master != nullptr && (master->kind == "bridge" || master->kind == "openvswitch" ||
                                     master->kind == "bond" || master->kind == "team");
    }

    Status decide_devices() {
        if (!settings_.devices.empty()) return named_devices();
        std::set<IfIndex> with_default_route;
        for (const Route& route : network_.routes) {
            if (route.destination.length() == 0 && route.table == RT_TABLE_MAIN && route.type == RTN_UNICAST) {
                with_default_route.insert(route.link);
            }
        }
        std::vector<std::string> considered;
        for (const Link& candidate : network_.links) {
            if (candidate.loopback || excluded_name(candidate.name) || bridge_port(candidate)) continue;
            NativeDevice device = native(candidate);
            const bool has_node_ip = std::ranges::any_of(device.addresses, [this](const IpAddress& address) {
                return address == settings_.node_ipv4 || address == settings_.node_ipv6;
            });
            const bool has_default = with_default_route.contains(candidate.index);
            if (!device.addresses.empty() && (has_default || has_node_ip)) {
                reason("Device " + device.name, "native",
                       has_default && has_node_ip
                           ? "carries the default route and the node's address"
                           : (has_default ? "carries the default route" : "carries the node's address"));
                out_.devices.push_back(std::move(device));
            } else {
                considered.push_back(candidate.name +
                                     (device.addresses.empty() ? " (no global address)" : " (no default route)"));
            }
        }
        if (!out_.devices.empty()) return {};
        return fail(Code::kFailedPrecondition,
                    "no native device found: none has a global address and the default route or the node's address; "
                    "looked at: " +
                        (considered.empty() ? "none" : join(considered)) + "; name it with devices=<name>");
    }

    Status named_devices() {
        std::vector<std::string> present;
        for (const Link& candidate : network_.links) {
            if (!candidate.loopback) present.push_back(candidate.name);
        }
        for (const std::string& name : settings_.devices) {
            const bool wildcard = name.ends_with('+');
            const std::string stem = wildcard ? name.substr(0, name.size() - 1) : name;
            bool found = false;
            for (const Link& candidate : network_.links) {
                if (wildcard ? !candidate.name.starts_with(stem) : candidate.name != name) continue;
                if (candidate.loopback || candidate.name.starts_with("cilium_") || candidate.name.starts_with("lxc"))
                    continue;
                found = true;
                const auto same = [&candidate](const NativeDevice& device) { return device.link == candidate.index; };
                if (std::ranges::any_of(out_.devices, same)) continue;
                reason("Device " + candidate.name, "native", "devices=" + name);
                out_.devices.push_back(native(candidate));
            }
            if (!found) {
                return fail(Code::kNotFound, "devices=" + name + ": " +
                                                 (wildcard ? "no device has such a name" : "there is no such device") +
                                                 "; there are: " + (present.empty() ? "none" : join(present)));
            }
        }
        return {};
    }

    // The first address of the family on the devices, the one with the default route first.
    [[nodiscard]] IpAddress first_address(Family family) const {
        const NativeDevice* best = nullptr;
        std::uint32_t best_priority = 0;
        for (const NativeDevice& device : out_.devices) {
            if (std::ranges::none_of(device.addresses, [family](const IpAddress& ip) { return ip.family() == family; }))
                continue;
            std::uint32_t priority = UINT32_MAX;
            for (const Route& route : network_.routes) {
                if (route.destination.length() == 0 && route.destination.family() == family &&
                    route.link == device.link && route.table == RT_TABLE_MAIN) {
                    priority = std::min(priority, route.priority);
                }
            }
            if (best == nullptr || priority < best_priority) {
                best = &device;
                best_priority = priority;
            }
        }
        if (best == nullptr) return {};
        return *std::ranges::find_if(best->addresses, [family](const IpAddress& ip) { return ip.family() == family; });
    }

    [[nodiscard]] bool is_native(const IpAddress& address) const {
        return std::ranges::any_of(out_.devices, [&address](const NativeDevice& device) {
            return std::ranges::find(device.addresses, address) != device.addresses.end();
        });
    }

    Status decide_node_address(Family family, const IpAddress& given, const IpAddress& before, IpAddress& chosen) {
        const std::string what = family == Family::kIpv6 ? "Node IPv6" : "Node IPv4";
        if (given) {
            const bool present = std::ranges::any_of(
                network_.addresses, [&given](const InterfaceAddress& address) { return address.address == given; });
            if (!present) {
                return fail(Code::kFailedPrecondition, (family == Family::kIpv6 ? "ipv6-node=" : "ipv4-node=") +
                                                           given.to_string() +
                                                           ": no device of this node has this address");
            }
            chosen = given;
            reason(what, given.to_string(), "set");
        } else if (before && is_native(before)) {
            chosen = before;
            reason(what, chosen.to_string(), "what it was before is still an address of the native devices");
        } else {
            chosen = first_address(family);
            if (chosen) reason(what, chosen.to_string(), "first address of the native devices");
        }
        return {};
    }

    [[nodiscard]] std::string device_names() const {
        std::vector<std::string> names;
        for (const NativeDevice& device : out_.devices) names.push_back(device.name);
        return join(names);
    }

    [[nodiscard]] Status no_node_address(const std::string& family) const {
        return fail(Code::kFailedPrecondition, "routing-mode=native with " + family + " on, but " + device_names() +
                                                   " has no global " + family + " address");
    }

    Status decide_node_addresses() {
        const DatapathDecisions none;
        const DatapathDecisions& before = before_ != nullptr ? *before_ : none;
        TRY(decide_node_address(Family::kIpv4, settings_.node_ipv4, before.node_ipv4, out_.node_ipv4));
        TRY(decide_node_address(Family::kIpv6, settings_.node_ipv6, before.node_ipv6, out_.node_ipv6));
        if (settings_.tunnel_needed()) {
            out_.underlay_ipv6 = settings_.underlay_ipv6 || !out_.node_ipv4;
            if (out_.underlay_ipv6 ? !out_.node_ipv6 : !out_.node_ipv4) {
                return fail(Code::kFailedPrecondition, "the tunnel needs an address of this node, but " +
                                                           device_names() + " has no global " +
                                                           (settings_.underlay_ipv6 ? "IPv6 " : "") + "address");
            }
        }
        if (tunnel()) return {};
        if (settings_.ipv4 && !out_.node_ipv4) return no_node_address("IPv4");
        if (settings_.ipv6 && !out_.node_ipv6) return no_node_address("IPv6");
        return {};
    }

    void decide_tunnel() {
        const std::string protocol = to_string(settings_.tunnel_protocol);
        if (tunnel()) {
            reason("Routing", "Tunnel [" + protocol + "]", "routing-mode=tunnel");
        } else {
            reason("Routing", "Native", "routing-mode=native");
            if (!settings_.tunnel_needed()) return;
            reason("Tunnel", protocol,
                   "bpf-lb-dsr-dispatch=geneve: for what DSR sends on to other nodes, and nothing else");
        }
        reason("Underlay", out_.underlay_ipv6 ? "IPv6" : "IPv4",
               settings_.underlay_ipv6
                   ? "underlay-protocol=ipv6"
                   : (out_.underlay_ipv6 ? "the node has no IPv4 address" : "the node has an IPv4 address"));
        std::string why;
        if (!settings_.tunnel_fast_path) {
            why = "enable-tunnel-fast-path=false";
        } else if (out_.legacy_host_routing) {
            why = "legacy host routing leaves forwarding to the kernel";
        } else if (!kernel_at_least(features_.release, 5, 14)) {
            why = "kernel " + features_.release + " cannot push an inner Ethernet header in tc (5.14)";
        }
        out_.tunnel_fast_path = why.empty();
        if (out_.tunnel_fast_path) {
            why = features_.adjust_room_decap
                      ? "the kernel can push and pull outer headers in tc"
                      : "the kernel can push outer headers in tc; those of the other family are "
                        "pulled by the device (kernel " +
                            features_.release + " cannot: 6.3)";
        }
        reason("Tunnel fast path", out_.tunnel_fast_path ? "Enabled" : "Disabled", why);
    }

    Status decide_mtu() {
        std::string why = "mtu=" + std::to_string(settings_.mtu);
        out_.device_mtu = settings_.mtu;
        if (settings_.mtu == 0) {
            const auto smallest = std::ranges::min_element(out_.devices, {}, &NativeDevice::mtu);
            out_.device_mtu = smallest->mtu;
            why = "smallest of the native devices (" + smallest->name + ")";
        }
        // The kernel's limits for veth; above 65535 no IP packet is.
        if (out_.device_mtu < kSmallestMtu || out_.device_mtu > 65535) {
            return fail(Code::kInvalidArgument, "MTU " + std::to_string(out_.device_mtu) + " (" + why +
                                                    "): accepted: " + std::to_string(kSmallestMtu) +
                                                    " to 65535; set mtu=<bytes>");
        }
        reason("Device MTU", std::to_string(out_.device_mtu), why);
        out_.route_mtu = out_.device_mtu;
        if (!tunnel()) return {};
        out_.route_mtu -= tunnel_overhead(out_.underlay_ipv6);
        reason("Route MTU", std::to_string(out_.route_mtu),
               "less " + std::to_string(tunnel_overhead(out_.underlay_ipv6)) + " bytes of outer headers");
        return {};
    }

    const DatapathSettings& settings_;
    const KernelFeatures& features_;
    const NodeNetwork& network_;
    const DatapathDecisions* before_;
    DatapathDecisions out_;
};

}  // namespace

std::uint32_t tunnel_overhead(bool underlay_ipv6) {
    return underlay_ipv6 ? 70 : 50;
}

Result<NodeNetwork> read_node_network(Netlink& netlink) {
    NodeNetwork network;
    TRY_ASSIGN(network.links, netlink.links());
    TRY_ASSIGN(network.addresses, netlink.addresses());
    TRY_ASSIGN(network.routes, netlink.routes());
    return network;
}

Result<DatapathDecisions> decide_datapath(const DatapathSettings& settings, const KernelFeatures& features,
                                          const NodeNetwork& network, const DatapathDecisions* before) {
    return Decider(settings, features, network, before).run();
}

Result<DatapathDecisions> Datapath::decide(const DatapathSettings& settings, const KernelFeatures& features) {
    TRY_ASSIGN(Netlink netlink, Netlink::open());
    TRY_ASSIGN(const NodeNetwork network, read_node_network(netlink));
    return decide_datapath(settings, features, network);
}

}  // namespace axo
