#include "kernel/device_facts.h"

#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "kernel/netlink_link.h"

namespace axo {

Result<std::map<std::string, TunnelPort>> tunnel_ports() {
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    NetlinkMessage message(RTM_GETLINK, 0, ifinfomsg{});
    std::map<std::string, TunnelPort> ports;
    TRY(socket.dump(
        message, "list links", [&] { ports.clear(); },
        [&](const nlmsghdr* answer) {
            const LinkDetails details = parse_link(answer);
            if (details.tunnel_port != 0) {
                ports[details.link.name] = {.port = details.tunnel_port, .geneve = details.link.kind == "geneve"};
            }
        }));
    return ports;
}

Result<std::vector<std::string>> bpf_filter_names(IfIndex device, TcDirection direction) {
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    tcmsg header{};
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = static_cast<int>(device.value);
    header.tcm_parent = TC_H_MAKE(TC_H_CLSACT, direction == TcDirection::kIngress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
    NetlinkMessage message(RTM_GETTFILTER, 0, header);
    std::vector<std::string> names;
    const Status status = socket.dump(
        message, "list filters of device " + device.to_string(), [&] { names.clear(); },
        [&](const nlmsghdr* answer) {
            const Attributes<TCA_MAX> attributes(answer, sizeof(tcmsg));
            const Attributes<TCA_BPF_MAX> options(attributes[TCA_OPTIONS]);
            // The first message of a chain tells of the chain only.
            if (attributes.text(TCA_KIND) == "bpf" && options.has(TCA_BPF_NAME))
                names.push_back(options.text(TCA_BPF_NAME));
        });
    // Without a clsact qdisc there are none.
    if (!status && status.error().sys_errno != EINVAL && status.error().sys_errno != ENOENT &&
        status.error().sys_errno != EOPNOTSUPP)
        return forward_error(status.error());
    return names;
}

}  // namespace axo
