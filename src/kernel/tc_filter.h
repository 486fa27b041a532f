// Legacy tc attachment: a clsact qdisc and one direct-action filter of priority 1 and handle 1, named
// "<program>-<device>" as Cilium names it. Private to src/kernel.
#pragma once

#include "kernel/bpf_link.h"

namespace axo {

Result<AttachOutcome> attach_filter(const TcAttachment& attachment, std::uint32_t program);
// Spares a filter of another name, and removes the qdisc only when it is empty.
Status detach_filter(const TcAttachment& attachment);

}  // namespace axo
