#include "app/agent/datapath_port.h"

#include <unordered_set>

#include "base/log.h"
#include "kernel/netlink.h"

namespace axo {

DatapathPort::DatapathPort(EventLoop& loop, Datapath& datapath) : loop_(loop), datapath_(datapath) {}

Status DatapathPort::attach(const EndpointRow& endpoint) {
    return datapath_.attach_endpoint(endpoint.id, endpoint.interface_name, endpoint.link);
}

void DatapathPort::remove_device(const EndpointRow& endpoint, std::function<void(Status)> done) {
    removals_.push_back({endpoint.interface_name, endpoint.link, std::move(done)});
    if (!removing_) remove_next();
}

// One at a time: the kernel does no two at once, and the pool has other work.
void DatapathPort::remove_next() {
    removing_ = !removals_.empty();
    if (!removing_) return;
    auto removal = std::make_shared<Removal>(std::move(removals_.front()));
    removals_.pop_front();
    loop_.run_blocking(
        [removal]() -> Status {
            TRY_ASSIGN(Netlink netlink, Netlink::open());
            const auto present = netlink.link(removal->link);
            if (!present || present->name != removal->name) return {};
            Status removed = netlink.remove_link(removal->name);
            // The runtime may have taken the pod's namespace away meanwhile, and the pair with it.
            if (!removed && !netlink.link(removal->link)) return {};
            return removed;
        },
        [this, alive = std::weak_ptr<bool>(alive_), removal](Status status) {
            if (alive.expired()) return;
            removal->done(std::move(status));
            remove_next();
        });
}

Reconciler<IpAddress, LocalEndpoint>::Operations DatapathPort::addresses() {
    auto& map = datapath_.endpoints();
    auto written = std::make_shared<std::vector<IpAddress>>();
    return {.list = [&map] { return map.list(); },
            .put = [&map, written](const IpAddress& ip, const LocalEndpoint& endpoint) -> Status {
                TRY(map.put(ip, endpoint));
                written->push_back(ip);
                return {};
            },
            .remove = [&map, written](const IpAddress& ip) -> Status {
                TRY(map.remove(ip));
                written->push_back(ip);
                return {};
            },
            .describe = [](const IpAddress& ip) { return ip.to_string(); },
            .committed =
                [this, written] {
                    for (const IpAddress& ip : *written) datapath_.generations().bump_address(ip);
                    written->clear();
                }};
}

Reconciler<IfIndex, DeviceEndpoint>::Operations DatapathPort::devices() {
    auto& map = datapath_.endpoint_devices();
    return {.list = [&map] { return map.list(); },
            .put = [&map](const IfIndex& link, const DeviceEndpoint& endpoint) { return map.put(link, endpoint); },
            .remove = [&map](const IfIndex& link) { return map.remove(link); },
            .describe = [](const IfIndex& link) { return "interface " + link.to_string(); },
            .committed = {}};
}

void DatapathPort::bump(const EndpointRow& endpoint) {
    Generations& generations = datapath_.generations();
    generations.bump_endpoint(endpoint.id);
    if (endpoint.ipv4) generations.bump_address(endpoint.ipv4);
    if (endpoint.ipv6) generations.bump_address(endpoint.ipv6);
}

void DatapathPort::forget_flows(const std::set<IpAddress>& addresses) {
    forgotten_.insert(addresses.begin(), addresses.end());
    if (!collecting_) collect();
}

// One pass over the table for however many endpoints went since the last pass began.
void DatapathPort::collect() {
    if (forgotten_.empty()) return;
    collecting_ = true;
    auto gone = std::make_shared<std::unordered_set<IpAddress>>(forgotten_.begin(), forgotten_.end());
    forgotten_.clear();
    const FlowMaps& flows = datapath_.flows();
    loop_.run_blocking(
        [gone, &flows]() -> Status {
            auto done = flows.collect(FlowMaps::now_tick(), [&gone](const FlowRow& row) {
                return gone->contains(row.source) || gone->contains(row.destination);
            });
            if (!done) return forward_error(std::move(done).error());
            return {};
        },
        [this, alive = std::weak_ptr<bool>(alive_)](const Status& status) {
            if (alive.expired()) return;
            if (!status)
                Logger("datapath")
                    .warn("Flows of deleted endpoints are not collected yet; they expire", {status.error()});
            collecting_ = false;
            collect();
        });
}

}  // namespace axo
