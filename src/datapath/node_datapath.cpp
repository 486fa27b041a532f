#include "datapath/node_datapath.h"

#include <bpf/libbpf.h>
#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "datapath/flow_ends.h"
#include "datapath/owner.h"
#include "datapath/pins.h"
#include "datapath/program_config.h"
#include "datapath/socket_lb.h"
#include "datapath/xdp.h"

namespace axo {
namespace {

constexpr auto kCheckInterval = std::chrono::seconds(30);
// Established flows keep their old way for this long after a route changed; a burst of changes costs one bump.
constexpr auto kSettle = std::chrono::milliseconds(30);
// Longer than the gaps between the ADDs of a burst.
constexpr auto kAfterAdds = std::chrono::milliseconds(300);
// 50 wake-ups a second while idle, and nobody who watches events sees the delay.
constexpr auto kEventInterval = std::chrono::milliseconds(20);

const Logger& log() {
    static const Logger logger("datapath");
    return logger;
}

bool pod_device(const Link& link) {
    return link.name.starts_with("lxc") || link.name.starts_with("tmp");
}

// What of the decisions others have built upon.
bool same_for_others(const DatapathDecisions& a, const DatapathDecisions& b) {
    return a.device_mtu == b.device_mtu && a.route_mtu == b.route_mtu && a.node_ipv4 == b.node_ipv4 &&
           a.node_ipv6 == b.node_ipv6 && a.tunnel_fast_path == b.tunnel_fast_path &&
           a.underlay_ipv6 == b.underlay_ipv6 &&
           std::ranges::equal(a.devices, b.devices, [](const NativeDevice& x, const NativeDevice& y) {
               return x.name == y.name && x.link == y.link && x.mtu == y.mtu && x.addresses == y.addresses;
           });
}

}  // namespace

NodeDatapath::NodeDatapath(EventLoop& loop, const DatapathSettings& settings, const KernelFeatures& features,
                           Netlink netlink, NetlinkMonitor monitor)
    : loop_(loop),
      settings_(settings),
      features_(features),
      netlink_(std::move(netlink)),
      monitor_(std::move(monitor)) {}

NodeDatapath::~NodeDatapath() {
    events_.reset();
    const std::lock_guard lock(sink_->mutex);
    sink_->callback = nullptr;
}

Status NodeDatapath::bring_up() {
    TRY_ASSIGN(const NodeNetwork network, read_node_network(netlink_));
    TRY_ASSIGN(DatapathDecisions decisions,
               decide_datapath(settings_, features_, network, started_ ? &decisions_ : nullptr));
    TRY_ASSIGN(BaseDevices devices, ensure_base_devices(netlink_, network, settings_, decisions));
    report_.devices_created += devices.created;
    const bool others_care =
        started_ && (!same_for_others(decisions, decisions_) || devices.host.index != devices_.host.index);
    decisions_ = std::move(decisions);
    devices_ = std::move(devices);

    const std::vector<SharedMap> maps = shared_maps(settings_);
    ProgramConfig config = make_program_config(settings_, features_, decisions_, devices_);
    TRY_ASSIGN(config.sock, make_sock_config(settings_, features_));
    config.xdp = make_xdp_config(settings_, decisions_.devices);
    // Pins that somebody removed while we run are made again from our own references, without loading anything.
    if (programs_) {
        for (const auto& [name, program] : programs_->programs) {
            const std::string path = settings_.paths.programs(programs_->digest) + "/" + name;
            std::error_code error;
            if (!std::filesystem::exists(path, error)) TRY(pin(program.fd.get(), path));
        }
    }
    TRY_ASSIGN(ProgramSet programs, adopt_or_load(settings_.paths, shipped_objects(settings_), config, maps));
    TRY(use_programs(std::move(programs)));
    TRY(attach_node());
    TRY(remove_other_devices(settings_.paths, node_attachments(settings_.paths, decisions_, devices_), network.links,
                             decisions_.attach_mode));
    if (others_care) {
        generations_->bump_node();
        if (changed_) changed_();
    }
    return {};
}

Status NodeDatapath::use_programs(ProgramSet programs) {
    const bool first = !programs_;
    const bool loaded = programs.loaded;
    programs_ = std::move(programs);
    if (first) {
        report_.programs_loaded = loaded;
        report_.maps_created = programs_->maps_created.size();
        report_.maps_adopted = programs_->maps_adopted;
    }
    if (first || loaded) TRY(open_maps());
    if (loaded && !first)
        log().warn("Programs loaded again: the node's devices or the pins have changed",
                   {{"digest", programs_->digest}});
    return {};
}

Status NodeDatapath::open_maps() {
    const BpfPaths& paths = settings_.paths;
    TRY_ASSIGN(endpoints_, EndpointMap::open(paths.map(map_name::kEndpoints)));
    TRY_ASSIGN(endpoint_devices_, EndpointDeviceMap::open(paths.map(map_name::kEndpointDevices)));
    TRY_ASSIGN(ipcache_, IpcacheMap::open(paths.map(map_name::kIpcache)));
    TRY_ASSIGN(generations_, Generations::open(paths.map(map_name::kGenerations)));
    TRY_ASSIGN(FlowMaps flows, FlowMaps::open(settings_.ipv4 ? paths.map(map_name::kFlows4) : "",
                                              settings_.ipv6 ? paths.map(map_name::kFlows6) : ""));
    // Others hold references, and a pass on the pool may be under way: replaced only when it really is another map.
    if (!flows_) {
        flows_ = std::make_shared<FlowMaps>(std::move(flows));
    } else if (flows.v4().raw().info().id != flows_->v4().raw().info().id ||
               flows.v6().raw().info().id != flows_->v6().raw().info().id) {
        *flows_ = std::move(flows);
    }
    // Opened once: others hold on to it, and it knows which of its rows are in use.
    if (!policy_) {
        TRY_ASSIGN(policy_, PolicySlabs::open(paths.map(map_name::kPolicySlabs), settings_.policy_max_bytes));
    }
    TRY_ASSIGN(metrics_, MetricsMap::open(paths.map(map_name::kMetrics)));
    TRY_ASSIGN(events_lost_, RawBpfMap::open_pinned(paths.map(map_name::kEventsLost)));
    return {};
}

Status NodeDatapath::attach_node() {
    AttachCounts counts;
    TRY(attach_all(node_attachments(settings_.paths, decisions_, devices_), *programs_, decisions_.attach_mode,
                   counts));
    if (settings_.services.sockets.enabled) {
        TRY(attach_sockets(settings_.paths, settings_.services.sockets.cgroup_root, *programs_, counts));
    } else {
        TRY(detach_sockets(settings_.paths));
    }
    TRY_ASSIGN(auto xdp_devices,
               attach_xdp_devices(settings_.paths, settings_.services, decisions_.devices, *programs_, counts));
    for (const XdpDevice& device : xdp_devices) {
        const auto before = std::ranges::find(xdp_devices_, device.name, &XdpDevice::name);
        if (!device.note.empty() && (before == xdp_devices_.end() || before->note != device.note))
            log().warn("No native XDP on this device", {{"device", device.name}, {"reason", device.note}});
    }
    xdp_devices_ = std::move(xdp_devices);
    for (const auto& [id, pod] : pods_) {
        // A pod's device may go at any moment, before its endpoint does; the others go on.
        const auto wanted = endpoint_attachments(settings_.paths, id, pod.device, pod.link);
        if (auto done = attach_all(wanted, *programs_, mode_of(pod), counts); !done) {
            log().warn("Endpoint's programs are not attached",
                       {{"endpoint", id.to_string()}, {"device", pod.device}, done.error()});
        }
    }
    if (!started_) {
        report_.links_attached += counts.attached;
        report_.links_updated += counts.updated;
        report_.links_adopted += counts.adopted;
    } else if (counts.attached + counts.updated > 0) {
        generations_->bump_node();
        log().info("Programs attached again", {{"attached", counts.attached}, {"updated", counts.updated}});
    }
    if (programs_->loaded) {
        // A pod that is not known yet keeps running its old programs through its link; their pins are not needed for
        // that.
        TRY(remove_other_sets(settings_.paths, programs_->digest));
        TRY(remove_set_aside(settings_.paths, shared_maps(settings_)));
        programs_->loaded = false;
    }
    return {};
}

Status NodeDatapath::start_controllers(ControllerRegistry& registry) {
    started_ = true;
    collector_ = std::make_unique<FlowCollector>(loop_, registry, flows_, settings_.flow_map_max);
    check_ =
        std::make_unique<Controller>(loop_, registry, "datapath-check", [this] { return check(); }, kCheckInterval);
    TRY_ASSIGN(fingerprint_, network_fingerprint());
    readable_ = loop_.on_readable(monitor_.fd(), [this] {
        monitor_.drain();
        if (settle_) return;
        settle_ = loop_.after(kSettle, [this] {
            settle_ = {};
            network_changed();
        });
    });
    if (settings_.services.xdp()) {
        TRY_ASSIGN(xdp_monitor_, XdpFeatureMonitor::open());
    }
    if (xdp_monitor_) {
        xdp_features_ = loop_.on_readable(xdp_monitor_->fd(), [this] {
            const auto changed = xdp_monitor_->drain();
            const auto concerns = [&changed](const NativeDevice& device) { return changed->contains(device.link); };
            if (!changed || std::ranges::any_of(decisions_.devices, concerns)) check_->trigger();
        });
    }
    return {};
}

Status NodeDatapath::check() {
    return bring_up();
}

// Pods' devices come and go all the time and are covered by their endpoints' own generations; anything else that moved
// may have changed the way of any flow.
void NodeDatapath::network_changed() {
    auto fingerprint = network_fingerprint();
    if (!fingerprint) {
        log().warn("Network changes cannot be followed", {fingerprint.error()});
    } else if (*fingerprint == fingerprint_) {
        return;
    } else {
        fingerprint_ = std::move(*fingerprint);
    }
    generations_->bump_node();
    check_->trigger();
}

Result<std::string> NodeDatapath::network_fingerprint() {
    TRY_ASSIGN(const NodeNetwork network, read_node_network(netlink_));
    TRY_ASSIGN(const auto rules, netlink_.rules());
    std::string all;
    std::map<IfIndex, bool> of_pod;
    const auto add = [&all](const auto&... parts) { ((all += parts + std::string(" ")), ...); };
    for (const Link& link : network.links) {
        of_pod[link.index] = pod_device(link);
        if (pod_device(link)) continue;
        add(link.index.to_string(), link.name, link.mac.to_string(), std::to_string(link.mtu), std::to_string(link.up),
            link.master.to_string());
    }
    for (const InterfaceAddress& address : network.addresses) {
        if (of_pod[address.link]) continue;
        add(address.link.to_string(), address.address.to_string(), std::to_string(address.prefix_length));
    }
    for (const Route& route : network.routes) {
        if (of_pod[route.link]) continue;
        add(route.destination.to_string(), route.gateway ? route.gateway->to_string() : std::string("-"),
            route.link.to_string(), std::to_string(route.table), std::to_string(route.type),
            std::to_string(route.priority), std::to_string(route.mtu));
    }
    for (const Rule& rule : rules) {
        add(std::to_string(rule.priority), std::to_string(rule.mark), std::to_string(rule.mask),
            std::to_string(rule.table));
    }
    return sha256_hex(all);
}

AttachMode NodeDatapath::mode_of(const PodDevice& pod) const {
    return pod.promoted ? decisions_.attach_mode : AttachMode::kLegacyTc;
}

Status NodeDatapath::attach_endpoint(EndpointId id, const std::string& device, IfIndex link) {
    const auto wanted = endpoint_attachments(settings_.paths, id, device, link);
    PodDevice pod{.device = device, .link = link, .promoted = decisions_.attach_mode == AttachMode::kLegacyTc};
    if (!pod.promoted) {
        // Promoted by an earlier run, or in this one. A link of a device that is gone, or of another one, does not
        // count.
        pod.promoted = true;
        for (const WantedAttachment& one : wanted) {
            TRY_ASSIGN(const auto linked, linked_device(one.pin_directory + "/" + one.program));
            pod.promoted = pod.promoted && linked == link;
        }
    }
    AttachCounts counts;
    if (auto done = attach_all(wanted, *programs_, mode_of(pod), counts); !done) {
        return std::unexpected(std::move(done).error().with_context("endpoint " + id.to_string() + " on " + device));
    }
    add_to_report(counts);
    if (!pod.promoted) promote_later();
    pods_[id] = std::move(pod);
    return {};
}

void NodeDatapath::add_to_report(const AttachCounts& counts) {
    report_.links_attached += counts.attached;
    report_.links_updated += counts.updated;
    report_.links_adopted += counts.adopted;
}

void NodeDatapath::promote_later() {
    promote_ = loop_.after(kAfterAdds, [this] { promote_next(); });
}

void NodeDatapath::promote_next() {
    promote_ = {};  // its timer has fired; while one is under way, its end goes on
    const auto next =
        std::ranges::find_if(pods_, [](const auto& pod) { return !pod.second.promoted && !pod.second.refused; });
    if (next == pods_.end() || promoting_) return;
    promoting_ = true;
    const auto& [id, pod] = *next;
    auto programs = std::make_shared<ProgramFds>();
    const auto wanted = endpoint_attachments(settings_.paths, id, pod.device, pod.link);
    for (const WantedAttachment& one : wanted)
        programs->emplace(one.program, Fd(::fcntl(programs_->at(one.program).fd.get(), F_DUPFD_CLOEXEC, 3)));
    loop_.run_blocking([wanted, programs] { return link_programs(wanted, *programs); },
                       [this, alive = std::weak_ptr<bool>(alive_), id, link = pod.link](const Status& outcome) {
                           if (alive.expired()) return;
                           promoting_ = false;
                           promoted(id, link, outcome);
                           if (!promote_) promote_ = loop_.after(Duration{0}, [this] { promote_next(); });
                       });
}

void NodeDatapath::promoted(EndpointId id, IfIndex link, const Status& outcome) {
    const auto found = pods_.find(id);
    if (found == pods_.end() || found->second.link != link) {
        // It went while the links were made; what they pinned is nobody's.
        if (auto removed = remove_link_directory(endpoint_directory(id)); !removed)
            log().warn("Links of a deleted endpoint remain", {{"endpoint", id.to_string()}, removed.error()});
        if (found != pods_.end()) promote_later();
        return;
    }
    PodDevice& pod = found->second;
    Status done = outcome;
    if (done) {
        pod.promoted = true;
        // The programs may have been replaced while the links were made.
        AttachCounts ignored;
        done = attach_all(endpoint_attachments(settings_.paths, id, pod.device, pod.link), *programs_,
                          decisions_.attach_mode, ignored);
        if (done) done = remove_filters({.index = pod.link, .name = pod.device});
    }
    if (done) return;
    pod.refused = !pod.promoted;  // it works as it is; the next start tries again
    if (netlink_.link(link)) {
        log().warn("Endpoint's programs stay attached by clsact",
                   {{"endpoint", id.to_string()}, {"device", pod.device}, done.error()});
    }
}

std::string NodeDatapath::endpoint_directory(EndpointId id) const {
    return std::filesystem::path(settings_.paths.endpoint_links(id)).parent_path().string();
}

Status NodeDatapath::detach_endpoint(EndpointId id) {
    const auto pod = pods_.extract(id);
    TRY(remove_link_directory(endpoint_directory(id)));
    if (!pod || pod.mapped().promoted != (decisions_.attach_mode == AttachMode::kLegacyTc)) return {};
    // The device is usually gone already, or another one has its index.
    const auto link = netlink_.link(pod.mapped().link);
    if (link && link->name == pod.mapped().device) return remove_filters(*link);
    return {};
}

Status NodeDatapath::prune_endpoints(const std::vector<EndpointId>& known) {
    std::error_code error;
    std::vector<std::string> unknown;
    for (const auto& entry : std::filesystem::directory_iterator(settings_.paths.state() + "/endpoints", error)) {
        const std::string name = entry.path().filename().string();
        if (std::ranges::none_of(known, [&name](EndpointId id) { return id.to_string() == name; }))
            unknown.push_back(entry.path().string());
    }
    for (const std::string& path : unknown) {
        TRY(remove_link_directory(path));
        log().info("Programs of an unknown endpoint detached", {{"path", path}});
    }
    return {};
}

Status NodeDatapath::start_events(EventCallback callback) {
    if (events_) return fail(Code::kAlreadyExists, "events have a subscriber already");
    TRY_ASSIGN(const RawBpfMap ring, RawBpfMap::open_pinned(settings_.paths.map(map_name::kEvents)));
    {
        const std::lock_guard lock(sink_->mutex);
        sink_->callback = std::move(callback);
    }
    TRY_ASSIGN(events_,
               RingBufferReader::start(ring.fd(), kEventInterval,
                                       [sink = sink_, collector = collector_.get()](std::span<const std::byte> record) {
                                           if (record.size() < sizeof(flow_event)) return;
                                           flow_event event{};
                                           std::memcpy(&event, record.data(), sizeof(event));
                                           if (event.type == EVENT_DROP && event.subtype == DROP_CT_CREATE_FAILED)
                                               collector->hurry();
                                           sink->tell(event, record.subspan(sizeof(event)));
                                       }));
    if (!settings_.trace_events || !collector_) return {};
    collector_->set_ended([sink = sink_](const FlowRow& row) {
        const auto now = std::chrono::steady_clock::now().time_since_epoch();  // CLOCK_MONOTONIC
        tell_end(row, static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count()),
                 [&](const flow_event& event) { sink->tell(event); });
    });
    return {};
}

