#include "features/nat/rules.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/sha256.h"

namespace axo::nat {

namespace {

constexpr std::string_view kOurDevices = "cilium_+";
// From so many nodes on it pays to ask first whether a connection is a pod's: every new one of the node passes here.
constexpr std::ptrdiff_t kNodesToPass = 8;

std::string comment(const std::string& text) {
    return "-m comment --comment \"" + text + "\"";
}

std::string feeder(const Chain& chain) {
    return comment("cilium-feeder: " + chain.name) + " -j " + chain.name;
}

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        lines.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

// Says what the chain was made from: iptables-save prints rules in a form of its own, so they cannot be compared.
std::string marker(const Chain& chain) {
    std::string all;
    for (const std::string& rule : chain.rules) all += rule + "\n";
    return comment("axoneme " + sha256_hex(all).substr(0, 16));
}

void add_masquerade(const RuleSettings& settings, const RuleState& state, Family family, Chain& chain) {
    const Prefix native = family == Family::kIpv4 ? settings.native_cidr4 : settings.native_cidr6;
    const std::string random = settings.random_fully ? " --random-fully" : "";
    const bool pods_alone = std::ranges::count(state.pod_cidrs, family, &Prefix::family) == 1;
    for (const Prefix& pods : state.pod_cidrs) {
        if (pods.family() != family) continue;
        const std::string from = "-s " + pods.to_string();
        if (pods_alone && std::ranges::count(state.node_addresses, family, &IpAddress::family) > kNodesToPass)
            chain.rules.push_back("! " + from + " " + comment("not from pods") + " -j RETURN");
        for (const IpAddress& node : state.node_addresses) {
            if (node.family() != family) continue;
            chain.rules.push_back(from + " -d " + Prefix::host(node).to_string() + " " +
                                  comment("exclude traffic to cluster nodes from masquerade") + " -j ACCEPT");
        }
        const std::string away = from + " ! -d " + (native ? native : pods).to_string();
        if (settings.to_route_source) {
            for (const SourceRoute& route : state.routes) {
                if (route.source.family() != family) continue;
                // One match per rule says where to: what is spared is let go before.
                chain.rules.push_back(from + " -d " + (native ? native : pods).to_string() + " " +
                                      comment("exclude native routing CIDR from masquerade") + " -j ACCEPT");
                break;
            }
            for (const SourceRoute& route : state.routes) {
                if (route.source.family() != family) continue;
                const std::string to = route.destination.length() == 0 ? "" : " -d " + route.destination.to_string();
                chain.rules.push_back(from + to + " -o " + route.device + " " +
                                      comment("cilium snat non-cluster via source route") + " -j SNAT --to-source " +
                                      route.source.to_string() + random);
            }
            continue;
        }
        const std::string what = " " + comment("cilium masquerade non-cluster") + " -j MASQUERADE" + random;
        if (settings.out_interfaces.empty()) chain.rules.push_back(away + " ! -o " + std::string(kOurDevices) + what);
        for (const std::string& device : settings.out_interfaces) chain.rules.push_back(away + " -o " + device + what);
    }
}

void add_no_conntrack(const RuleSettings& settings, const RuleState& state, Family family, std::vector<Chain*> chains) {
    const Prefix native = family == Family::kIpv4 ? settings.native_cidr4 : settings.native_cidr6;
    std::vector<Prefix> pods;
    if (native) {
        pods.push_back(native);
    } else {
        std::ranges::copy_if(state.pod_cidrs, std::back_inserter(pods),
                             [family](const Prefix& prefix) { return prefix.family() == family; });
    }
    for (Chain* chain : chains) {
        for (const Prefix& prefix : pods) {
            for (const char* side : {"-s ", "-d "}) {
                chain->rules.push_back(side + prefix.to_string() + " " + comment("cilium: NOTRACK for pod traffic") +
                                       " -j CT --notrack");
            }
        }
    }
}

struct Present {
    bool exists = false;
    std::size_t rules = 0;
    bool marked = false;
    std::vector<std::string> feeders;  // rules of the hook that jump here
};

Present look(std::string_view saved, const Chain& chain) {
    Present present;
    const std::string mark = chain.rules.empty() ? "" : marker(chain);
    for (const std::string_view line : lines_of(saved)) {
        if (line.starts_with(":" + chain.name + " ")) present.exists = true;
        if (line.starts_with("-A " + chain.name + " ")) {
            ++present.rules;
            if (!mark.empty() && line.find(mark) != std::string_view::npos) present.marked = true;
        }
        if (line.starts_with("-A " + chain.hook + " ") && line.ends_with(" -j " + chain.name))
            present.feeders.emplace_back(line.substr(3));
    }
    return present;
}

std::string correct(const Present& present, const Chain& chain, const RuleSettings& settings) {
    std::string script;
    const bool wanted = !chain.rules.empty();
    if (!wanted && !present.exists && present.feeders.empty()) return script;
    const bool right = (present.marked && present.rules == chain.rules.size() + 1) ||
                       (chain.partial && present.exists && present.rules != 0);
    if (wanted && !right) {
        script += ":" + chain.name + " - [0:0]\n";  // made, or emptied
        for (const std::string& rule : chain.rules) script += "-A " + chain.name + " " + rule + "\n";
        script += "-A " + chain.name + " " + marker(chain) + "\n";
    }
    const std::size_t feeders = wanted && settings.feeder_rules ? 1 : 0;
    for (std::size_t i = feeders; i < present.feeders.size(); ++i) script += "-D " + present.feeders[i] + "\n";
    if (feeders == 1 && present.feeders.empty())
        script += (settings.prepend ? "-I " : "-A ") + chain.hook + " " + feeder(chain) + "\n";
    if (!wanted && present.exists) script += "-F " + chain.name + "\n-X " + chain.name + "\n";
    return script;
}

// "-A KUBE-SVC-X … -j KUBE-SEP-Y" -> "KUBE-SEP-Y"
std::string_view target_of(std::string_view rule) {
    const auto at = rule.find(" -j ");
    if (at == std::string_view::npos) return {};
    const std::string_view rest = rule.substr(at + 4);
    return rest.substr(0, rest.find(' '));
}

std::string_view option(std::string_view rule, std::string_view name) {
    const auto at = rule.find(name);
    if (at == std::string_view::npos) return {};
    const std::string_view rest = rule.substr(at + name.size());
    return rest.substr(0, rest.find(' '));
}

}  // namespace

bool asks_for_look(const RuleState& before, const RuleState& now) {
    if (now.all_nodes) return now != before;
    RuleState rest = now;
    rest.node_addresses = before.node_addresses;
    return rest != before;
}

std::vector<Chain> wanted_chains(const RuleSettings& settings, const RuleState& state, Family family) {
    Chain post{.table = "nat", .name = "CILIUM_POST_nat", .hook = "POSTROUTING", .partial = !state.all_nodes};
    Chain pre_raw{.table = "raw", .name = "CILIUM_PRE_raw", .hook = "PREROUTING"};
    Chain output_raw{.table = "raw", .name = "CILIUM_OUTPUT_raw", .hook = "OUTPUT"};
    if (family == Family::kIpv4 ? settings.masquerade4 : settings.masquerade6)
        add_masquerade(settings, state, family, post);
    if (settings.no_conntrack) add_no_conntrack(settings, state, family, {&pre_raw, &output_raw});
    return {post, pre_raw, output_raw};
}

std::string correct_chains(std::string_view saved, const std::vector<Chain>& chains, const std::string& table,
                           const RuleSettings& settings) {
    std::string script;
    for (const Chain& chain : chains) {
        if (chain.table == table) script += correct(look(saved, chain), chain, settings);
    }
    return script.empty() ? script : "*" + table + "\n" + script + "COMMIT\n";
}

Adaptation adapt_kube_proxy(std::string_view saved, const RuleSettings& settings) {
    // kube-proxy's chains by name.
    std::map<std::string_view, std::vector<std::string_view>> chains;
    for (const std::string_view line : lines_of(saved)) {
        if (!line.starts_with("-A KUBE-")) continue;
        const std::string_view rest = line.substr(3);
        chains[rest.substr(0, rest.find(' '))].push_back(line);
    }
    Adaptation adaptation;
    std::string removals;
    Chain output{.table = "nat", .name = "CILIUM_OUTPUT_nat", .hook = "OUTPUT"};
    for (const std::string_view rule : chains["KUBE-SERVICES"]) {
        const std::string_view target = target_of(rule);
        const bool service = target.starts_with("KUBE-SVC-");
        if (rule.find(" cluster IP\"") == std::string_view::npos || (!service && target != "KUBE-MARK-MASQ")) continue;
        removals += "-D " + std::string(rule.substr(3)) + "\n";
        ++adaptation.taken;
        if (!service) continue;
        const std::string match = "-d " + std::string(option(rule, " -d ")) + " -p " +
                                  std::string(option(rule, " -p ")) + " -m " + std::string(option(rule, " -p ")) +
                                  " --dport " + std::string(option(rule, " --dport "));
        for (const std::string_view branch : chains[target]) {
            const auto endpoint = chains.find(target_of(branch));
            if (endpoint == chains.end() || !endpoint->first.starts_with("KUBE-SEP-")) continue;
            for (const std::string_view leaf : endpoint->second) {
                const std::string_view to = option(leaf, " --to-destination ");
                if (to.empty()) continue;
                const std::string_view probability = option(branch, " --probability ");
                output.rules.push_back(
                    match +
                    (probability.empty() ? ""
                                         : " -m statistic --mode random --probability " + std::string(probability)) +
                    " " + comment("cilium: host->cluster IP") + " -j DNAT --to-destination " + std::string(to));
                break;
            }
        }
    }
    adaptation.host_rules = output.rules.size();
    if (adaptation.taken == 0) return adaptation;
    adaptation.script = "*nat\n" + removals + correct(look(saved, output), output, settings) + "COMMIT\n";
    return adaptation;
}

}  // namespace axo::nat
