#include "hubble/server/peers.h"

#include <algorithm>

namespace axo::hubble {

void Peers::set(const std::string& name, Peer peer) {
    {
        const std::lock_guard lock(mutex_);
        Peer& known = peers_[name];
        if (known == peer) return;
        known = std::move(peer);
        ++version_;
    }
    changed();
}

void Peers::remove(const std::string& name) {
    {
        const std::lock_guard lock(mutex_);
        if (peers_.erase(name) == 0) return;
        ++version_;
    }
    changed();
}

void Peers::changed() {
    std::function<void()> wake;
    {
        const std::lock_guard lock(mutex_);
        wake = wake_;
    }
    if (wake) wake();
}

std::uint64_t Peers::version() const {
    const std::lock_guard lock(mutex_);
    return version_;
}

Peers::Map Peers::all(std::uint64_t& version) const {
    const std::lock_guard lock(mutex_);
    version = version_;
    return peers_;
}

void Peers::set_wake(std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
}

// A name's dots would make it several levels of the certificate's.
std::string peer_server_name(const std::string& cluster, const std::string& node) {
    std::string name = node;
    std::ranges::replace(name, '.', '-');
    return name + "." + cluster + ".hubble-grpc.cilium.io";
}

}  // namespace axo::hubble
