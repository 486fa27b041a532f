// What the endpoint manager needs from the datapath and from other features; wired by the agent, faked by tests.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "features/endpoint/pods.h"
#include "features/endpoint/types.h"
#include "maps/endpoint_map.h"
#include "runtime/reconciler.h"

namespace axo {

class EndpointDatapath {
public:
    virtual ~EndpointDatapath() = default;
    // The programs on the endpoint's device; idempotent.
    virtual Status attach(const EndpointRow& endpoint) = 0;
    virtual Status detach(EndpointId id) = 0;
    // The endpoint's device and with it the pod's end, if it is still the one that the row names; in the background,
    // for that takes the kernel tens of milliseconds. done runs on the loop.
    virtual void remove_device(const EndpointRow& endpoint, std::function<void(Status)> done) = 0;
    // Removes what is pinned for endpoints that are not known.
    virtual Status prune(const std::vector<EndpointId>& known) = 0;
    virtual Reconciler<IpAddress, LocalEndpoint>::Operations addresses() = 0;
    virtual Reconciler<IfIndex, DeviceEndpoint>::Operations devices() = 0;
    // After the maps have been written: flows of the endpoint and of its addresses decide again.
    virtual void bump(const EndpointRow& endpoint) = 0;
    // Flows of these addresses are forgotten, in the background.
    virtual void forget_flows(const std::set<IpAddress>& addresses) = 0;
};

struct EndpointServices {
    // Finds or allocates. kUnavailable: the store cannot be asked now.
    std::function<Task<Result<IdentityId>>(const LabelSet&)> identity_of;
    // An identity taken over from the state on disk.
    std::function<void(IdentityId, const LabelSet&)> identity_known;
    // Makes the addresses the endpoint's own; kAlreadyExists when they are somebody else's.
    std::function<Status(const EndpointRow&)> claim_addresses;
    std::function<void(const EndpointRow&)> release_addresses;
    // The endpoint's policy is in force, or closed to everything, when it returns; before any packet of it is let in or
    // out. An error: why it is closed.
    std::function<Status(const EndpointRow&)> policy;
    // The ipcache shall say what the row says, before it returns.
    std::function<void(const EndpointRow&)> row_changed;
    std::function<void(const EndpointRow&)> row_removed;
    // What is known of the pod; what the store knows of it.
    std::function<std::optional<PodLabels::Info>(const ObjectKey& pod)> pod_labels;
    std::function<Task<std::optional<PodLabels::Info>>(const ObjectKey& pod)> fetch_pod;
};

}  // namespace axo
