#include "datapath/xdp.h"

#include <filesystem>
#include <set>

#include "base/file.h"
#include "kernel/xdp_link.h"

namespace axo {
namespace {

constexpr const char* kProgram = "cil_xdp_entry";

class Attacher {
public:
    Attacher(const BpfPaths& paths, const ServiceSettings& settings, const ProgramSet& programs, AttachCounts& counts)
        : paths_(paths), settings_(settings), programs_(programs), counts_(counts) {}

    Result<Datapath::XdpDevice> attach(const NativeDevice& device) {
        if (settings_.acceleration == XdpAcceleration::kGeneric) {
            TRY(attach(device, XdpMode::kGeneric));
            return Datapath::XdpDevice{device.name, XdpMode::kGeneric, {}};
        }
        const Status native = attach(device, XdpMode::kNative);
        if (native) return Datapath::XdpDevice{device.name, XdpMode::kNative, {}};
        if (settings_.acceleration == XdpAcceleration::kNative) {
            return fail(Code::kFailedPrecondition, "bpf-lb-acceleration=native: " + native.error().message +
                                                       "; use best-effort, or leave the device out of --devices");
        }
        if (settings_.xdp_prefilter) {
            TRY(attach(device, XdpMode::kGeneric));
            return Datapath::XdpDevice{device.name, XdpMode::kGeneric, native.error().message};
        }
        TRY(detach_xdp(pin_path(device)));
        return Datapath::XdpDevice{device.name, XdpMode::kNone, native.error().message};
    }

private:
    [[nodiscard]] std::string pin_path(const NativeDevice& device) const {
        return paths_.device_links(device.name) + "/" + kProgram;
    }
    Status attach(const NativeDevice& device, XdpMode mode) {
        TRY_ASSIGN(const auto running, linked_program_id(pin_path(device)));
        TRY_ASSIGN(const AttachOutcome outcome, attach_xdp({.device = device.link,
                                                            .device_name = device.name,
                                                            .mode = mode,
                                                            .program_name = kProgram,
                                                            .program_fd = programs_.at(kProgram).fd.get(),
                                                            .pin_path = pin_path(device)}));
        ++(!outcome.changed ? counts_.adopted : running ? counts_.updated : counts_.attached);
        return {};
    }

    const BpfPaths& paths_;
    const ServiceSettings& settings_;
    const ProgramSet& programs_;
    AttachCounts& counts_;
};

// The devices that programs may send to from another one's: those that run native XDP, as their drivers take frames.
Status put_devices(const BpfPaths& paths, const std::set<std::uint32_t>& wanted) {
    TRY_ASSIGN(const RawBpfMap map, RawBpfMap::open_pinned(paths.map(map_name::kXdpDevices)));
    std::set<std::uint32_t> present;
    TRY(map.for_each([&](const void* key, const void*) { present.insert(*static_cast<const std::uint32_t*>(key)); }));
    for (const std::uint32_t device : present) {
        if (!wanted.contains(device)) TRY(map.erase(&device));
    }
    const std::uint32_t yes = 1;
    for (const std::uint32_t device : wanted) {
        if (!present.contains(device)) TRY(map.update(&device, &yes));
    }
    return {};
}

}  // namespace

xdp_config make_xdp_config(const DatapathSettings& settings) {
    xdp_config config{};
    config.prefilter = settings.services.xdp_prefilter;
    config.accelerate = settings.services.acceleration != XdpAcceleration::kDisabled;
    return config;
}

Result<std::vector<Datapath::XdpDevice>> attach_xdp_devices(const BpfPaths& paths, const ServiceSettings& settings,
                                                            const std::vector<NativeDevice>& devices,
                                                            const ProgramSet& programs, AttachCounts& counts) {
    std::vector<Datapath::XdpDevice> all;
    if (!settings.xdp()) {
        TRY(detach_xdp_devices(paths));
        return all;
    }
    Attacher attacher(paths, settings, programs, counts);
    std::set<std::uint32_t> native;
    for (const NativeDevice& device : devices) {
        TRY_ASSIGN(Datapath::XdpDevice done, attacher.attach(device));
        if (done.mode == XdpMode::kNative) native.insert(device.link.value);
        all.push_back(std::move(done));
    }
    TRY(put_devices(paths, native));
    return all;
}

Status detach_xdp_devices(const BpfPaths& paths) {
    std::error_code none;
    for (const auto& device : std::filesystem::directory_iterator(paths.state() + "/devices", none))
        TRY(detach_xdp(device.path() / "links" / kProgram));
    for (const char* map : {map_name::kPrefilterFix4, map_name::kPrefilterDyn4, map_name::kPrefilterFix6,
                            map_name::kPrefilterDyn6, map_name::kXdpDevices})
        TRY(remove_file(paths.map(map)));
    return {};
}

}  // namespace axo
