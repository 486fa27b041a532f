// What preflight looks at: one node as it is, read once, without changing anything. Plain values, so that a test writes
// its own. Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "app/agent/config.h"
#include "datapath/decide.h"
#include "kernel/device_facts.h"
#include "kernel/features.h"
#include "model/json.h"

namespace axo::preflight {

struct CgroupView {
    bool version2 = false;         // a cgroup v2 hierarchy is at cgroup-root, or can be mounted there
    std::string problem;           // why not
    bool mounted = false;          // already
    bool own_namespace = false;    // the agent sees the hierarchy from a cgroup namespace of its own
    std::size_t children = 0;      // cgroups below the root that it sees
    bool net_classifiers = false;  // net_cls or net_prio of cgroup v1 are mounted
};

struct CniFileView {
    std::string name;  // "10-flannel.conflist"
    bool parses = true;
    std::vector<std::string> plugins;  // types, in order
};

struct StoreView {
    std::string address;
    std::string problem;                        // it does not answer, or refuses
    bool slow = false;                          // it answers, but not with everything in time; nothing below counts
    std::optional<std::int64_t> clock_ahead_s;  // this node's clock against the API server's
    std::vector<Json> nodes, cilium_nodes, services, policies;
};

struct NodeView {
    // Machine
    std::optional<KernelFeatures> features;
    std::string features_problem;
    std::uint64_t page_size = 4096;
    int address_bits = 48;  // of a process's address space
    bool systemd = true;
    std::uint64_t memory_available = 0;       // bytes
    std::optional<std::uint64_t> lock_limit;  // RLIMIT_MEMLOCK in bytes; unset: none
    std::set<std::string> capabilities;       // effective: "NET_ADMIN"
    bool bpffs = true;                        // mounted at bpf-root
    std::string bpffs_problem;                // it is not, and cannot be
    CgroupView cgroup;

    // Network
    NodeNetwork network;
    std::map<std::string, TunnelPort> tunnel_ports;  // by device
    std::set<std::uint16_t> udp_ports;               // bound by anybody
    std::vector<IpAddress> nameservers;
    std::map<std::string, std::set<std::string>> chains;  // "iptables nat" -> names
    std::string iptables_problem;                         // the tool does not work

    // Others, and what is left of an earlier installation
    std::vector<CniFileView> cni_files;                  // in the order in which a runtime looks at them
    std::string bpf_owner_problem;                       // the BPF root is another node's or cluster's
    std::map<std::string, std::string> map_differences;  // pinned maps of another layout: what differs
    std::vector<std::string> foreign_maps;               // pinned cilium_* maps that this version does not know
    std::vector<std::string> tc_filters;                 // "eth0 ingress bpf_netdev_eth0.o": classic filters of Cilium

    std::optional<StoreView> store;
};

// Of the node this process runs on. Loads and drops a few BPF programs and makes a network namespace of its own for the
// kernel's abilities; nothing else is made. Waits for the store for at most `patience`; nullopt:
// it is not asked.
NodeView read_node_view(const Config& config, std::optional<std::chrono::milliseconds> patience);

}  // namespace axo::preflight
