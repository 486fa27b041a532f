#include "kernel/iptables.h"

#include "base/file.h"
#include "kernel/command.h"
#include "kernel/nft_table.h"

namespace axo {

namespace {

constexpr auto kToolTimeout = std::chrono::seconds(30);  // tables with 100,000 rules take seconds

std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace

Result<std::vector<IptablesTable>> present_iptables_tables() {
    TRY_ASSIGN(const std::set<std::string> present, nft_tables());
    std::vector<IptablesTable> tables;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        // Those of the old iptables, without nftables.
        const std::string old =
            "\n" + read_file(family == Family::kIpv6 ? "/proc/net/ip6_tables_names" : "/proc/net/ip_tables_names")
                       .value_or("");
        for (const std::string name : {"raw", "mangle", "nat", "filter"}) {
            const IptablesTable table{family, name};
            if (present.contains(table.nft_name()) || old.find("\n" + name + "\n") != std::string::npos)
                tables.push_back(table);
        }
    }
    return tables;
}

Result<std::string> iptables_save(const std::string& tool, const std::string& table) {
    TRY_ASSIGN(CommandOutput output, run_command({tool + "-save", "-t", table}, "", kToolTimeout));
    if (output.exit_status != 0)
        return fail(Code::kFailedPrecondition, tool + "-save -t " + table + ": " + first_line(output.err));
    return std::move(output.out);
}

Status iptables_restore(const std::string& tool, const std::string& script, std::chrono::seconds lock_timeout) {
    TRY_ASSIGN(const CommandOutput output,
               run_command({tool + "-restore", "--noflush", "-w", std::to_string(lock_timeout.count())}, script,
                           kToolTimeout + lock_timeout));
    if (output.exit_status != 0)
        return fail(Code::kFailedPrecondition, tool + "-restore refuses: " + first_line(output.err));
    return {};
}

}  // namespace axo
