#include "datapath/devices.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "kernel/netns.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("datapath-devices");
    return logger;
}

class BaseDeviceWork {
public:
    BaseDeviceWork(Netlink& netlink, const NodeNetwork& network, const DatapathSettings& settings,
                   const DatapathDecisions& decisions)
        : netlink_(netlink), network_(network), settings_(settings), decisions_(decisions) {}

    Result<BaseDevices> run() {
        TRY(node_sysctls());
        TRY(host_pair());
        TRY(router_addresses());
        TRY(tunnel());
        return std::move(out_);
    }

private:
    [[nodiscard]] const Link* present(const std::string& name) const {
        const auto found = std::ranges::find(network_.links, name, &Link::name);
        return found == network_.links.end() ? nullptr : &*found;
    }

    // optional: a key that this kernel or this namespace does not have is left alone.
    Status sysctl(const std::string& key, const std::string& value, bool optional = false) {
        const auto current = read_sysctl(key);
        if (!current) return optional ? Status{} : std::unexpected(current.error());
        if (*current == value) return {};
        TRY(write_sysctl(key, value));
        ++out_.changed;
        log().debug("Sysctl set", {{"sysctl", key}, {"value", value}, {"before", *current}});
        return {};
    }

    Status node_sysctls() {
        // The kernel takes the larger of all.rp_filter and the device's.
        TRY(sysctl("net.ipv4.conf.all.rp_filter", "0"));
        if (settings_.ipv4) TRY(sysctl("net.ipv4.ip_forward", "1"));
        if (!settings_.ipv6) return {};
        const auto forwarding = read_sysctl("net.ipv6.conf.all.forwarding");
        if (forwarding && *forwarding == "1") return {};
        // A router ignores router advertisements unless told otherwise; the node's own default route may come from one.
        for (const NativeDevice& device : decisions_.devices) {
            const std::string key = "net.ipv6.conf." + sysctl_name(device.name) + ".accept_ra";
            if (const auto accept = read_sysctl(key); accept && *accept == "1") TRY(sysctl(key, "2"));
        }
        return sysctl("net.ipv6.conf.all.forwarding", "1");
    }

    static std::string sysctl_name(std::string device) {
        std::ranges::replace(device, '.', '/');
        return device;
    }

    Status device_sysctls(const std::string& device) {
        const std::string v4 = "net.ipv4.conf." + device + ".";
        TRY(sysctl(v4 + "rp_filter", "0"));
        TRY(sysctl(v4 + "forwarding", "1"));
        TRY(sysctl(v4 + "accept_local", "1"));
        TRY(sysctl(v4 + "send_redirects", "0"));
        if (!settings_.ipv6) return {};
        const std::string v6 = "net.ipv6.conf." + device + ".";
        TRY(sysctl(v6 + "disable_ipv6", "0"));
        TRY(sysctl(v6 + "forwarding", "1"));
        return sysctl(v6 + "accept_ra", "0", true);
    }

