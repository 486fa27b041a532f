// bpf/hooks/xdp.bpf.c on the uplinks. Links are pinned beside those of the devices' tc programs. Thread: one at a time.
#pragma once

#include <vector>

#include "datapath/attachments.h"
#include "datapath/datapath.h"
#include "datapath/programs.h"

namespace axo {

xdp_config make_xdp_config(const DatapathSettings& settings);
// Brings all native devices to what the settings ask for, and tells the programs which of them take each other's
// frames. bpf-lb-acceleration=native: a device whose driver has no native XDP is an error (kFailedPrecondition);
// best-effort: it goes without. The prefilter alone takes the kernel's slow XDP there.
Result<std::vector<Datapath::XdpDevice>> attach_xdp_devices(const BpfPaths& paths, const ServiceSettings& settings,
                                                            const std::vector<NativeDevice>& devices,
                                                            const ProgramSet& programs, AttachCounts& counts);
// All links below <state>/devices, and the maps that only this program uses.
Status detach_xdp_devices(const BpfPaths& paths);

}  // namespace axo
