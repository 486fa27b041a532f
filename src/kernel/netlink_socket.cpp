#include "kernel/netlink_socket.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

namespace axo {
namespace {

// What the kernel says about an error beyond its number: "Nexthop has invalid gateway".
std::string kernel_explanation(const nlmsghdr* header) {
    if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
    const auto* error = static_cast<const nlmsgerr*>(nlmsg_data(header));
    std::size_t offset = sizeof(nlmsgerr);
    if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) offset += error->msg.nlmsg_len - sizeof(nlmsghdr);
    const Attributes<NLMSGERR_ATTR_MSG> attributes(header, static_cast<int>(offset));
    return attributes.text(NLMSGERR_ATTR_MSG);
}

std::unexpected<Error> request_error(std::string_view what, const nlmsghdr* header, int err) {
    auto failure = fail_errno(what, err);
    if (const std::string text = kernel_explanation(header); !text.empty())
        failure.error().message += " (" + text + ")";
    return failure;
}

}  // namespace

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
    Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
    if (!fd) return fail_errno("open netlink socket");
    // All three are comforts that older kernels lack: explanations, short acks, dumps filtered by the kernel.
    const int on = 1;
    ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
    ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
    ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
    return NetlinkSocket(std::move(fd));
}

Status NetlinkSocket::send(NetlinkMessage& message, int flags, std::string_view what) {
    nlmsghdr* header = message.header();
    if (header == nullptr) return fail(Code::kOutOfRange, std::string(what) + ": does not fit into a netlink message");
    header->nlmsg_flags |= static_cast<std::uint16_t>(flags);
    header->nlmsg_seq = ++sequence_;
    header->nlmsg_pid = 0;
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    for (;;) {
        if (::sendto(fd_.get(), header, header->nlmsg_len, 0, reinterpret_cast<const sockaddr*>(&kernel),
                     sizeof(kernel)) >= 0) {
            return {};
        }
        if (errno != EINTR) return fail_errno(std::string(what) + ": send netlink request");
    }
}

Status NetlinkSocket::receive(std::string_view what, const Sink* sink, bool until_done, bool* interrupted) {
    for (;;) {
        const ssize_t count = ::recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC);
        if (count < 0) {
            if (errno == EINTR) continue;
            return fail_errno(std::string(what) + ": receive netlink answer");
        }
        if (static_cast<std::size_t>(count) > buffer_.size()) {
            return fail(Code::kDataLoss, std::string(what) + ": netlink answer of " + std::to_string(count) + " bytes");
        }
        int left = static_cast<int>(count);
        for (auto* header = reinterpret_cast<nlmsghdr*>(buffer_.data()); nlmsg_ok(header, left);
             header = nlmsg_next(header, &left)) {
            if (header->nlmsg_seq != sequence_) continue;  // rest of a request that was given up
            if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0 && interrupted != nullptr) *interrupted = true;
            if (header->nlmsg_type == NLMSG_ERROR) {
                const int err = -static_cast<const nlmsgerr*>(nlmsg_data(header))->error;
                if (err != 0) return request_error(what, header, err);
                return {};
            }
            if (header->nlmsg_type == NLMSG_DONE) {
                // A dump that failed half-way ends with its errno.
                int err = 0;
                if (nlmsg_datalen(header) >= static_cast<int>(sizeof(err)))
                    std::memcpy(&err, nlmsg_data(header), sizeof(err));
                if (err < 0 && -err != EINTR) return fail_errno(what, -err);
                return {};
            }
            if (sink != nullptr) (*sink)(header);
            if (!until_done) return {};
        }
    }
}

Status NetlinkSocket::execute(NetlinkMessage& message, std::string_view what) {
    TRY(send(message, NLM_F_ACK, what));
    return receive(what, nullptr, true, nullptr);
}

Status NetlinkSocket::query(NetlinkMessage& message, std::string_view what, const Sink& sink) {
    TRY(send(message, 0, what));
    return receive(what, &sink, false, nullptr);
}

Status NetlinkSocket::dump(NetlinkMessage& message, std::string_view what, const std::function<void()>& reset,
                           const Sink& sink) {
    // A table that never holds still is returned as last seen: its changes are notified anyway.
    constexpr int kAttempts = 8;
    for (int attempt = 1;; ++attempt) {
        bool interrupted = false;
        reset();
        TRY(send(message, NLM_F_DUMP, what));
        TRY(receive(what, &sink, true, &interrupted));
        if (!interrupted || attempt == kAttempts) return {};
    }
}

}  // namespace axo