std::uint64_t NodeDatapath::events_lost() const {
    std::uint64_t lost = 0;
    const std::size_t bytes = events_lost_.value_bytes();
    const auto summed = events_lost_.for_each([&](const void*, const void* value) {
        for (std::size_t at = 0; at + sizeof(std::uint64_t) <= bytes; at += sizeof(std::uint64_t)) {
            std::uint64_t one = 0;
            std::memcpy(&one, static_cast<const char*>(value) + at, sizeof(one));
            lost += one;
        }
    });
    if (!summed) log().warn("Lost events cannot be counted", {summed.error()});
    return lost;
}

Result<std::vector<Datapath::MapUsage>> NodeDatapath::map_usage() {
    std::vector<MapUsage> usage;
    for (const SharedMap& map : shared_maps(settings_)) {
        TRY_ASSIGN(const RawBpfMap pinned, RawBpfMap::open_pinned(settings_.paths.map(map.name)));
        MapUsage row{.name = map.name, .max_entries = pinned.info().max_entries};
        TRY_ASSIGN(row.bytes, pinned.memory_bytes());
        const std::uint32_t type = pinned.info().type;
        if (map.name == map_name::kPolicySlabs) {
            const PolicySlabs::Usage slabs = policy_->usage();
            row.bytes += slabs.bytes;
            row.entries = slabs.images;
        } else if (type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY) {
            row.entries = pinned.info().max_entries;
            row.fixed = true;
        } else if (type != BPF_MAP_TYPE_RINGBUF && type != BPF_MAP_TYPE_ARRAY_OF_MAPS &&
                   type != BPF_MAP_TYPE_SK_STORAGE) {
            TRY_ASSIGN(row.entries, pinned.count());
        }
        usage.push_back(std::move(row));
    }
    return usage;
}

