// What will not work on a node, and the way out of each. Pure functions of a configuration and a NodeView; decisions
// are those of the agent itself (decide_datapath, plan_services). Thread: any (no state).
#pragma once

#include <string>
#include <vector>

#include "app/agent/preflight/view.h"

namespace axo::preflight {

enum class Severity { kError, kWarning, kInfo };

struct Finding {
    Severity severity = Severity::kError;
    std::string check;    // "tunnel-port": stable, for scripts
    std::string what;     // with the objects and values
    std::string way_out;  // "" for information
    friend bool operator==(const Finding&, const Finding&) = default;
};

class Findings {
public:
    void error(std::string check, std::string what, std::string way_out) {
        add({Severity::kError, std::move(check), std::move(what), std::move(way_out)});
    }
    void warning(std::string check, std::string what, std::string way_out) {
        add({Severity::kWarning, std::move(check), std::move(what), std::move(way_out)});
    }
    void info(std::string check, std::string what) { add({Severity::kInfo, std::move(check), std::move(what), ""}); }
    // A check that was made; with nothing found it passed.
    void checked(std::string check) { checks_.push_back(std::move(check)); }
    [[nodiscard]] const std::vector<Finding>& all() const { return findings_; }
    [[nodiscard]] std::vector<std::string> passed() const;
    [[nodiscard]] std::size_t count(Severity severity) const;

private:
    void add(Finding finding) { findings_.push_back(std::move(finding)); }
    std::vector<Finding> findings_;
    std::vector<std::string> checks_;
};

// One function per part of a node.
void check_machine(const Config& config, const NodeView& view, Findings& findings);
void check_memory(const Config& config, const NodeView& view, Findings& findings);
void check_network(const Config& config, const NodeView& view, Findings& findings);
void check_addresses(const Config& config, const NodeView& view, Findings& findings);
void check_neighbours(const Config& config, const NodeView& view, Findings& findings);  // other CNIs, kube-proxy
void check_leftovers(const Config& config, const NodeView& view, Findings& findings);
void check_store(const Config& config, const NodeView& view, Findings& findings);
Findings check_node(const Config& config, const NodeView& view);

// A text in an object; "": there is none.
std::string text_at(const Json& object, const Json::json_pointer& path);
// Pod CIDRs of the cluster as far as they can be known: from the nodes in the store, else from the configuration.
std::vector<Prefix> cluster_pod_cidrs(const Config& config, const NodeView& view);

// `axoneme-agent preflight …`; returns the exit status: 1 with errors found.
int preflight_command(const std::vector<std::string>& arguments);

}  // namespace axo::preflight
