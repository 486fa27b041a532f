#include "kernel/xdp_link.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <sys/socket.h>

#include <cerrno>

#include "kernel/netlink_socket.h"
#include "kernel/pinned_link.h"

namespace axo {
namespace {

// include/uapi/linux/netdev.h of 6.3; headers of older kernels do not have it.
constexpr std::uint8_t kNetdevDevGet = 1, kNetdevDevChange = 4;
constexpr int kNetdevIfindex = 1, kNetdevXdpFeatures = 3;
constexpr std::uint64_t kNdoXmit = 1U << 2;

struct NetdevFamily {
    std::uint16_t id = 0;
    std::uint32_t management_group = 0;  // of notifications about devices
};

Result<std::optional<NetdevFamily>> netdev_family(NetlinkSocket& socket) {
    NetlinkMessage request(GENL_ID_CTRL, 0, genlmsghdr{.cmd = CTRL_CMD_GETFAMILY, .version = 1, .reserved = 0});
    request.put(CTRL_ATTR_FAMILY_NAME, std::string("netdev"));
    NetdevFamily family;
    const auto asked = socket.query(request, "netlink family netdev", [&](const nlmsghdr* answer) {
        const Attributes<CTRL_ATTR_MAX> attributes(answer, sizeof(genlmsghdr));
        family.id = attributes.value<std::uint16_t>(CTRL_ATTR_FAMILY_ID);
        const nlattr* groups = attributes[CTRL_ATTR_MCAST_GROUPS];
        if (groups == nullptr) return;
        int left = nla_len(groups);
        for (auto* group = static_cast<nlattr*>(nla_data(groups)); nla_ok(group, left);
             group = nla_next(group, &left)) {
            const Attributes<CTRL_ATTR_MCAST_GRP_MAX> fields(group);
            if (fields.text(CTRL_ATTR_MCAST_GRP_NAME) == "mgmt")
                family.management_group = fields.value<std::uint32_t>(CTRL_ATTR_MCAST_GRP_ID);
        }
    });
    if (!asked && asked.error().sys_errno == ENOENT) return std::nullopt;
    TRY(asked);
    return family;
}

}  // namespace

Result<AttachOutcome> attach_xdp(const XdpAttachment& attachment) {
    const bool native = attachment.mode == XdpMode::kNative;
    const std::string what = "program " + attachment.program_name + " on " + attachment.device_name +
                             (native ? " in native XDP" : " in generic XDP");
    if (attachment.mode == XdpMode::kNone) return fail(Code::kInvalidArgument, "attach " + what + ": no mode");
    TRY_ASSIGN(const XdpMode running, xdp_mode(attachment.device));
    auto outcome = attach_pinned({
        .what = what,
        .pin_path = attachment.pin_path,
        .program_fd = attachment.program_fd,
        .is_same_place =
            [&](const bpf_link_info& info) {
                return info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == attachment.device.value &&
                       running == attachment.mode;
            },
        .create =
            [&] {
                LIBBPF_OPTS(bpf_link_create_opts, options);
                options.flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
                return bpf_link_create(attachment.program_fd, static_cast<int>(attachment.device.value), BPF_XDP,
                                       &options);
            },
    });
    if (!outcome && native && outcome.error().sys_errno == EOPNOTSUPP) outcome.error().code = Code::kUnimplemented;
    return outcome;
}

Status detach_xdp(const std::string& pin_path) {
    return detach_pinned("link " + pin_path, pin_path);
}

Result<XdpMode> xdp_mode(IfIndex device) {
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    if (const int err = bpf_xdp_query(static_cast<int>(device.value), 0, &query); err != 0)
        return fail_errno("device " + device.to_string() + ": ask for its XDP program", -err);
    switch (query.attach_mode) {
        case XDP_ATTACHED_NONE: return XdpMode::kNone;
        case XDP_ATTACHED_SKB: return XdpMode::kGeneric;
        default: return XdpMode::kNative;
    }
}

Result<std::optional<bool>> takes_xdp_frames(IfIndex device) {
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open(NETLINK_GENERIC));
    TRY_ASSIGN(const auto family, netdev_family(socket));
    if (!family) return std::nullopt;
    NetlinkMessage request(family->id, 0, genlmsghdr{.cmd = kNetdevDevGet, .version = 1, .reserved = 0});
    request.put(kNetdevIfindex, device.value);
    std::uint64_t features = 0;
    TRY(socket.query(request, "device " + device.to_string() + ": ask for its XDP features",
                     [&](const nlmsghdr* answer) {
                         const Attributes<kNetdevXdpFeatures> attributes(answer, sizeof(genlmsghdr));
                         features = attributes.value<std::uint64_t>(kNetdevXdpFeatures);
                     }));
    return (features & kNdoXmit) != 0;
}

Result<std::optional<XdpFeatureMonitor>> XdpFeatureMonitor::open() {
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open(NETLINK_GENERIC));
    TRY_ASSIGN(const auto family, netdev_family(socket));
    if (!family || family->management_group == 0) return std::nullopt;
    Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC));
    // Bound: as long as it has no number of its own, it is taken for the kernel, which does not tell itself.
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &family->management_group,
                     sizeof(family->management_group)) != 0)
        return fail_errno("subscribe to notifications of XDP features");
    return XdpFeatureMonitor(std::move(fd));
}

std::optional<std::set<IfIndex>> XdpFeatureMonitor::drain() {
    std::set<IfIndex> devices;
    bool complete = true;
    alignas(nlmsghdr) char buffer[8192];
    for (;;) {
        const ssize_t count = ::recv(socket_.get(), buffer, sizeof(buffer), 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == ENOBUFS) {
            complete = false;  // the queue overflowed; it can be read again
            continue;
        }
        if (count < 0) return complete ? std::optional(std::move(devices)) : std::nullopt;
        int left = static_cast<int>(count);
        for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); nlmsg_ok(message, left);
             message = nlmsg_next(message, &left)) {
            if (static_cast<const genlmsghdr*>(nlmsg_data(message))->cmd != kNetdevDevChange) continue;
            const Attributes<kNetdevXdpFeatures> attributes(message, sizeof(genlmsghdr));
            devices.insert(IfIndex(attributes.value<std::uint32_t>(kNetdevIfindex)));
        }
    }
}

}  // namespace axo
