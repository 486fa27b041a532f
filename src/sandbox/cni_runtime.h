// The container runtime's side of CNI: finds the network configuration as a runtime does (first file of the
// directory by name), calls the plugins of its chain and hands results on.
//
// Runs where the plugins are: call it in a process that has entered the node. Thread: any (blocking).
#pragma once

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace axo::sandbox {

struct CniAttachment {
    std::string container_id;
    std::string netns;  // path as the node sees it
    std::string interface = "eth0";
    std::string name_space, pod, uid;
    nlohmann::json previous_result;  // of ADD; for CHECK and DEL
};

struct CniPlace {
    std::filesystem::path conf_dir = "/etc/cni/net.d";
    std::filesystem::path plugin_dir = "/opt/cni/bin";
};

struct CniOutcome {
    nlohmann::json result;                  // of the last plugin; null for commands without one
    std::chrono::microseconds duration{0};  // in the plugins
};

// command: ADD, CHECK, DEL. A plugin's error becomes "cilium-cni ADD failed: code 11: msg (details)".
Result<CniOutcome> cni_call(const std::string& command, const CniAttachment& attachment, const CniPlace& place = {});

// The whole list of the first configuration file that parses; kNotFound: "no network configuration …".
Result<nlohmann::json> read_cni_configuration(const std::filesystem::path& conf_dir);

}  // namespace axo::sandbox
