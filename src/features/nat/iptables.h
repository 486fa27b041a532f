// Which iptables a node uses. Rules of the two kinds do not see each other, so ours have to be of the kind that kubelet
// and kube-proxy write. Thread: any; blocks.
#pragma once

#include <string>
#include <string_view>

#include "base/ip.h"

namespace axo::nat {

// Of a node's tables, as iptables-nft-save and iptables-legacy-save print mangle; "" where there is none.
// Kubelet leaves a chain in the kind that it uses (KUBE-IPTABLES-HINT, before 1.24 KUBE-KUBELET-CANARY).
bool uses_legacy(std::string_view nft_saved, std::string_view legacy_saved);

// The tool's name without "-save" or "-restore". Where PATH has a plain iptables, as on a host, that is the one; an
// image has iptables-nft and iptables-legacy, and the node's tables decide, once.
const std::string& iptables_tool(Family family);

}  // namespace axo::nat
