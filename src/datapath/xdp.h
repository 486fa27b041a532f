// bpf/hooks/xdp.bpf.c on the uplinks. Links are pinned beside those of the devices' tc programs. Thread: one at a time.
#pragma once

#include <vector>

#include "datapath/attachments.h"
#include "datapath/datapath.h"
#include "datapath/programs.h"

namespace axo {

xdp_config make_xdp_config(const DatapathSettings& settings, const std::vector<NativeDevice>& devices);
// Brings all native devices to what the settings ask for, and tells the programs how frames leave by them.
// bpf-lb-acceleration=native: a device that has no native XDP, or is an end of a veth pair whose other end takes no
// frames, is an error (kFailedPrecondition); best-effort: it goes without. The prefilter alone takes the kernel's slow
// XDP where there is no other.
Result<std::vector<Datapath::XdpDevice>> attach_xdp_devices(const BpfPaths& paths, const ServiceSettings& settings,
                                                            const std::vector<NativeDevice>& devices,
                                                            const ProgramSet& programs, AttachCounts& counts);
// All links below <state>/devices, and the maps that only this program uses.
Status detach_xdp_devices(const BpfPaths& paths);

}  // namespace axo
