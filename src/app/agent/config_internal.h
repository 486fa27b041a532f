// Shared by config.cpp and its tables; nobody else includes it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "app/agent/config.h"
#include "base/duration.h"

namespace axo {

bool is_known_cilium_key(std::string_view key);

// One key this agent reads. parse stores the value or says what would have been accepted.
struct ConfigOption {
    std::string key;
    std::string default_text;
    std::string help;
    bool boolean = false;  // "--key" alone means true
    std::function<Status(Config&, const std::string&)> parse;
};
const std::vector<ConfigOption>& config_options();
// Those of services, masquerading and netfilter, and what has to hold among them once all keys are read.
void add_service_options(std::vector<ConfigOption>& all);
void check_services(Config& config, std::vector<std::string>& errors, std::vector<std::string>& warnings);
// Those of address management and of what is published about this node.
void add_ipam_options(std::vector<ConfigOption>& all);
void check_ipam(Config& config, std::vector<std::string>& errors, std::vector<std::string>& warnings);

// Those of Hubble.
void add_hubble_options(std::vector<ConfigOption>& all);
void check_hubble(const Config& config, std::vector<std::string>& errors);

// A key of Cilium whose feature does not exist here. Values in `off` mean "not used".
struct MissingFeature {
    std::string_view key;
    std::string_view feature;
    std::vector<std::string_view> off;
    bool refuse = false;  // ignoring it would weaken security or break the network silently
};
const std::vector<MissingFeature>& missing_features();

}  // namespace axo
