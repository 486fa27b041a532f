#include "app/cni/pod_interface.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "kernel/netns.h"

namespace axo::cni {
namespace {

constexpr std::uint8_t kScopeLink = 253;
constexpr auto kRemovalPatience = std::chrono::seconds(1);

Status apply_pod_sysctls(const PodInterfaceSpec& spec) {
    if (spec.lease.v6.address) {
        // Runtimes start pods with IPv6 off on IPv4 clusters' defaults. "all" covers loopback too; it takes
        // the kernel's big lock, so it is written only where it changes something.
        TRY_ASSIGN(const std::string disabled,
                   read_sysctl("net.ipv6.conf." + spec.attachment.ifname + ".disable_ipv6"));
        TRY_ASSIGN(const std::string disabled_lo, read_sysctl("net.ipv6.conf.lo.disable_ipv6"));
        if (disabled != "0" || disabled_lo != "0") TRY(write_sysctl("net.ipv6.conf.all.disable_ipv6", "0"));
    }
    if (!spec.reserved_ports.empty()) TRY(write_sysctl("net.ipv4.ip_local_reserved_ports", spec.reserved_ports));
    if (spec.path_mtu_discovery == "blackhole" || spec.path_mtu_discovery == "always") {
        TRY(write_sysctl("net.ipv4.tcp_mtu_probing", spec.path_mtu_discovery == "always" ? "2" : "1"));
        TRY(write_sysctl("net.ipv4.tcp_base_mss", "1024"));
        TRY(write_sysctl("net.ipv4.tcp_mtu_probe_floor", "48"));
    }
    return {};
}

void add_family_routes(std::vector<Route>& routes, const FamilyLease& lease, IfIndex link, std::uint32_t mtu) {
    if (!lease.address) return;
    Route gateway;
    gateway.destination = Prefix::host(lease.gateway);
    gateway.link = link;
    gateway.scope = lease.gateway.is_v4() ? kScopeLink : 0;  // IPv6 routes have no scope
    Route everything;
    everything.destination =
        Prefix(lease.gateway.is_v4() ? IpAddress::v4({0, 0, 0, 0}) : IpAddress::v6(std::array<std::uint8_t, 16>{}), 0);
    everything.gateway = lease.gateway;
    everything.link = link;
    everything.mtu = mtu;
    routes.push_back(gateway);
    routes.push_back(everything);
}

}  // namespace

Outcome<PodNamespace> PodNamespace::open(const std::string& path) {
    auto fd = open_netns(path);
    if (!fd) {
        const bool gone = fd.error().code == Code::kNotFound;
        return refuse(
            gone ? ErrorCode::kUnknownContainer : ErrorCode::kInvalidEnvironment,
            "CNI_NETNS \"" + path + "\" " + (gone ? "does not exist" : "cannot be opened: " + fd.error().message),
            "the container's network namespace is expected there");
    }
    struct statfs file_system{};
    if (::fstatfs(fd->get(), &file_system) != 0 || file_system.f_type != NSFS_MAGIC) {
        return refuse(ErrorCode::kInvalidEnvironment, "CNI_NETNS \"" + path + "\" is not a network namespace");
    }
    struct stat theirs{};
    struct stat ours{};
    if (::fstat(fd->get(), &theirs) == 0 && ::stat("/proc/thread-self/ns/net", &ours) == 0 &&
        theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev) {
        return refuse(ErrorCode::kInvalidEnvironment,
                      "CNI_NETNS \"" + path + "\" is the network namespace of the node itself",
                      "pods with host networking need no CNI call");
    }
    return PodNamespace(std::move(*fd), path);
}

std::string alternative_name(const std::string& ifname) {
    return "cilium_cni:" + ifname;
}

std::vector<Route> pod_routes(const Lease& lease, IfIndex link, std::uint32_t device_mtu, std::uint32_t route_mtu) {
    const std::uint32_t mtu = route_mtu != 0 && route_mtu != device_mtu ? route_mtu : 0;
    std::vector<Route> routes;
    add_family_routes(routes, lease.v4, link, mtu);
    add_family_routes(routes, lease.v6, link, mtu);
    return routes;
}

Outcome<PodInterface> PodInterface::prepare(const PodNamespace& pod, const std::string& ifname) {
    auto host = Netlink::open();
    if (!host) return refuse(ErrorCode::kIo, "netlink on the node", host.error());
    auto inside = Netlink::open_in(pod.path());
    if (!inside) return refuse(ErrorCode::kIo, "netlink in " + pod.path(), inside.error());
    auto existing = inside->link(ifname);
    // After a DEL the agent removes the pair in the background.
    const auto patience = std::chrono::steady_clock::now() + kRemovalPatience;
    while (existing && existing->alternative_name == alternative_name(ifname) &&
           std::chrono::steady_clock::now() < patience) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        existing = inside->link(ifname);
    }
    if (existing) {
        return refuse(ErrorCode::kInternal, "the container has an interface \"" + ifname + "\" already",
                      existing->alternative_name == alternative_name(ifname)
                          ? "ADD was done before for this container and interface; DEL comes first"
                          : "it was not made by this plugin");
    }
    if (existing.error().code != Code::kNotFound)
        return refuse(ErrorCode::kIo, "looking for \"" + ifname + "\" in " + pod.path(), existing.error());
    return PodInterface(std::move(*host), std::move(*inside));
}

