// Taking from a node what an agent put there: programs, links and maps, devices, routes, netfilter chains, sysctls that
// it changed, its CNI configuration and plugin, its state; and nothing else.
//
// Found by what is on the node, not by what the agent would do now, so that any settings and a half-started agent are
// covered. Pods that still use the datapath lose their network; they are named. Thread: any; blocks.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "datapath/service_settings.h"
#include "maps/paths.h"

namespace axo {

struct CleanupSettings {
    BpfPaths bpf{};
    std::filesystem::path state_dir = "/var/run/cilium";
    std::filesystem::path cni_conf_dir = "/etc/cni/net.d";
    std::filesystem::path cni_bin_dir = "/opt/cni/bin";
    ServiceSettings services{};  // which NodePorts were reserved
    bool all_state = true;       // false: only what belongs to BPF: pins, programs, the devices made for them
};

struct Leftover {
    std::string kind;  // "BPF pin", "device", "route", …
    std::string what;
    std::string note;  // what its removal means; "" where it needs no words
    friend bool operator==(const Leftover&, const Leftover&) = default;
};

// In the order in which they go.
Result<std::vector<Leftover>> find_leftovers(const CleanupSettings& settings);
// Goes on after a failure and reports the first. A second call finds nothing to do. kAlreadyExists: an agent runs.
Status remove_leftovers(const CleanupSettings& settings);

// `axoneme-agent cleanup …`; returns the exit status.
int cleanup_command(const std::vector<std::string>& arguments);

}  // namespace axo
