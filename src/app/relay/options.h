// The relay's command line and config file: hubble-relay's names, so that its Deployment and ConfigMap are taken as
// they are. Flags come before the file. Thread: any (values).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "hubble/relay/settings.h"

namespace axo {

struct RelayOptions {
    relay_server::RelaySettings relay;
    std::string listen_address = ":4245";
    std::string health_address = ":4222";
    std::string metrics_address;        // "": none; hubble-relay's chart sets :9966
    std::string web_address = ":8081";  // "": none
    std::string web_root;               // of the built page; "": beside this program
    std::string object_store;           // where policies are, for the page; "": it shows none
    LogLevel log_level = LogLevel::kInfo;
    std::optional<std::string> print;  // --help, version: what to print instead of serving
};

// Errors name the flag or the file's key, and what is accepted.
Result<RelayOptions> parse_relay_options(const std::vector<std::string>& arguments);

}  // namespace axo
