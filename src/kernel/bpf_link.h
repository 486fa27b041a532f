// Attaching tc programs to devices: tcx links where the kernel has them (6.6), clsact filters where not.
//
// A tcx link is pinned, survives its creator and is updated atomically in place. A legacy filter
// (prio 1, handle 1, direct action) is replaced atomically by RTM_NEWTFILTER with NLM_F_REPLACE.
// Device indices are those of the calling thread's network namespace. To change the mode of a device,
// attach in the new one, then detach in the old one: packets are seen twice for a moment, never not.
// Thread: any one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/types.h"

namespace axo {

enum class TcDirection { kIngress, kEgress };
enum class AttachMode { kTcx, kLegacyTc };

struct TcAttachment {
    IfIndex device;
    std::string device_name;  // for legacy filter names "<program>-<device>" and errors
    TcDirection direction = TcDirection::kIngress;
    std::string program_name;  // "cil_from_container"
    int program_fd = -1;
    std::string pin_path;  // tcx only: ".../links/cil_from_container"
};

struct AttachOutcome {
    bool changed = false;  // false: the very program was attached already and nothing was touched
};

// Idempotent: adopts the pinned link or existing filter if it already runs the program, updates it if not.
// A pinned link whose device is gone, or is another one, is replaced.
Result<AttachOutcome> attach_tc(const TcAttachment& attachment, AttachMode mode);
// Absent: success. A legacy filter of another name is left alone. Does not remove the device's clsact qdisc if others
// use it.
Status detach_tc(const TcAttachment& attachment, AttachMode mode);
// Id of the program the pinned link runs (also when its device is gone), or nothing when there is no such pin.
Result<std::optional<std::uint32_t>> linked_program_id(const std::string& pin_path);
// The device of the pinned tcx link; nothing when there is no such pin, 0 when its device is gone.
Result<std::optional<IfIndex>> linked_device(const std::string& pin_path);
Result<std::uint32_t> program_id(int program_fd);

}  // namespace axo
