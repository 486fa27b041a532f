// The shipped BPF objects with private maps, in a network namespace with real devices and routes:
//
//   eth0 (uplink, 172.18.0.2/24, fd00:18::2/64)   peer uplink_far
//   lxc1, lxc2 (two pods' host-side devices)      peers pod1, pod2
//   cilium_host, cilium_vxlan
//
// Addresses: pods 10.0.1.1 / fd00:10:1::1 and 10.0.1.2 / fd00:10:1::2, router 10.0.1.254 / fd00:10:1::fe;
// a remote pod 10.0.2.1 / fd00:10:2::1 behind node 172.18.0.3 / fd00:18::3.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>

#include "bpf/api/config.h"
#include "bpf/api/drop_reason.h"
#include "bpf/api/endpoint.h"
#include "bpf/api/event.h"
#include "bpf/api/flow.h"
#include "bpf/api/generation.h"
#include "bpf/api/ipcache.h"
#include "bpf/api/metrics.h"
#include "kernel/bpf_object.h"
#include "maps/generations.h"
#include "maps/policy_map.h"
#include "packet_builder.h"

namespace axo::test {

inline constexpr std::uint32_t kPass = 0xffffffff;  // TC_ACT_UNSPEC
inline constexpr std::uint32_t kDrop = 2;           // TC_ACT_SHOT
inline constexpr std::uint32_t kRedirect = 7;       // TC_ACT_REDIRECT

struct Options {
    bool tunnel = false;
    bool geneve = false;  // its protocol; VXLAN otherwise. The device is there for its number alone
    bool native = false;  // the ipcache knows the tunnel to other nodes and says that it is not the way
    bool tunnel_fast = true;
    bool underlay_v6 = false;  // from fd00:18::2 instead of 172.18.0.2
    bool legacy = false;
    int aggregation = TRACE_AGGREGATE_MEDIUM;
    std::uint32_t report_interval = 37;  // ticks; 0: every packet is decided anew
    bool trace = true;
    bool dns = false;  // hubble-observe-dns
    bool extended_protocols = false;
    bool host_firewall = false;
    std::uint32_t flow_map_max = 0;  // 0: as shipped
    lb_config lb{};                  // services(): what tests of services begin with
};

// Enters a network namespace of its own with the devices above; once per process.
void enter_test_network();
std::uint32_t ifindex(const std::string& device);
// Whether this kernel's bpf_skb_adjust_room pushes and pulls all outer headers of the family; the agent turns the fast
// way through the tunnel off where it does not.
bool can_push_outer_headers();
bool can_pull_outer_headers(bool inner_v6);

class Datapath {
public:
    // object: "pod", "netdev", "overlay", "host".
    Datapath(const std::string& object, const Options& options = {});

    TestRun run(const std::string& program, const Bytes& packet, const std::string& device, std::uint32_t repeat = 1,
                std::uint32_t mark = 0);
    // The flow between two ends, from whichever side.
    std::optional<flow> find_flow(const char* a, const char* b, std::uint16_t port_a, std::uint16_t port_b,
                                  std::uint8_t proto);
    std::size_t flow_count();
    // Each fixture has maps of its own; the shipped objects share them.
    void copy_flows_to(Datapath& other);
    void remove_flow(const char* a, const char* b, std::uint16_t port_a, std::uint16_t port_b, std::uint8_t proto);
    void put_flow_update(const char* a, const char* b, std::uint16_t port_a, std::uint16_t port_b, std::uint8_t proto,
                         const flow& value);
    void add_ipcache(const char* prefix, std::uint32_t identity, const char* tunnel_endpoint = nullptr,
                     std::uint8_t flags = 0);
    void remove_endpoint(const char* address);
    [[nodiscard]] Generations& generations() { return *generations_; }
    [[nodiscard]] PolicySlabs& slabs() { return *slabs_; }
    // Pods begin with the policy that enforces nothing. flags: POLICY_REF_F_*.
    void set_policy(int pod, std::span<const policy_row> image, std::uint32_t flags);
    // The node itself: without a policy of its own until this is called.
    void set_host_policy(std::span<const policy_row> image, std::uint32_t flags);
    static constexpr EndpointId kHostEndpoint{300};
    static EndpointId endpoint_id(int pod) { return EndpointId(static_cast<std::uint16_t>(100 + pod)); }
    std::uint64_t counted(std::uint8_t reason, std::uint8_t direction);
    // What the ring had no room for, on all CPUs; slot: EVENT_LOST_DNS, else an event's type.
    std::uint64_t lost_events(std::uint32_t slot);
    // What was told since the last call; DNS messages only with dns_events().
    std::vector<flow_event> events();
    struct DnsEvent {
        flow_event flow{};
        std::string message;
    };
    std::vector<DnsEvent> dns_events();

    static MacAddress pod_mac(int pod);
    static MacAddress node_mac(int pod);

    int map(const std::string& name);
    int program(const std::string& name);

private:
    void add_endpoint(int pod);
    void add_host(const char* address);
    void read_ring();
    BpfObject object_;
    std::vector<flow_event> events_;
    std::vector<DnsEvent> dns_events_;
    std::optional<Generations> generations_;
    std::optional<PolicySlabs> slabs_;
};

}  // namespace axo::test
