// What the ipcache should hold, as pure functions over nodes and endpoints. Thread: any (no state of their own).
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "features/endpoint/types.h"
#include "features/ipcache/types.h"
#include "features/node/types.h"
#include "maps/ipcache_map.h"

namespace axo {

using IpcacheRows = std::map<Prefix, IpcacheRow>;

struct IpcacheSettings {
    bool ipv4 = true, ipv6 = false;
    bool tunnel = true;               // there is one to every other node
    bool native = false;              // pods are reached without it
    Family underlay = Family::kIpv4;  // of tunnel endpoints
};

// 0.0.0.0/0 and ::/0.
IpcacheRows world_rows(const IpcacheSettings& settings);
// A node's addresses, router and health addresses and, in tunnel mode, its pod CIDRs. The CIDRs make a new
// pod reachable before its CiliumEndpoint arrives; their identity is the world's until then.
IpcacheRows node_rows(const IpcacheSettings& settings, const NodeRow& node);
// Addresses of this node's devices, also those no CiliumNode mentions.
IpcacheRows host_rows(const IpcacheSettings& settings, const std::set<IpAddress>& addresses);
IpcacheRows endpoint_rows(const IpcacheSettings& settings, const EndpointRow& endpoint);
IpcacheRows remote_endpoint_rows(const IpcacheSettings& settings, const RemoteEndpoint& endpoint);

IpcacheEntry to_entry(const IpcacheRow& row);

// All claims on all prefixes, by claimant ("node/n1", "endpoint/812", "cep/ns/name"). Answers who wins: the claim of
// the highest source; among equals the claimant that sorts first, so that the outcome does not depend on the order of
// arrival.
class IpcacheClaims {
public:
    // Replaces what the claimant said before; returns the prefixes whose winner may have changed.
    std::vector<Prefix> replace(const std::string& claimant, IpcacheRows rows);
    // nullptr: nobody claims it.
    [[nodiscard]] const IpcacheRow* winner(const Prefix& prefix) const;
    // Every prefix and its winner, in order.
    void for_each(const std::function<void(const Prefix&, const IpcacheRow&)>& visit) const;

private:
    struct Claim {
        const std::string* claimant;  // stands in by_claimant_
        IpcacheRow row;
    };

    std::map<std::string, std::vector<Prefix>> by_claimant_;
    std::map<Prefix, std::vector<Claim>> by_prefix_;  // the winner first
};

}  // namespace axo
