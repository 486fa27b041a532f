// What monitor clients see of a datapath event. Thread: any (values).
#pragma once

#include <set>
#include <string>

#include "bpf/api/event.h"
#include "model/json.h"
#include "model/labels.h"

namespace axo {

// What a client asked for; empty sets ask for everything.
struct MonitorFilter {
    std::set<std::string> types;                // "drop", "trace", "policy-verdict"
    std::set<std::uint16_t> from, to, related;  // endpoint ids

    [[nodiscard]] bool matches(const flow_event& event) const;
};

}  // namespace axo
