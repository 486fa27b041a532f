// One event of GET /v1/monitor as a line of `monitor`, in Cilium's form. Pure.
#pragma once

#include <string>

#include "app/cli/output/format.h"

namespace axo::cli {

struct MonitorStyle {
    bool numeric = false;  // identities and interfaces as numbers
    bool verbose = false;  // several lines per event
};

// "" for records that are not events. With the newline.
std::string monitor_text(const Json& event, const MonitorStyle& style);
// "10.0.0.1:53 -> 10.0.0.2:4000 tcp SYN", "10.0.0.1 -> 8.8.8.8 EchoRequest".
std::string connection_text(const Json& event);
// What a user can do about a drop; "" where nothing is known.
std::string drop_advice(const Json& event);
std::string icmp_text(bool ipv6, int type, int code);

}  // namespace axo::cli
