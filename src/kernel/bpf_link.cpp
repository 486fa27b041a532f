#include "kernel/bpf_link.h"

#include <bpf/bpf.h>

#include <array>
#include <cstring>

#include "kernel/pinned_link.h"
#include "kernel/tc_filter.h"

namespace axo {
namespace {

// enum bpf_attach_type and enum bpf_link_type of include/uapi/linux/bpf.h since Linux 6.6; Debian 12's
// headers are older.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
constexpr std::uint32_t kLinkTypeTcx = 11;

bpf_attach_type attach_type(TcDirection direction) {
    return direction == TcDirection::kIngress ? kTcxIngress : kTcxEgress;
}

std::string attachment_text(const TcAttachment& attachment) {
    return "program " + attachment.program_name + " on " + attachment.device_name +
           (attachment.direction == TcDirection::kIngress ? " ingress" : " egress");
}

struct TcxLink {
    std::uint32_t device = 0;  // 0: the device is gone
    std::uint32_t attach_type = 0;
};

// struct { __u32 ifindex; __u32 attach_type; } tcx, in the union that old headers know as xdp. Nothing: another type.
std::optional<TcxLink> tcx_link(const bpf_link_info& info) {
    if (info.type != kLinkTypeTcx) return std::nullopt;
    std::array<std::uint32_t, 2> tcx{};
    std::memcpy(tcx.data(), &info.xdp, sizeof(tcx));
    return TcxLink{tcx[0], tcx[1]};
}

Result<AttachOutcome> attach_tcx(const TcAttachment& attachment) {
    const int type = attach_type(attachment.direction);
    return attach_pinned({
        .what = attachment_text(attachment),
        .pin_path = attachment.pin_path,
        .program_fd = attachment.program_fd,
        .is_same_place =
            [&](const bpf_link_info& info) {
                const auto link = tcx_link(info);
                return link && link->device == attachment.device.value &&
                       link->attach_type == static_cast<std::uint32_t>(type);
            },
        .create =
            [&] {
                return bpf_link_create(attachment.program_fd, static_cast<int>(attachment.device.value),
                                       attach_type(attachment.direction), nullptr);
            },
    });
}

}  // namespace

Result<std::uint32_t> program_id(int program_fd) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(program_fd, &info, &size) != 0) return fail_errno("read the id of a BPF program");
    return info.id;
}

Result<std::optional<std::uint32_t>> linked_program_id(const std::string& pin_path) {
    TRY_ASSIGN(const auto info, pinned_link_info(pin_path));
    if (!info) return std::nullopt;
    return info->prog_id;
}

Result<std::optional<IfIndex>> linked_device(const std::string& pin_path) {
    TRY_ASSIGN(const auto info, pinned_link_info(pin_path));
    if (!info) return std::nullopt;
    const auto link = tcx_link(*info);
    return IfIndex(link ? link->device : 0);
}

Result<AttachOutcome> attach_tc(const TcAttachment& attachment, AttachMode mode) {
    auto program = program_id(attachment.program_fd);
    if (!program) {
        return forward_error(std::move(program).error().with_context("attach " + attachment_text(attachment)));
    }
    return mode == AttachMode::kTcx ? attach_tcx(attachment) : attach_filter(attachment, *program);
}

Status detach_tc(const TcAttachment& attachment, AttachMode mode) {
    if (mode == AttachMode::kLegacyTc) return detach_filter(attachment);
    return detach_pinned(attachment_text(attachment), attachment.pin_path);
}

}  // namespace axo
