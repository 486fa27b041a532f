#include "datapath/attachments.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "base/log.h"

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("datapath-attach");
    return logger;
}

TcAttachment to_tc(const WantedAttachment& wanted, int program_fd) {
    return {.device = wanted.link,
            .device_name = wanted.device,
            .direction = wanted.direction,
            .program_name = wanted.program,
            .program_fd = program_fd,
            .pin_path = wanted.pin_directory + "/" + wanted.program};
}

// A link whose pin was removed leaves its device a moment later; until then the same program cannot have another link.
Result<AttachOutcome> attach_patiently(const TcAttachment& attachment, AttachMode mode) {
    for (int attempt = 0;; ++attempt) {
        auto outcome = attach_tc(attachment, mode);
        const bool occupied = !outcome && (outcome.error().sys_errno == EEXIST || outcome.error().sys_errno == EBUSY);
        if (!occupied || attempt == 20) return outcome;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

constexpr std::pair<const char*, TcDirection> kEveryProgram[] = {
    {"cil_from_container", TcDirection::kIngress}, {"cil_to_container", TcDirection::kEgress},
    {"cil_from_netdev", TcDirection::kIngress},    {"cil_to_netdev", TcDirection::kEgress},
    {"cil_from_overlay", TcDirection::kIngress},   {"cil_to_overlay", TcDirection::kEgress},
    {"cil_to_host", TcDirection::kIngress},        {"cil_from_host", TcDirection::kEgress},
};

}  // namespace

std::vector<WantedAttachment> node_attachments(const BpfPaths& paths, const DatapathDecisions& decisions,
                                               const BaseDevices& devices) {
    std::vector<WantedAttachment> wanted;
    const auto add = [&](const std::string& device, IfIndex link, TcDirection direction, const char* program) {
        wanted.push_back({device, link, direction, program, paths.device_links(device)});
    };
    // Towards the node first: what the uplinks hand over must find its way.
    add(kHostDevice, devices.host.index, TcDirection::kIngress, "cil_to_host");
    add(kNetDevice, devices.net.index, TcDirection::kIngress, "cil_to_host");
    add(kHostDevice, devices.host.index, TcDirection::kEgress, "cil_from_host");
    if (devices.tunnel) {
        add(devices.tunnel->name, devices.tunnel->index, TcDirection::kIngress, "cil_from_overlay");
        add(devices.tunnel->name, devices.tunnel->index, TcDirection::kEgress, "cil_to_overlay");
    }
    for (const NativeDevice& device : decisions.devices) {
        add(device.name, device.link, TcDirection::kEgress, "cil_to_netdev");
        add(device.name, device.link, TcDirection::kIngress, "cil_from_netdev");
    }
    return wanted;
}

std::vector<WantedAttachment> endpoint_attachments(const BpfPaths& paths, EndpointId id, const std::string& device,
                                                   IfIndex link) {
    const std::string directory = paths.endpoint_links(id);
    return {{device, link, TcDirection::kIngress, "cil_from_container", directory},
            {device, link, TcDirection::kEgress, "cil_to_container", directory}};
}

Status attach_all(const std::vector<WantedAttachment>& wanted, const ProgramSet& programs, AttachMode mode,
                  AttachCounts& counts) {
    for (const WantedAttachment& one : wanted) {
        const TcAttachment attachment = to_tc(one, programs.at(one.program).fd.get());
        bool present = false;
        if (mode == AttachMode::kTcx) {
            TRY_ASSIGN(const auto before, linked_program_id(attachment.pin_path));
            present = before.has_value();
        }
        TRY_ASSIGN(const AttachOutcome outcome, attach_patiently(attachment, mode));
        if (!outcome.changed) {
            ++counts.adopted;
        } else if (present) {
            ++counts.updated;
        } else {
            ++counts.attached;
            // It may have run in the other mode before.
            TRY(detach_tc(attachment, mode == AttachMode::kTcx ? AttachMode::kLegacyTc : AttachMode::kTcx));
        }
    }
    return {};
}

Status link_programs(const std::vector<WantedAttachment>& wanted, const ProgramFds& programs) {
    for (const WantedAttachment& one : wanted) {
        auto linked = attach_patiently(to_tc(one, programs.at(one.program).get()), AttachMode::kTcx);
        if (!linked) return forward_error(std::move(linked).error());
    }
    return {};
}

Status remove_link_directory(const std::string& directory) {
    std::error_code error;
    std::filesystem::remove_all(directory, error);
    if (error && error != std::errc::no_such_file_or_directory)
        return fail_errno("removing " + directory, error.value());
    return {};
}

Status remove_filters(const Link& link) {
    for (const auto& [program, direction] : kEveryProgram) {
        TRY(detach_tc({.device = link.index,
                       .device_name = link.name,
                       .direction = direction,
                       .program_name = program,
                       .pin_path = {}},
                      AttachMode::kLegacyTc));
    }
    return {};
}

Status remove_other_devices(const BpfPaths& paths, const std::vector<WantedAttachment>& wanted,
                            const std::vector<Link>& links, AttachMode mode) {
    std::set<std::filesystem::path> used;
    std::set<IfIndex> attached;
    for (const WantedAttachment& one : wanted) {
        used.insert(std::filesystem::path(one.pin_directory).parent_path().filename());
        attached.insert(one.link);
    }
    std::error_code error;
    std::vector<std::filesystem::path> others;
    for (const auto& entry : std::filesystem::directory_iterator(paths.state() + "/devices", error)) {
        if (!used.contains(entry.path().filename())) others.push_back(entry.path());
    }
    for (const auto& other : others) {
        TRY(remove_link_directory(other.string()));
        log().info("Programs detached from a device that is not ours any more",
                   {{"device", other.filename().string()}});
    }
    if (mode != AttachMode::kLegacyTc) return {};
    for (const Link& link : links) {
        if (!link.loopback && !attached.contains(link.index) && !link.name.starts_with("lxc"))
            TRY(remove_filters(link));
    }
    return {};
}

}  // namespace axo
