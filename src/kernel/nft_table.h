// Tables of nftables in the calling thread's network namespace: iptables makes them with its first look and never takes
// them away. Thread: any.
#pragma once

#include <set>
#include <string>

#include "base/result.h"

namespace axo {

// "ip nat", "ip6 raw", "inet filter" …; empty where the kernel has no nftables.
Result<std::set<std::string>> nft_tables();
// With all it contains. Absent: success. kInvalidArgument: not of a known family.
Status remove_nft_table(const std::string& table);

}  // namespace axo
