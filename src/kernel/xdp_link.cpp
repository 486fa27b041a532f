#include "kernel/xdp_link.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "kernel/pinned_link.h"

namespace axo {

Result<AttachOutcome> attach_xdp(const XdpAttachment& attachment) {
    const bool native = attachment.mode == XdpMode::kNative;
    const std::string what = "program " + attachment.program_name + " on " + attachment.device_name +
                             (native ? " in native XDP" : " in generic XDP");
    if (attachment.mode == XdpMode::kNone) return fail(Code::kInvalidArgument, "attach " + what + ": no mode");
    TRY_ASSIGN(const XdpMode running, xdp_mode(attachment.device));
    auto outcome = attach_pinned({
        .what = what,
        .pin_path = attachment.pin_path,
        .program_fd = attachment.program_fd,
        .is_same_place =
            [&](const bpf_link_info& info) {
                return info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == attachment.device.value &&
                       running == attachment.mode;
            },
        .create =
            [&] {
                LIBBPF_OPTS(bpf_link_create_opts, options);
                options.flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
                return bpf_link_create(attachment.program_fd, static_cast<int>(attachment.device.value), BPF_XDP,
                                       &options);
            },
    });
    if (!outcome && native && outcome.error().sys_errno == EOPNOTSUPP) outcome.error().code = Code::kUnimplemented;
    return outcome;
}

Status detach_xdp(const std::string& pin_path) {
    return detach_pinned("link " + pin_path, pin_path);
}

Result<XdpMode> xdp_mode(IfIndex device) {
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    if (const int err = bpf_xdp_query(static_cast<int>(device.value), 0, &query); err != 0)
        return fail_errno("device " + device.to_string() + ": ask for its XDP program", -err);
    switch (query.attach_mode) {
        case XDP_ATTACHED_NONE: return XdpMode::kNone;
        case XDP_ATTACHED_SKB: return XdpMode::kGeneric;
        default: return XdpMode::kNative;
    }
}

}  // namespace axo
