#include "kernel/netlink.h"

#include "kernel/netlink_impl.h"
#include "kernel/netns.h"

namespace axo {

Netlink::Netlink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Netlink::Netlink(Netlink&&) noexcept = default;
Netlink& Netlink::operator=(Netlink&&) noexcept = default;
Netlink::~Netlink() = default;

Result<Netlink> Netlink::open() {
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    return Netlink(std::make_unique<Impl>(Impl{std::move(socket)}));
}

Result<Netlink> Netlink::open_in(const std::string& netns_path) {
    TRY_ASSIGN(const Fd netns, open_netns(netns_path));
    std::unique_ptr<Impl> impl;
    TRY(run_in_netns(netns.get(), [&]() -> Status {
        TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
        impl = std::make_unique<Impl>(Impl{std::move(socket)});
        return {};
    }));
    return Netlink(std::move(impl));
}

}  // namespace axo
