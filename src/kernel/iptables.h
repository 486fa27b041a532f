// iptables and ip6tables by their own tools: what is there, and changes as iptables-restore scripts.
// In the calling thread's network namespace. Thread: any; blocks.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace axo {

struct IptablesTable {
    Family family = Family::kIpv4;
    std::string name;  // "nat"
    // As nftables knows it: "ip nat".
    [[nodiscard]] std::string nft_name() const { return (family == Family::kIpv4 ? "ip " : "ip6 ") + name; }
    // For people: "iptables nat".
    [[nodiscard]] std::string title() const { return (family == Family::kIpv4 ? "iptables " : "ip6tables ") + name; }
};

// Tables that are there. Looking at another one with iptables-save would make it.
Result<std::vector<IptablesTable>> present_iptables_tables();
// What `<tool>-save -t <table>` prints; which tool: features/nat/iptables.h. kNotFound: there is no such tool.
Result<std::string> iptables_save(const std::string& tool, const std::string& table);
// `<tool>-restore --noflush`; waits that long for others who write rules.
Status iptables_restore(const std::string& tool, const std::string& script, std::chrono::seconds lock_timeout);

}  // namespace axo
