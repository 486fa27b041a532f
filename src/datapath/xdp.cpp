#include "datapath/xdp.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "kernel/xdp_link.h"

namespace axo {
namespace {

constexpr const char* kProgram = "cil_xdp_entry";
constexpr const char* kVeth = "veth";

// Device -> XDP_DEVICE_*, of those that frames leave by.
using WaysOut = std::map<std::uint32_t, std::uint32_t>;

class Attacher {
public:
    Attacher(const BpfPaths& paths, const ServiceSettings& settings, const ProgramSet& programs, AttachCounts& counts)
        : paths_(paths), settings_(settings), programs_(programs), counts_(counts) {}

    Result<Datapath::XdpDevice> attach(const NativeDevice& device) {
        Datapath::XdpDevice done{.name = device.name};
        if (settings_.acceleration == XdpAcceleration::kGeneric) {
            TRY(attach(device, XdpMode::kGeneric));
            done.mode = XdpMode::kGeneric;
            done.forwards = true;
            return done;
        }
        const bool accelerate = settings_.acceleration != XdpAcceleration::kDisabled;
        std::uint32_t ways = 0;
        if (accelerate) {
            TRY_ASSIGN(ways, ways_out_of(device, done.note));
        }
        if (ways != 0 || settings_.xdp_prefilter) {
            if (const Status native = attach(device, XdpMode::kNative)) {
                done.mode = XdpMode::kNative;
                if (ways != 0) ways_out_[device.link.value] = ways;
                done.forwards = ways != 0;
                return done;
            } else {
                done.note = native.error().message;
            }
        }
        if (settings_.xdp_prefilter) {
            TRY(attach(device, XdpMode::kGeneric));
            done.mode = XdpMode::kGeneric;
        } else {
            TRY(detach_xdp(pin_path(device)));
        }
        return done;
    }
    [[nodiscard]] const WaysOut& ways_out() const { return ways_out_; }

private:
    [[nodiscard]] std::string pin_path(const NativeDevice& device) const {
        return paths_.device_links(device.name) + "/" + kProgram;
    }
    // XDP_DEVICE_*; 0: none, and why.
    static Result<std::uint32_t> ways_out_of(const NativeDevice& device, std::string& why) {
        TRY_ASSIGN(const std::optional<bool> takes, takes_xdp_frames(device.link));
        const std::uint32_t redirect = takes.value_or(false) ? XDP_DEVICE_REDIRECT : 0;
        if (device.kind != kVeth) return XDP_DEVICE_TX | redirect;
        if (!takes) {
            why = device.name +
                  " is an end of a veth pair, and this kernel does not tell whether the other end takes "
                  "frames (6.3)";
        } else if (!*takes) {
            why = device.name +
                  " is an end of a veth pair whose other end takes no frames; it does with GRO: "
                  "ethtool -K DEVICE gro on, or with an XDP program of its own";
        }
        return redirect;
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
    WaysOut ways_out_;
};

Status put_ways_out(const BpfPaths& paths, const WaysOut& wanted) {
    TRY_ASSIGN(const RawBpfMap map, RawBpfMap::open_pinned(paths.map(map_name::kXdpDevices)));
    WaysOut present;
    TRY(map.for_each([&](const void* key, const void* value) {
        present.emplace(*static_cast<const std::uint32_t*>(key), *static_cast<const std::uint32_t*>(value));
    }));
    for (const auto& [device, ways] : present) {
        if (!wanted.contains(device)) TRY(map.erase(&device));
    }
    for (const auto& [device, ways] : wanted) {
        const auto known = present.find(device);
        if (known == present.end() || known->second != ways) TRY(map.update(&device, &ways));
    }
    return {};
}

}  // namespace

xdp_config make_xdp_config(const DatapathSettings& settings, const std::vector<NativeDevice>& devices) {
    const XdpAcceleration acceleration = settings.services.acceleration;
    xdp_config config{};
    config.prefilter = settings.services.xdp_prefilter;
    config.accelerate = acceleration != XdpAcceleration::kDisabled;
    // Generic XDP sends by the device's own queue.
    config.ask_devices = config.accelerate && acceleration != XdpAcceleration::kGeneric &&
                         std::ranges::any_of(devices, [](const NativeDevice& device) { return device.kind == kVeth; });
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
    for (const NativeDevice& device : devices) {
        TRY_ASSIGN(Datapath::XdpDevice done, attacher.attach(device));
        all.push_back(std::move(done));
    }
    TRY(put_ways_out(paths, attacher.ways_out()));
    for (const Datapath::XdpDevice& device : all) {
        if (settings.acceleration == XdpAcceleration::kNative && !device.forwards)
            return fail(Code::kFailedPrecondition, "bpf-lb-acceleration=native: " + device.note +
                                                       "; use best-effort, or leave the device out of --devices");
    }
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
