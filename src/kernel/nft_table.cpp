#include "kernel/nft_table.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/fd.h"
#include "kernel/netlink_socket.h"

namespace axo {

namespace {

constexpr std::pair<std::uint8_t, std::string_view> kFamilies[] = {
    {NFPROTO_IPV4, "ip"}, {NFPROTO_IPV6, "ip6"},      {NFPROTO_INET, "inet"},
    {NFPROTO_ARP, "arp"}, {NFPROTO_BRIDGE, "bridge"}, {NFPROTO_NETDEV, "netdev"},
};

constexpr int nft_message(int type) {
    return NFNL_SUBSYS_NFTABLES << 8 | type;
}

// Changes are taken in batches only, and a batch is one datagram.
class Batch {
public:
    void add(int type, const nfgenmsg& header, const std::string& table = {}) {
        NetlinkMessage message(type, type == nft_message(NFT_MSG_DELTABLE) ? NLM_F_ACK : 0, header);
        if (!table.empty()) message.put(NFTA_TABLE_NAME, table);
        nlmsghdr* one = message.header();
        one->nlmsg_seq = ++sequence_;
        bytes_.append(reinterpret_cast<const char*>(one), one->nlmsg_len);
        bytes_.resize(NLMSG_ALIGN(bytes_.size()));
    }
    // errno of the one message that asks for an acknowledgement.
    Result<int> send() const {
        const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
        if (!socket) return fail_errno("open a netfilter socket");
        sockaddr_nl kernel{};
        kernel.nl_family = AF_NETLINK;
        if (::sendto(socket.get(), bytes_.data(), bytes_.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
                     sizeof(kernel)) < 0)
            return fail_errno("send to nftables");
        alignas(nlmsghdr) char answer[4096];
        const auto got = ::recv(socket.get(), answer, sizeof(answer), 0);
        if (got < 0) return fail_errno("hear from nftables");
        const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
        if (!nlmsg_ok(header, static_cast<int>(got)) || header->nlmsg_type != NLMSG_ERROR)
            return fail(Code::kInternal, "nftables answers with message type " + std::to_string(header->nlmsg_type));
        return -static_cast<const nlmsgerr*>(nlmsg_data(header))->error;
    }

private:
    std::string bytes_;
    std::uint32_t sequence_ = 0;
};

}  // namespace

Result<std::set<std::string>> nft_tables() {
    std::set<std::string> tables;
    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    // A kernel without nfnetlink has none.
    if (!socket && socket.error().sys_errno == EPROTONOSUPPORT) return tables;
    if (!socket) return forward_error(socket.error());
    const nfgenmsg everything{.nfgen_family = NFPROTO_UNSPEC, .version = NFNETLINK_V0, .res_id = 0};
    NetlinkMessage message(nft_message(NFT_MSG_GETTABLE), 0, everything);
    const Status done = socket->dump(
        message, "list nftables", [&] { tables.clear(); },
        [&](const nlmsghdr* answer) {
            const auto* header = static_cast<const nfgenmsg*>(nlmsg_data(answer));
            const Attributes<NFTA_TABLE_MAX> attributes(answer, sizeof(nfgenmsg));
            for (const auto& [family, name] : kFamilies) {
                if (family == header->nfgen_family)
                    tables.insert(std::string(name) + " " + attributes.text(NFTA_TABLE_NAME));
            }
        });
    if (!done && (done.error().sys_errno == EINVAL || done.error().sys_errno == EOPNOTSUPP)) return tables;
    if (!done) return forward_error(done.error());
    return tables;
}

Status remove_nft_table(const std::string& table) {
    const auto blank = table.find(' ');
    const std::string family = table.substr(0, blank);
    for (const auto& [number, name] : kFamilies) {
        if (name != family || blank == std::string::npos) continue;
        const nfgenmsg bounds{
            .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
        Batch batch;
        batch.add(NFNL_MSG_BATCH_BEGIN, bounds);
        batch.add(nft_message(NFT_MSG_DELTABLE), {.nfgen_family = number, .version = NFNETLINK_V0, .res_id = 0},
                  table.substr(blank + 1));
        batch.add(NFNL_MSG_BATCH_END, bounds);
        TRY_ASSIGN(const int error, batch.send());
        if (error != 0 && error != ENOENT) return fail_errno("remove nftables table " + table, error);
        return {};
    }
    return fail(Code::kInvalidArgument,
                "nftables table \"" + table + "\": accepted: <ip|ip6|inet|arp|bridge|netdev> <name>");
}

}  // namespace axo
