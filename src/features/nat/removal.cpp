#include "features/nat/removal.h"

#include <algorithm>
#include <sstream>

#include "features/nat/iptables.h"
#include "features/nat/rules.h"
#include "kernel/iptables.h"
#include "kernel/nft_table.h"

namespace axo::nat {

namespace {

// Every chain that any settings make, without rules: correct_chains takes them away.
std::vector<Chain> no_chains() {
    std::vector<Chain> chains = wanted_chains({}, {}, Family::kIpv4);
    chains.push_back({.table = "nat", .name = "CILIUM_OUTPUT_nat", .hook = "OUTPUT"});  // beside a kube-proxy
    return chains;
}

}  // namespace

Result<std::vector<std::string>> list_chains() {
    std::vector<std::string> found;
    TRY_ASSIGN(const auto tables, present_iptables_tables());
    for (const IptablesTable& table : tables) {
        TRY_ASSIGN(const std::string saved, iptables_save(iptables_tool(table.family), table.name));
        for (const Chain& chain : no_chains()) {
            if (!correct_chains(saved, {chain}, table.name, {}).empty())
                found.push_back(table.title() + " " + chain.name);
        }
    }
    return found;
}

Status remove_chains(const std::set<std::string>* kept, std::chrono::seconds lock_timeout) {
    TRY_ASSIGN(const auto tables, present_iptables_tables());
    for (const IptablesTable& table : tables) {
        TRY_ASSIGN(std::string saved, iptables_save(iptables_tool(table.family), table.name));
        const std::string script = correct_chains(saved, no_chains(), table.name, {});
        if (!script.empty()) {
            TRY(iptables_restore(iptables_tool(table.family), script, lock_timeout));
            TRY_ASSIGN(saved, iptables_save(iptables_tool(table.family), table.name));
        }
        if (kept != nullptr && !kept->contains(table.nft_name()) && is_unused(saved))
            TRY(remove_nft_table(table.nft_name()));
    }
    return {};
}

bool is_unused(std::string_view saved) {
    if (saved.find("incompatible") != std::string_view::npos) return false;  // rules that only nft knows
    std::istringstream lines{std::string(saved)};
    for (std::string line; std::getline(lines, line);) {
        const bool built_in = line.starts_with(':') && line.find(" ACCEPT [") != std::string::npos;
        if (!line.empty() && !line.starts_with('#') && !line.starts_with('*') && line != "COMMIT" && !built_in)
            return false;
    }
    return true;
}

}  // namespace axo::nat
