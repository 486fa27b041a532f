// Attaching the program set to devices, with pinned links where the kernel has them. Idempotent.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "datapath/devices.h"
#include "datapath/programs.h"
#include "kernel/bpf_link.h"

namespace axo {

struct WantedAttachment {
    std::string device{};
    IfIndex link{};
    TcDirection direction = TcDirection::kIngress;
    std::string program{};
    std::string pin_directory{};
};

struct AttachCounts {
    std::size_t attached = 0, updated = 0, adopted = 0;
};

// Native devices, the tunnel device and cilium_host/cilium_net.
std::vector<WantedAttachment> node_attachments(const BpfPaths& paths, const DatapathDecisions& decisions,
                                               const BaseDevices& devices);
// cil_from_container and cil_to_container of a pod's host-side device, in this order.
std::vector<WantedAttachment> endpoint_attachments(const BpfPaths& paths, EndpointId id, const std::string& device,
                                                   IfIndex link);

Status attach_all(const std::vector<WantedAttachment>& wanted, const ProgramSet& programs, AttachMode mode,
                  AttachCounts& counts);
// Programs by name, held apart from their set: for a thread of its own.
using ProgramFds = std::map<std::string, Fd>;
// Pinned tcx links, beside whatever else is attached. Blocks for a grace period per link. Thread: any.
Status link_programs(const std::vector<WantedAttachment>& wanted, const ProgramFds& programs);
// Link directories below <state>/devices that nothing in `wanted` uses; and, in legacy mode, filters on other devices.
Status remove_other_devices(const BpfPaths& paths, const std::vector<WantedAttachment>& wanted,
                            const std::vector<Link>& links, AttachMode mode);
// A directory of link pins with everything in it; a link whose pin goes is detached by the kernel.
Status remove_link_directory(const std::string& directory);
// All filters of ours on a device, in legacy mode.
Status remove_filters(const Link& link);

}  // namespace axo
