// The pair of devices between a pod and its node, and the pod's view of it: addresses, routes, MTU.
//
// One netlink socket per namespace; the pair is made by one message, with its peer already named and
// in the pod's namespace, so that a plugin that dies leaves either nothing or a pair that DEL finds by name.
// Thread: one; entering the pod's namespace changes the calling thread's for the time of a call.
#pragma once

#include <optional>
#include <string>

#include "app/cni/agent.h"
#include "app/cni/protocol.h"
#include "base/fd.h"
#include "kernel/netlink.h"

namespace axo::cni {

// An opened pod namespace. Refuses what is no network namespace, and the one this process is in:
// configuring that would take the node's own network down.
class PodNamespace {
public:
    static Outcome<PodNamespace> open(const std::string& path);
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    PodNamespace(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
    Fd fd_;
    std::string path_;
};

struct PodInterfaceSpec {
    Attachment attachment;
    Lease lease;
    std::uint32_t device_mtu = 0;
    std::uint32_t route_mtu = 0;
    std::uint32_t gso_max_size = 0;
    std::uint32_t gro_max_size = 0;
    MacAddress mac;       // of the pod's end
    MacAddress host_mac;  // of the node's end
    std::string reserved_ports;
    std::string path_mtu_discovery;
};

class PodInterface {
public:
    // Opens both namespaces' sockets; refuses when the pod has an interface of that name already.
    static Outcome<PodInterface> prepare(const PodNamespace& pod, const std::string& ifname);

    // After an error nothing of it is left.
    Status create(const PodNamespace& pod, const PodInterfaceSpec& spec);
    Status set_mac(const Attachment& attachment, const MacAddress& mac);
    // Removes what create made; errors are logged.
    void remove(const Attachment& attachment);
    [[nodiscard]] IfIndex host_index() const { return host_index_; }

private:
    PodInterface(Netlink host, Netlink pod) : host_(std::move(host)), pod_(std::move(pod)) {}
    Status configure_host_end(const std::string& name);
    Status configure_pod_end(const PodNamespace& pod, const PodInterfaceSpec& spec);

    Netlink host_;
    Netlink pod_;
    IfIndex host_index_;
};

// What a pod with this lease gets, also what CHECK compares with.
std::vector<Route> pod_routes(const Lease& lease, IfIndex link, std::uint32_t device_mtu, std::uint32_t route_mtu);
std::string alternative_name(const std::string& ifname);

}  // namespace axo::cni
