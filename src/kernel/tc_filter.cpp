#include "kernel/tc_filter.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "kernel/netlink_socket.h"

namespace axo {
namespace {

constexpr std::uint32_t kPriority = 1;
constexpr std::uint32_t kHandle = 1;

std::string filter_name(const TcAttachment& attachment) {
    return attachment.program_name + "-" + attachment.device_name;
}

std::uint32_t parent_of(TcDirection direction) {
    return TC_H_MAKE(TC_H_CLSACT, direction == TcDirection::kIngress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

tcmsg filter_header(const TcAttachment& attachment) {
    tcmsg header{};
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = static_cast<int>(attachment.device.value);
    header.tcm_parent = parent_of(attachment.direction);
    header.tcm_handle = kHandle;
    header.tcm_info = TC_H_MAKE(kPriority << 16, htons(ETH_P_ALL));
    return header;
}

tcmsg qdisc_header(const TcAttachment& attachment) {
    tcmsg header{};
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = static_cast<int>(attachment.device.value);
    header.tcm_parent = TC_H_CLSACT;
    header.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
    return header;
}

// A filter, qdisc or device that is not there: the kernel has many words for it.
bool absent(const Error& error) {
    return error.sys_errno == ENOENT || error.sys_errno == EINVAL || error.sys_errno == ENODEV ||
           error.sys_errno == EOPNOTSUPP;
}

struct Filter {
    std::string name;
    std::uint32_t program = 0;
};

// The filter in our place, whoever made it.
Result<std::optional<Filter>> present_filter(NetlinkSocket& socket, const TcAttachment& attachment) {
    NetlinkMessage message(RTM_GETTFILTER, 0, filter_header(attachment));
    message.put(TCA_KIND, std::string("bpf"));
    std::optional<Filter> filter;
    Status status = socket.query(message, "read filter " + filter_name(attachment), [&](const nlmsghdr* answer) {
        const Attributes<TCA_MAX> attributes(answer, sizeof(tcmsg));
        const Attributes<TCA_BPF_MAX> options(attributes[TCA_OPTIONS]);
        filter = Filter{options.text(TCA_BPF_NAME), options.value<std::uint32_t>(TCA_BPF_ID)};
    });
    if (!status && !absent(status.error())) return forward_error(std::move(status).error());
    return filter;
}

Result<bool> qdisc_is_empty(NetlinkSocket& socket, const TcAttachment& attachment) {
    std::size_t filters = 0;
    for (const TcDirection direction : {TcDirection::kIngress, TcDirection::kEgress}) {
        tcmsg header{};
        header.tcm_family = AF_UNSPEC;
        header.tcm_ifindex = static_cast<int>(attachment.device.value);
        header.tcm_parent = parent_of(direction);
        NetlinkMessage message(RTM_GETTFILTER, 0, header);
        Status status = socket.dump(
            message, "list filters of " + attachment.device_name, [] {}, [&](const nlmsghdr*) { ++filters; });
        if (!status && !absent(status.error())) return forward_error(std::move(status).error());
    }
    return filters == 0;
}

}  // namespace

Result<AttachOutcome> attach_filter(const TcAttachment& attachment, std::uint32_t program) {
    const std::string name = filter_name(attachment);
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    TRY_ASSIGN(const std::optional<Filter> present, present_filter(socket, attachment));
    if (present && present->program == program && present->name == name) return AttachOutcome{.changed = false};
    if (!present) {
        NetlinkMessage qdisc(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, qdisc_header(attachment));
        qdisc.put(TCA_KIND, std::string("clsact"));
        Status status = socket.execute(qdisc, "attach filter " + name + ": add clsact to " + attachment.device_name);
        if (!status && status.error().sys_errno != EEXIST) return forward_error(std::move(status).error());
    }
    NetlinkMessage message(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, filter_header(attachment));
    message.put(TCA_KIND, std::string("bpf"));
    message.nest(TCA_OPTIONS, [&] {
        message.put<std::uint32_t>(TCA_BPF_FD, static_cast<std::uint32_t>(attachment.program_fd));
        message.put(TCA_BPF_NAME, name);
        message.put<std::uint32_t>(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
    });
    TRY(socket.execute(message, "attach filter " + name));
    return AttachOutcome{.changed = true};
}

Status detach_filter(const TcAttachment& attachment) {
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    TRY_ASSIGN(const std::optional<Filter> present, present_filter(socket, attachment));
    if (!present || present->name != filter_name(attachment)) return {};
    NetlinkMessage message(RTM_DELTFILTER, 0, filter_header(attachment));
    message.put(TCA_KIND, std::string("bpf"));
    Status removed = socket.execute(message, "detach filter " + filter_name(attachment));
    if (!removed && !absent(removed.error())) return removed;
    TRY_ASSIGN(const bool empty, qdisc_is_empty(socket, attachment));
    if (!empty) return {};
    NetlinkMessage qdisc(RTM_DELQDISC, 0, qdisc_header(attachment));
    removed = socket.execute(qdisc, "remove clsact from " + attachment.device_name);
    if (!removed && !absent(removed.error())) return removed;
    return {};
}

}  // namespace axo
