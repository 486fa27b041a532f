// Netlink requests of this layer: building, sending and reading messages. Private to src/kernel.
//
// libnl builds and parses attributes; requests go over an own socket, so that each is one send and
// one receive and the kernel's explanation of an error (extended ack) reaches the caller.
// Thread: any one at a time.
#pragma once

#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"
#include "base/types.h"

namespace axo {

class NetlinkMessage {
public:
    // `header` is the family's fixed struct: ifinfomsg, rtmsg, …
    template <class Header>
    NetlinkMessage(int type, int flags, const Header& header)
        : message_(nlmsg_alloc_simple(type, flags | NLM_F_REQUEST)) {
        ok_ =
            message_ && nlmsg_append(message_.get(), const_cast<Header*>(&header), sizeof(header), NLMSG_ALIGNTO) == 0;
    }
    void put_bytes(int attribute, const void* data, std::size_t size) {
        ok_ = ok_ && nla_put(message_.get(), attribute, static_cast<int>(size), data) == 0;
    }
    template <class Int>
        requires(std::is_integral_v<Int>)
    void put(int attribute, Int value) {
        put_bytes(attribute, &value, sizeof(value));
    }
    void put(int attribute, const std::string& text) { put_bytes(attribute, text.c_str(), text.size() + 1); }
    void put(int attribute, const MacAddress& mac) { put_bytes(attribute, mac.bytes().data(), mac.bytes().size()); }
    void put(int attribute, const IpAddress& ip) { put_bytes(attribute, ip.bytes().data(), ip.bytes().size()); }
    template <class Fill>
    void nest(int attribute, Fill&& fill) {
        nlattr* start = ok_ ? nla_nest_start(message_.get(), attribute) : nullptr;
        if (start == nullptr) {
            ok_ = false;
            return;
        }
        fill();
        nla_nest_end(message_.get(), start);
    }
    template <class Header>
    void append(const Header& header) {
        ok_ = ok_ && nlmsg_append(message_.get(), const_cast<Header*>(&header), sizeof(header), NLMSG_ALIGNTO) == 0;
    }
    // Null when an attribute did not fit.
    [[nodiscard]] nlmsghdr* header() { return ok_ ? nlmsg_hdr(message_.get()) : nullptr; }

private:
    struct Free {
        void operator()(nl_msg* message) const { nlmsg_free(message); }
    };
    std::unique_ptr<nl_msg, Free> message_;
    bool ok_ = false;
};

// Attributes of a received message, by number; values are copied out, so alignment does not matter.
template <int kMax>
class Attributes {
public:
    Attributes(const nlmsghdr* message, int header_size) {
        nlmsg_parse(const_cast<nlmsghdr*>(message), header_size, table_.data(), kMax, nullptr);
    }
    explicit Attributes(const nlattr* parent) {
        if (parent != nullptr) nla_parse_nested(table_.data(), kMax, const_cast<nlattr*>(parent), nullptr);
    }
    [[nodiscard]] const nlattr* operator[](int attribute) const { return table_[attribute]; }
    [[nodiscard]] bool has(int attribute) const { return table_[attribute] != nullptr; }
    template <class T>
    [[nodiscard]] T value(int attribute, T fallback = {}) const {
        const nlattr* found = table_[attribute];
        if (found == nullptr || nla_len(found) < static_cast<int>(sizeof(T))) return fallback;
        T result;
        std::memcpy(&result, nla_data(found), sizeof(T));
        return result;
    }
    [[nodiscard]] std::string text(int attribute) const {
        const nlattr* found = table_[attribute];
        if (found == nullptr) return {};
        const auto* begin = static_cast<const char*>(nla_data(found));
        return {begin, ::strnlen(begin, static_cast<std::size_t>(nla_len(found)))};
    }
    [[nodiscard]] IpAddress ip(int attribute) const {
        const nlattr* found = table_[attribute];
        if (found == nullptr) return {};
        if (nla_len(found) == 16) return IpAddress::v6(nla_data(found));
        if (nla_len(found) == 4) return IpAddress::v4(value<std::uint32_t>(attribute));
        return {};
    }
    [[nodiscard]] MacAddress mac(int attribute) const {
        const nlattr* found = table_[attribute];
        return found != nullptr && nla_len(found) == 6 ? MacAddress::from_bytes(nla_data(found)) : MacAddress{};
    }

private:
    std::array<nlattr*, kMax + 1> table_{};
};

class NetlinkSocket {
public:
    using Sink = std::function<void(const nlmsghdr*)>;

    // In the calling thread's namespace; the socket stays there.
    static Result<NetlinkSocket> open(int protocol = NETLINK_ROUTE);

    // A change; returns when the kernel has acknowledged it. `what` names the object: "link eth0".
    Status execute(NetlinkMessage& message, std::string_view what);
    // A question with one answer.
    Status query(NetlinkMessage& message, std::string_view what, const Sink& sink);
    // A table. A dump that raced with a change is read again, so `reset` may be called several times.
    Status dump(NetlinkMessage& message, std::string_view what, const std::function<void()>& reset, const Sink& sink);

private:
    explicit NetlinkSocket(Fd fd) : fd_(std::move(fd)), buffer_(1 << 16) {}
    Status send(NetlinkMessage& message, int flags, std::string_view what);
    // Reads until the answer is complete. `interrupted` tells that the table changed underneath.
    Status receive(std::string_view what, const Sink* sink, bool until_done, bool* interrupted);

    Fd fd_;
    std::uint32_t sequence_ = 0;
    std::vector<char> buffer_;
};

}  // namespace axo
