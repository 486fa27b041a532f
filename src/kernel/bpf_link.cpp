#include "kernel/bpf_link.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/fd.h"
#include "base/file.h"
#include "kernel/bpf_object.h"
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
    std::uint32_t program = 0;
    std::uint32_t device = 0;  // 0: the device is gone
    std::uint32_t attach_type = 0;
    bool tcx = false;
};

Result<TcxLink> tcx_link_info(int link_fd, const std::string& path) {
    bpf_link_info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(link_fd, &info, &size) != 0) return fail_errno("link " + path + ": read its properties");
    TcxLink link;
    link.program = info.prog_id;
    link.tcx = info.type == kLinkTypeTcx;
    // struct { __u32 ifindex; __u32 attach_type; } tcx, in the union that old headers know as xdp.
    std::array<std::uint32_t, 2> tcx{};
    std::memcpy(tcx.data(), &info.xdp, sizeof(tcx));
    link.device = tcx[0];
    link.attach_type = tcx[1];
    return link;
}

// Nothing when there is no such pin.
Result<std::optional<TcxLink>> pinned_link(const std::string& path) {
    auto pinned = open_pin(path);
    if (!pinned) {
        if (pinned.error().code == Code::kNotFound) return std::nullopt;
        return forward_error(std::move(pinned).error());
    }
    TRY_ASSIGN(const TcxLink link, tcx_link_info(pinned->get(), path));
    return link;
}

Status create_tcx(const TcAttachment& attachment) {
    const std::string what = "attach " + attachment_text(attachment);
    const Fd link(bpf_link_create(attachment.program_fd, static_cast<int>(attachment.device.value),
                                  attach_type(attachment.direction), nullptr));
    if (!link) return fail_errno(what);
    if (Status status = pin(link.get(), attachment.pin_path); !status) {
        return forward_error(std::move(status).error().with_context(what));
    }
    return {};
}

Result<AttachOutcome> attach_tcx(const TcAttachment& attachment, std::uint32_t program) {
    if (attachment.pin_path.empty()) {
        return fail(Code::kInvalidArgument, "attach " + attachment_text(attachment) + ": a tcx link needs a pin path");
    }
    auto pinned = open_pin(attachment.pin_path);
    if (!pinned && pinned.error().code != Code::kNotFound) return forward_error(std::move(pinned).error());
    if (pinned) {
        TRY_ASSIGN(const TcxLink link, tcx_link_info(pinned->get(), attachment.pin_path));
        if (link.tcx && link.device == attachment.device.value &&
            link.attach_type == static_cast<std::uint32_t>(attach_type(attachment.direction))) {
            if (link.program == program) return AttachOutcome{.changed = false};
            if (bpf_link_update(pinned->get(), attachment.program_fd, nullptr) == 0)
                return AttachOutcome{.changed = true};
            // ENOLINK: the device went away since.
            if (errno != ENOLINK) return fail_errno("update " + attachment_text(attachment));
        }
        // Of a device that is gone, or was replaced by one of the same name.
        TRY(remove_file(attachment.pin_path));
    }
    TRY(create_tcx(attachment));
    return AttachOutcome{.changed = true};
}

}  // namespace

Result<std::uint32_t> program_id(int program_fd) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(program_fd, &info, &size) != 0) return fail_errno("read the id of a BPF program");
    return info.id;
}

Result<std::optional<std::uint32_t>> linked_program_id(const std::string& pin_path) {
    TRY_ASSIGN(const auto link, pinned_link(pin_path));
    if (!link) return std::nullopt;
    return link->program;
}

Result<std::optional<IfIndex>> linked_device(const std::string& pin_path) {
    TRY_ASSIGN(const auto link, pinned_link(pin_path));
    if (!link) return std::nullopt;
    return IfIndex(link->tcx ? link->device : 0);
}

Result<AttachOutcome> attach_tc(const TcAttachment& attachment, AttachMode mode) {
    auto program = program_id(attachment.program_fd);
    if (!program) {
        return forward_error(std::move(program).error().with_context("attach " + attachment_text(attachment)));
    }
    if (mode == AttachMode::kTcx) return attach_tcx(attachment, *program);
    return attach_filter(attachment, *program);
}

Status detach_tc(const TcAttachment& attachment, AttachMode mode) {
    if (mode == AttachMode::kLegacyTc) return detach_filter(attachment);
    auto pinned = open_pin(attachment.pin_path);
    if (!pinned) {
        if (pinned.error().code == Code::kNotFound) return {};
        return forward_error(std::move(pinned).error());
    }
    // At once, even if a tool holds the link open. A link whose device is gone says ENOLINK.
    if (bpf_link_detach(pinned->get()) != 0 && errno != ENOLINK)
        return fail_errno("detach " + attachment_text(attachment));
    return remove_file(attachment.pin_path);
}

}  // namespace axo
