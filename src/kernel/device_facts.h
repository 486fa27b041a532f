// What only an inspection of a node asks about devices. In the calling thread's network namespace. Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernel/bpf_link.h"

namespace axo {

struct TunnelPort {
    std::uint16_t port = 0;
    bool geneve = false;  // VXLAN otherwise
};
// UDP ports of VXLAN and Geneve devices, by name.
Result<std::map<std::string, TunnelPort>> tunnel_ports();
// Names of the classic filters with a BPF program at a device, whoever attached them.
Result<std::vector<std::string>> bpf_filter_names(IfIndex device, TcDirection direction);

}  // namespace axo
