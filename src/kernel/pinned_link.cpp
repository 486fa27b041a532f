#include "kernel/pinned_link.h"

#include <bpf/bpf.h>

#include <cerrno>

#include "base/fd.h"
#include "base/file.h"
#include "kernel/bpf_object.h"

namespace axo {
namespace {

Result<bpf_link_info> link_info(int link_fd, const std::string& path) {
    bpf_link_info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(link_fd, &info, &size) != 0) return fail_errno("link " + path + ": read its properties");
    return info;
}

Status create_link(const PinnedLink& wanted) {
    const Fd link(wanted.create());
    if (!link) return fail_errno("attach " + wanted.what);
    if (Status status = pin(link.get(), wanted.pin_path); !status) {
        return forward_error(std::move(status).error().with_context("attach " + wanted.what));
    }
    return {};
}

}  // namespace

Result<AttachOutcome> attach_pinned(const PinnedLink& wanted) {
    if (wanted.pin_path.empty())
        return fail(Code::kInvalidArgument, "attach " + wanted.what + ": a link needs a pin path");
    TRY_ASSIGN(const std::uint32_t program, program_id(wanted.program_fd));
    auto pinned = open_pin(wanted.pin_path);
    if (!pinned && pinned.error().code != Code::kNotFound) return forward_error(std::move(pinned).error());
    if (pinned) {
        TRY_ASSIGN(const bpf_link_info info, link_info(pinned->get(), wanted.pin_path));
        if (wanted.is_same_place(info)) {
            if (info.prog_id == program) return AttachOutcome{.changed = false};
            if (bpf_link_update(pinned->get(), wanted.program_fd, nullptr) == 0) return AttachOutcome{.changed = true};
            // ENOLINK: what it was attached to went away since.
            if (errno != ENOLINK) return fail_errno("update " + wanted.what);
        }
        // Of a device or cgroup that is gone, or was replaced by one of the same name; or in another mode. Detached at
        // once: a place may have room for one program only.
        if (bpf_link_detach(pinned->get()) != 0 && errno != ENOLINK) return fail_errno("detach " + wanted.what);
        TRY(remove_file(wanted.pin_path));
    }
    TRY(create_link(wanted));
    return AttachOutcome{.changed = true};
}

Status detach_pinned(const std::string& what, const std::string& pin_path) {
    auto pinned = open_pin(pin_path);
    if (!pinned) {
        if (pinned.error().code == Code::kNotFound) return {};
        return forward_error(std::move(pinned).error());
    }
    // A link whose device or cgroup is gone says ENOLINK.
    if (bpf_link_detach(pinned->get()) != 0 && errno != ENOLINK) return fail_errno("detach " + what);
    return remove_file(pin_path);
}

Result<std::optional<bpf_link_info>> pinned_link_info(const std::string& pin_path) {
    auto pinned = open_pin(pin_path);
    if (!pinned) {
        if (pinned.error().code == Code::kNotFound) return std::nullopt;
        return forward_error(std::move(pinned).error());
    }
    TRY_ASSIGN(const bpf_link_info info, link_info(pinned->get(), pin_path));
    return info;
}

}  // namespace axo
