// Attaching XDP programs to devices by pinned links (Linux 5.9). Device indices are those of the calling thread's
// network namespace. A device has room for one program: somebody else's is an error (EBUSY). Thread: any one at a time.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "base/fd.h"
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
// Does the driver take frames that XDP programs redirect to it, at this moment? Of a veth pair: while the other end
// polls (runs XDP, or has GRO on). Nothing: the kernel does not tell (before 6.3).
Result<std::optional<bool>> takes_xdp_frames(IfIndex device);

// Tells that XDP features of a device have changed, of the namespace it was opened in. Thread: one at a time.
class XdpFeatureMonitor {
public:
    // Nothing: the kernel does not tell (before 6.3).
    static Result<std::optional<XdpFeatureMonitor>> open();
    [[nodiscard]] int fd() const { return socket_.get(); }
    // Does not block. The devices that have changed since the last call; nothing: more than could be told.
    std::optional<std::set<IfIndex>> drain();

private:
    explicit XdpFeatureMonitor(Fd socket) : socket_(std::move(socket)) {}
    Fd socket_;
};

}  // namespace axo
