// Attaching XDP programs to devices by pinned links (Linux 5.9). Device indices are those of the calling thread's
// network namespace. A device has room for one program: somebody else's is an error (EBUSY). Thread: any one at a time.
#pragma once

#include <string>

#include "base/result.h"
#include "kernel/bpf_link.h"

namespace axo {

enum class XdpMode {
    kNone,
    kNative,   // in the driver, before there is an skb
    kGeneric,  // in the stack, slowly
};

struct XdpAttachment {
    IfIndex device;
    std::string device_name;
    XdpMode mode = XdpMode::kNative;
    std::string program_name;
    int program_fd = -1;
    std::string pin_path;
};

// Idempotent; a link of another mode is made anew. kUnimplemented: the driver has no native XDP.
Result<AttachOutcome> attach_xdp(const XdpAttachment& attachment);
// Absent: success.
Status detach_xdp(const std::string& pin_path);
// What runs on a device, whoever attached it.
Result<XdpMode> xdp_mode(IfIndex device);

}  // namespace axo
