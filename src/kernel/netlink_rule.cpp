#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "kernel/netlink_impl.h"

namespace axo {
namespace {

std::string rule_text(const Rule& rule) {
    char selector[48];
    std::snprintf(selector, sizeof(selector), "fwmark 0x%x/0x%x", rule.mark, rule.mask);
    return "rule " + std::to_string(rule.priority) + " " + selector + " table " + std::to_string(rule.table);
}

// Nothing for a rule that selects by more than a mark, or does something else than look up a table.
std::optional<Rule> parse_rule(const nlmsghdr* message) {
    const auto* header = static_cast<const fib_rule_hdr*>(nlmsg_data(message));
    const Attributes<FRA_MAX> attributes(message, sizeof(fib_rule_hdr));
    if (header->action != FR_ACT_TO_TBL || header->src_len != 0 || header->dst_len != 0 || header->tos != 0 ||
        (header->flags & FIB_RULE_INVERT) != 0) {
        return std::nullopt;
    }
    for (const int selector : {FRA_IIFNAME, FRA_OIFNAME, FRA_TUN_ID, FRA_UID_RANGE, FRA_IP_PROTO, FRA_SPORT_RANGE,
                               FRA_DPORT_RANGE, FRA_FLOW}) {
        if (attributes.has(selector)) return std::nullopt;
    }
    if (attributes.value<std::uint8_t>(FRA_L3MDEV) != 0) return std::nullopt;
    Rule rule;
    rule.family = header->family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
    rule.priority = attributes.value<std::uint32_t>(FRA_PRIORITY);
    rule.mark = attributes.value<std::uint32_t>(FRA_FWMARK);
    rule.mask = attributes.value<std::uint32_t>(FRA_FWMASK);
    rule.table = attributes.value<std::uint32_t>(FRA_TABLE, header->table);
    return rule;
}

NetlinkMessage rule_message(int type, int flags, const Rule& rule) {
    fib_rule_hdr header{};
    header.family = rule.family == Family::kIpv6 ? AF_INET6 : AF_INET;
    header.table =
        rule.table < 256 ? static_cast<std::uint8_t>(rule.table) : static_cast<std::uint8_t>(RT_TABLE_UNSPEC);
    header.action = FR_ACT_TO_TBL;
    NetlinkMessage message(type, flags, header);
    message.put(FRA_PRIORITY, rule.priority);
    message.put(FRA_TABLE, rule.table);
    if (rule.mask != 0) {
        message.put(FRA_FWMARK, rule.mark);
        message.put(FRA_FWMASK, rule.mask);
    }
    return message;
}

Status check_rule(const Rule& rule) {
    if (rule.mark != 0 && (rule.mark & rule.mask) != rule.mark) {
        return fail(Code::kInvalidArgument,
                    rule_text(rule) + ": the mark has bits outside its mask and can never match");
    }
    if (rule.table == 0) return fail(Code::kInvalidArgument, rule_text(rule) + ": a rule needs a table");
    return {};
}

}  // namespace

Result<std::vector<Rule>> Netlink::rules() {
    std::vector<Rule> all;
    for (const int family : {AF_INET, AF_INET6}) {
        fib_rule_hdr header{};
        header.family = static_cast<std::uint8_t>(family);
        NetlinkMessage message(RTM_GETRULE, 0, header);
        const std::size_t before = all.size();
        Status status = impl_->socket.dump(
            message, family == AF_INET ? "list IPv4 rules" : "list IPv6 rules", [&] { all.resize(before); },
            [&](const nlmsghdr* answer) {
                if (static_cast<const fib_rule_hdr*>(nlmsg_data(answer))->family != family) return;
                if (auto rule = parse_rule(answer)) all.push_back(*rule);
            });
        if (!status && !family_absent(status.error())) return forward_error(std::move(status).error());
    }
    return all;
}

Status Netlink::put_rule(const Rule& rule) {
    TRY(check_rule(rule));
    NetlinkMessage message = rule_message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
    message.put<std::uint8_t>(FRA_PROTOCOL, RTPROT_KERNEL);  // as Cilium marks its rules
    Status status = impl_->socket.execute(message, "put " + rule_text(rule));
    if (!status && status.error().sys_errno == EEXIST) return {};
    return status;
}

Status Netlink::remove_rule(const Rule& rule) {
    TRY(check_rule(rule));
    NetlinkMessage message = rule_message(RTM_DELRULE, 0, rule);
    Status status = impl_->socket.execute(message, "remove " + rule_text(rule));
    if (!status && (status.error().sys_errno == ENOENT || family_absent(status.error()))) return {};
    return status;
}

}  // namespace axo