Status PodInterface::configure_host_end(const std::string& name) {
    TRY_ASSIGN(const Link link, host_.link(name));
    host_index_ = link.index;
    // Replies may come in on another device than the route back says (host routing in BPF).
    TRY(write_sysctl("net.ipv4.conf." + name + ".rp_filter", "0"));
    return host_.set_up(link.index, true);
}

Status PodInterface::configure_pod_end(const PodNamespace& pod, const PodInterfaceSpec& spec) {
    const std::string& ifname = spec.attachment.ifname;
    TRY_ASSIGN(const Link link, pod_.link(ifname));
    TRY(pod_.set_alternative_name(link.index, alternative_name(ifname)));
    TRY(run_in_netns(pod.fd(), [&] { return apply_pod_sysctls(spec); }));
    TRY(pod_.set_up(link.index, true));
    for (const FamilyLease* lease : {&spec.lease.v4, &spec.lease.v6}) {
        if (lease->address) TRY(pod_.add_address(link.index, Prefix::host(lease->address), lease->address));
    }
    for (const Route& route : pod_routes(spec.lease, link.index, spec.device_mtu, spec.route_mtu))
        TRY(pod_.put_route(route));
    return {};
}

Status PodInterface::create(const PodNamespace& pod, const PodInterfaceSpec& spec) {
    Netlink::VethSpec pair;
    pair.name = spec.attachment.host_interface();
    pair.peer_name = spec.attachment.ifname;
    pair.mac = spec.host_mac;
    pair.peer_mac = spec.mac;
    pair.mtu = spec.device_mtu;
    pair.gso_max_size = spec.gso_max_size;
    pair.gro_max_size = spec.gro_max_size;
    pair.peer_netns_fd = pod.fd();
    // Two ADDs for one container and interface: whoever makes the pair owns it, the other fails here and touches
    // nothing.
    pair.exclusive = true;
    if (auto added = host_.add_veth(pair); !added) {
        if (added.error().code == Code::kAlreadyExists) {
            return fail(Code::kAlreadyExists,
                        "interface " + pair.name + " or " + pair.peer_name + " in " + pod.path() +
                            " exists already: another ADD for this container runs or was not followed by DEL");
        }
        return forward_error(
            std::move(added.error())
                .with_context("interface pair " + pair.name + " and " + pair.peer_name + " in " + pod.path()));
    }
    auto status = configure_host_end(pair.name);
    if (!status) {
        status = forward_error(std::move(status.error()).with_context("interface " + pair.name));
    } else if (status = configure_pod_end(pod, spec); !status) {
        status =
            forward_error(std::move(status.error()).with_context("interface " + pair.peer_name + " in " + pod.path()));
    }
    if (!status) remove(spec.attachment);
    return status;
}

Status PodInterface::set_mac(const Attachment& attachment, const MacAddress& mac) {
    TRY_ASSIGN(const Link link, pod_.link(attachment.ifname));
    return pod_.set_mac(link.index, mac);
}

void PodInterface::remove(const Attachment& attachment) {
    if (auto removed = host_.remove_link(attachment.host_interface()); !removed) {
        Logger("cilium-cni")
            .warn("Failed to remove an interface", {{"interface", attachment.host_interface()}, removed.error()});
    }
}

}  // namespace axo::cni
