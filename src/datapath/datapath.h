// The orchestrator of the kernel side: which objects load where, with which configuration.
//
// start() brings the node's datapath up or adopts the one that is running: it makes the devices
// (cilium_host/cilium_net, the tunnel's), loads the programs of this build and configuration unless
// they are pinned already, attaches them to the node's devices, and opens the maps. Stopping the
// process leaves everything in place; only remove_everything takes it down.
// Thread: the loop's only.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/types.h"
#include "bpf/api/config.h"
#include "bpf/api/event.h"
#include "datapath/service_settings.h"
#include "kernel/bpf_link.h"
#include "kernel/features.h"
#include "kernel/xdp_link.h"
#include "maps/endpoint_map.h"
#include "maps/flow_map.h"
#include "maps/generations.h"
#include "maps/ipcache_map.h"
#include "maps/metrics_map.h"
#include "maps/paths.h"
#include "maps/policy_map.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"

namespace axo {

enum class RoutingMode { kTunnel, kNative };
enum class TunnelProtocol { kVxlan, kGeneve };

constexpr const char* to_string(TunnelProtocol protocol) {
    return protocol == TunnelProtocol::kVxlan ? "vxlan" : "geneve";
}

struct DatapathSettings {
    BpfPaths paths{};
    std::string owner{};  // "<cluster>/<node>": another one's datapath under the same bpf root is refused
    bool ipv4 = true;
    bool ipv6 = false;
    RoutingMode routing = RoutingMode::kTunnel;
    TunnelProtocol tunnel_protocol = TunnelProtocol::kVxlan;
    std::uint16_t tunnel_port = 8472;
    bool underlay_ipv6 = false;    // outer headers; decided from the node's addresses
    bool tunnel_fast_path = true;  // --enable-tunnel-fast-path: push headers in tc
    std::uint16_t tunnel_source_port_low = 0;
    std::uint16_t tunnel_source_port_high = 0;
    bool legacy_host_routing = false;
    bool enable_tcx = true;
    std::vector<std::string> devices{};      // native devices; wildcard "eth+"; empty: detect
    std::uint32_t mtu = 0;                   // 0: the smallest of the native devices
    IpAddress node_ipv4{}, node_ipv6{};      // underlay addresses; unset: detect from the devices
    IpAddress router_ipv4{}, router_ipv6{};  // cilium_host
    std::chrono::seconds ct_tcp{8000}, ct_any{60}, ct_tcp_syn{60}, ct_tcp_fin{10};
    bool ipv4_fragments = true, ipv6_fragments = true;
    bool extended_protocols = false;  // protocols without ports (IGMP, VRRP …) are forwarded where policy allows
    bool host_firewall = false;  // the node's own traffic is tracked and judged; see Generations::set_host_endpoint
    bool conntrack_accounting = true;
    int monitor_aggregation = TRACE_AGGREGATE_MEDIUM;
    std::chrono::nanoseconds monitor_interval = std::chrono::seconds(5);
    std::uint8_t monitor_tcp_flags = 0x07;  // FIN SYN RST
    bool drop_events = true, trace_events = true, verdict_events = true;
    bool dns_events = false;  // EVENT_DNS: the DNS messages of pods
    std::uint32_t flow_map_max = 524288;
    std::uint32_t ipcache_map_max = 512000;
    std::uint32_t endpoint_map_max = 65535;
    std::uint32_t fragment_map_max = 8192;
    std::uint32_t event_ring_bytes = 2U << 20;
    std::uint64_t policy_max_bytes = PolicySlabs::kDefaultMaxBytes;
    ServiceSettings services{};

