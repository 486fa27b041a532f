#include "features/nat/iptables.h"

#include "base/file.h"
#include "kernel/command.h"

namespace axo::nat {

namespace {

constexpr auto kTimeout = std::chrono::seconds(30);

bool kubernetes_was_here(std::string_view saved) {
    return saved.contains(":KUBE-IPTABLES-HINT ") || saved.contains(":KUBE-KUBELET-CANARY ");
}

std::string saved(const std::string& tool) {
    auto output = run_command({tool, "-t", "mangle"}, "", kTimeout);
    return output && output->exit_status == 0 ? std::move(output->out) : std::string();
}

std::string find_kind() {
    if (run_command({"iptables-save", "--version"}, "", kTimeout)) return "";
    // Asking the old tool makes tables where there are none.
    const bool legacy_tables = !read_file("/proc/net/ip_tables_names").value_or("").empty();
    return uses_legacy(saved("iptables-nft-save"), legacy_tables ? saved("iptables-legacy-save") : "") ? "-legacy"
                                                                                                       : "-nft";
}

}  // namespace

bool uses_legacy(std::string_view nft_saved, std::string_view legacy_saved) {
    if (kubernetes_was_here(nft_saved)) return false;
    if (kubernetes_was_here(legacy_saved)) return true;
    return legacy_saved.contains("\n-A ") && !nft_saved.contains("\n-A ");
}

const std::string& iptables_tool(Family family) {
    static const std::string kind = find_kind();
    static const std::string ipv4 = "iptables" + kind, ipv6 = "ip6tables" + kind;
    return family == Family::kIpv4 ? ipv4 : ipv6;
}

}  // namespace axo::nat