Result<std::unique_ptr<Datapath>> Datapath::start(EventLoop& loop, ControllerRegistry& registry,
                                                  const DatapathSettings& settings, const KernelFeatures& features) {
    TRY(ensure_bpffs(settings.paths.root));
    TRY(claim_bpf_root(settings.paths, settings.owner));
    TRY_ASSIGN(Netlink netlink, Netlink::open());
    TRY_ASSIGN(NetlinkMonitor monitor, NetlinkMonitor::open());
    auto datapath = std::make_unique<NodeDatapath>(loop, settings, features, std::move(netlink), std::move(monitor));
    TRY(datapath->bring_up());
    TRY(datapath->start_controllers(registry));
    const DatapathStartReport& report = datapath->start_report();
    log().info("Datapath is up", {{"programs", report.programs_loaded ? "loaded" : "adopted"},
                                  {"mapsCreated", report.maps_created},
                                  {"mapsAdopted", report.maps_adopted},
                                  {"linksAttached", report.links_attached},
                                  {"linksUpdated", report.links_updated},
                                  {"linksAdopted", report.links_adopted},
                                  {"devicesCreated", report.devices_created}});
    return datapath;
}

Status Datapath::remove_everything(const BpfPaths& paths) {
    Status first;
    const auto note = [&first](Status outcome) {
        if (!outcome && first) first = std::move(outcome);
    };
    // Links first: while programs run, what they use must be there.
    note(detach_sockets(paths));
    note(detach_xdp_devices(paths));
    for (const char* part : {"/devices", "/endpoints", "/programs"}) note(remove_link_directory(paths.state() + part));
    if (auto netlink = Netlink::open(); netlink) {
        if (const auto links = netlink->links(); links) {
            for (const Link& link : *links) {
                if (!link.loopback) note(remove_filters(link));
            }
        } else {
            note(std::unexpected(links.error()));
        }
        note(remove_base_devices(*netlink));
    } else {
        note(std::unexpected(netlink.error()));
    }
    for (const std::string& pin : list_pins(paths)) note(remove_file(pin));
    note(remove_link_directory(paths.state()));
    // Only if nobody else uses them.
    std::error_code ignored;
    std::filesystem::remove(paths.globals(), ignored);
    std::filesystem::remove(paths.root + "/tc", ignored);
    return first;
}

}  // namespace axo