    // Neighbours behind these devices are never asked for: BPF takes every packet. Without ARP the kernel sends at
    // once.
    Status arp_off(const std::string& device) {
        const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!socket) return fail_errno("opening a socket for device flags");
        ifreq request{};
        std::strncpy(request.ifr_name, device.c_str(), IFNAMSIZ - 1);
        if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno("reading the flags of " + device);
        if ((request.ifr_flags & IFF_NOARP) != 0) return {};
        request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_NOARP);
        if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno("switching ARP off on " + device);
        ++out_.changed;
        return {};
    }

    Status settle(const Link& link, bool without_arp) {
        TRY(device_sysctls(link.name));
        if (without_arp) TRY(arp_off(link.name));
        if (link.mtu != decisions_.device_mtu) {
            TRY(netlink_.set_mtu(link.index, decisions_.device_mtu));
            ++out_.changed;
        }
        if (!link.up) {
            TRY(netlink_.set_up(link.index, true));
            ++out_.changed;
        }
        return {};
    }

    Status host_pair() {
        const Link* host = present(kHostDevice);
        const Link* net = present(kNetDevice);
        const bool pair = host != nullptr && net != nullptr && host->kind == "veth" && host->peer == net->index;
        if (!pair) {
            // Leftovers of a pair that is not one any more, or something else with our names.
            for (const Link* leftover : {host, net}) {
                if (leftover == nullptr) continue;
                log().warn("Device is in the way and is removed",
                           {{"device", leftover->name}, {"kind", leftover->kind}});
                TRY(netlink_.remove_link(leftover->name));
            }
            Netlink::VethSpec spec;
            spec.name = kHostDevice;
            spec.peer_name = kNetDevice;
            spec.mac = MacAddress::random();
            spec.peer_mac = MacAddress::random();
            spec.mtu = decisions_.device_mtu;
            TRY(netlink_.add_veth(spec));
            out_.created += 2;
            log().info("Devices created", {{"device", kHostDevice}, {"peer", kNetDevice}});
            TRY_ASSIGN(out_.host, netlink_.link(kHostDevice));
            TRY_ASSIGN(out_.net, netlink_.link(kNetDevice));
        } else {
            out_.host = *host;
            out_.net = *net;
        }
        TRY(settle(out_.host, true));
        return settle(out_.net, true);
    }

    Status router_addresses() {
        std::vector<IpAddress> wanted;
        if (settings_.ipv4) wanted.push_back(settings_.router_ipv4);
        if (settings_.ipv6) wanted.push_back(settings_.router_ipv6);
        std::vector<IpAddress> found;
        for (const InterfaceAddress& address : network_.addresses) {
            if (address.link != out_.host.index || address.address.is_link_local()) continue;
            const bool is_wanted = std::ranges::find(wanted, address.address) != wanted.end();
            if (is_wanted && address.prefix_length == address.address.bits()) {
                found.push_back(address.address);
                continue;
            }
            log().info("Address removed: it is not the node's router address",
                       {{"device", kHostDevice}, {"address", address.address.to_string()}});
            TRY(netlink_.remove_address(address.link, address.address, address.prefix_length));
            ++out_.changed;
        }
        for (const IpAddress& address : wanted) {
            if (std::ranges::find(found, address) != found.end()) continue;
            TRY(netlink_.add_address(out_.host.index, Prefix::host(address), address));
            ++out_.changed;
        }
        return {};
    }

    Status remove_tunnel(const char* name, const char* why) {
        if (present(name) == nullptr) return {};
        log().info("Device removed: " + std::string(why), {{"device", name}});
        ++out_.changed;
        return netlink_.remove_link(name);
    }

    Status add_tunnel(const std::string& name, const MacAddress& mac) {
        if (settings_.tunnel_protocol == TunnelProtocol::kGeneve) {
            return netlink_.add_geneve(
                {.name = name, .port = settings_.tunnel_port, .mtu = decisions_.device_mtu, .mac = mac});
        }
        return netlink_.add_vxlan({.name = name,
                                   .port = settings_.tunnel_port,
                                   .mtu = decisions_.device_mtu,
                                   .mac = mac,
                                   .source_port_low = settings_.tunnel_source_port_low,
                                   .source_port_high = settings_.tunnel_source_port_high});
    }

    Status tunnel() {
        const bool needed = settings_.tunnel_needed();
        const std::string name = tunnel_device(settings_.tunnel_protocol);
        for (const char* other : {kVxlanDevice, kGeneveDevice}) {
            if (!needed || name != other)
                TRY(remove_tunnel(other, needed ? "the tunnel has another protocol" : "the tunnel is off"));
        }
        if (!needed) return {};
        const Link* device = present(name);
        // A present device keeps its MAC: peers' inner headers do not depend on it, but our configuration may.
        auto added = add_tunnel(name, device == nullptr ? MacAddress::random() : MacAddress{});
        bool created = device == nullptr;
        if (!added && device != nullptr && added.error().code == Code::kAlreadyExists) {
            log().warn("Tunnel device is made again", {{"device", name}, added.error()});
            TRY(netlink_.remove_link(name));
            added = add_tunnel(name, MacAddress::random());
            created = true;
        }
        if (!added) {
            const std::string context = "tunnel device (UDP port " + std::to_string(settings_.tunnel_port) +
                                        "; another tunnel device may have it: set tunnel-port)";
            return std::unexpected(std::move(added).error().with_context(context));
        }
        if (created) ++out_.created;
        TRY_ASSIGN(out_.tunnel, netlink_.link(name));
        return settle(*out_.tunnel, false);
    }

    Netlink& netlink_;
    const NodeNetwork& network_;
    const DatapathSettings& settings_;
    const DatapathDecisions& decisions_;
    BaseDevices out_;
};

}  // namespace

Result<BaseDevices> ensure_base_devices(Netlink& netlink, const NodeNetwork& network, const DatapathSettings& settings,
                                        const DatapathDecisions& decisions) {
    return BaseDeviceWork(netlink, network, settings, decisions).run();
}

bool is_base_device(std::string_view name) {
    return name == kHostDevice || name == kNetDevice || name == kVxlanDevice || name == kGeneveDevice;
}

Status remove_base_devices(Netlink& netlink) {
    TRY(netlink.remove_link(kVxlanDevice));
    TRY(netlink.remove_link(kGeneveDevice));
    return netlink.remove_link(kHostDevice);  // takes its peer along
}

}  // namespace axo
