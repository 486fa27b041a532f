// Which ports processes of this network namespace listen on, at any address. Thread: any.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace axo::service {

// (IPPROTO_*, port): TCP sockets that listen, UDP sockets that are bound and not connected. directory: of the kernel's
// tables; what cannot be read holds nothing.
std::set<std::pair<std::uint8_t, std::uint16_t>> host_listeners(const std::string& directory = "/proc/self/net");

}  // namespace axo::service