    // Is there a tunnel at all: for pods, or with native routing for what DSR sends on?
    [[nodiscard]] bool tunnel_needed() const { return routing == RoutingMode::kTunnel || services.dsr_by_geneve(); }
};

struct NativeDevice {
    std::string name{};
    IfIndex link{};
    std::uint32_t mtu = 0;
    std::string kind{};                  // "veth", "bond", …; "" of hardware
    std::vector<IpAddress> addresses{};  // global ones
};

// What was decided from settings x kernel features, each with its reason; printed by `status --verbose`.
struct DatapathDecisions {
    AttachMode attach_mode = AttachMode::kTcx;
    bool legacy_host_routing = false;
    bool tunnel_fast_path = false;
    bool underlay_ipv6 = false;    // the tunnel's outer headers
    std::uint32_t device_mtu = 0;  // of pods' devices
    std::uint32_t route_mtu = 0;   // of routes that leave the node: device_mtu less the tunnel's overhead
    std::vector<NativeDevice> devices{};
    IpAddress node_ipv4{}, node_ipv6{};
    struct Reason {
        std::string what{};    // "Host routing"
        std::string choice{};  // "BPF"
        std::string reason{};
    };
    std::vector<Reason> reasons{};
};

// What start() found and did: an undisturbed restart reads "adopted" everywhere.
struct DatapathStartReport {
    bool programs_loaded = false;  // false: all adopted
    std::size_t maps_created = 0, maps_adopted = 0;
    std::size_t links_attached = 0, links_updated = 0, links_adopted = 0;
    std::size_t devices_created = 0;
};

class Datapath {
public:
    // Reads devices, addresses and routes of the calling thread's namespace; the rest is pure (decide.h).
    static Result<DatapathDecisions> decide(const DatapathSettings& settings, const KernelFeatures& features);
    // Errors: kFailedPrecondition when a kernel feature is missing or somebody else's datapath is there.
    static Result<std::unique_ptr<Datapath>> start(EventLoop& loop, ControllerRegistry& registry,
                                                   const DatapathSettings& settings, const KernelFeatures& features);
    virtual ~Datapath() = default;

    [[nodiscard]] virtual const DatapathDecisions& decisions() const = 0;
    [[nodiscard]] virtual const DatapathStartReport& start_report() const = 0;
    [[nodiscard]] virtual EndpointMap& endpoints() = 0;
    [[nodiscard]] virtual EndpointDeviceMap& endpoint_devices() = 0;
    [[nodiscard]] virtual IpcacheMap& ipcache() = 0;
    [[nodiscard]] virtual Generations& generations() = 0;
    [[nodiscard]] virtual PolicySlabs& policy() = 0;
    [[nodiscard]] virtual FlowMaps& flows() = 0;
    [[nodiscard]] virtual MetricsMap& metrics() = 0;
    [[nodiscard]] virtual IfIndex host_device() const = 0;    // cilium_host
    [[nodiscard]] virtual IfIndex tunnel_device() const = 0;  // 0 where no tunnel is needed

    // What runs in XDP on each native device; empty where neither acceleration nor the prefilter is wanted.
    struct XdpDevice {
        std::string name{};
        XdpMode mode = XdpMode::kNone;
        bool forwards = false;  // with acceleration: services' traffic may leave by it
        std::string note{};     // why it is not what was asked for
    };
    [[nodiscard]] virtual std::vector<XdpDevice> xdp_devices() const { return {}; }

    // Called when decisions() or the devices above have changed while running: a device or its MTU changed, or somebody
    // removed cilium_host.
    virtual void set_change_callback(std::function<void()> callback) = 0;

    // Attaches cil_from_container and cil_to_container to a pod's host-side device; idempotent. Where the kernel has
    // tcx, a new device starts with clsact filters and gets its links within seconds.
    virtual Status attach_endpoint(EndpointId id, const std::string& device, IfIndex link) = 0;
    virtual Status detach_endpoint(EndpointId id) = 0;
    // Pinned link directories of endpoints that are not in `known` are removed.
    virtual Status prune_endpoints(const std::vector<EndpointId>& known) = 0;

    // Decoded events, on the ring reader's thread. At most one subscriber (the event hub of the agent).
    // message: what stands behind an EVENT_DNS; gone after the call.
    using EventCallback = std::function<void(const flow_event&, std::span<const std::byte> message)>;
    virtual Status start_events(EventCallback callback) = 0;
    [[nodiscard]] virtual std::uint64_t events_seen() const = 0;
    [[nodiscard]] virtual std::uint64_t events_lost() const = 0;

    struct MapUsage {
        std::string name{};
        std::uint64_t bytes = 0;    // kernel memory
        std::uint64_t entries = 0;  // present
        std::uint32_t max_entries = 0;
        bool fixed = false;  // an array: all entries are always there
    };
    virtual Result<std::vector<MapUsage>> map_usage() = 0;

    // Links, pins, devices, programs of this bpf root; for uninstall and the sandbox. Goes on after a failure and
    // reports the first.
    static Status remove_everything(const BpfPaths& paths);
};

}  // namespace axo
