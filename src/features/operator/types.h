// Rows of the operator's tables: of each object only what its duties need, so that an object with some other
// field wrong still counts as being there. Thread: any (values).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/ip.h"
#include "io/object_store.h"
#include "model/cilium_node.h"
#include "model/time.h"
#include "runtime/table.h"

namespace axo {

struct OperatorNodeRow {
    CiliumNode node;          // the last version that could be read; at least metadata.name
    std::string parse_error;  // of the present version; "" when it is the one in `node`

    friend bool operator==(const OperatorNodeRow&, const OperatorNodeRow&) = default;
};

struct KubeNodeRow {
    std::string uid;
    bool agent_taint = false;   // it has the taint that says its agent is not ready
    bool cilium_is_up = false;  // its condition NetworkUnavailable says that it has a network

    friend bool operator==(const KubeNodeRow&, const KubeNodeRow&) = default;
};

struct OperatorPodRow {
    std::string node_name;     // "" until scheduled
    bool finished = false;     // Succeeded or Failed
    bool agent = false;        // a node's agent
    bool ready = false;        // of agents only
    bool restartable = false;  // may be deleted when it has no endpoint
    bool host_network = false;
    std::optional<WallTime> running_since;  // of restartable ones only

    friend bool operator==(const OperatorPodRow&, const OperatorPodRow&) = default;
};

struct OperatorEndpointRow {
    std::string uid;
    std::uint32_t identity = 0;
    std::string owner_pod;  // name of the owning Pod object; "" when no Pod owns it
    IpAddress node_ip;

    friend bool operator==(const OperatorEndpointRow&, const OperatorEndpointRow&) = default;
};

struct OperatorIdentityRow {
    std::string heartbeat;  // the annotation; "" when there is none

    friend bool operator==(const OperatorIdentityRow&, const OperatorIdentityRow&) = default;
};

using OperatorNodeTable = Table<ObjectKey, OperatorNodeRow>;
using KubeNodeTable = Table<ObjectKey, KubeNodeRow>;
using OperatorPodTable = Table<ObjectKey, OperatorPodRow>;
using OperatorEndpointTable = Table<ObjectKey, OperatorEndpointRow>;
using OperatorIdentityTable = Table<ObjectKey, OperatorIdentityRow>;

}  // namespace axo
