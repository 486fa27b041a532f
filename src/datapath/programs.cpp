#include "datapath/programs.h"

#include <bpf/bpf.h>
#include <malloc.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "datapath/socket_lb.h"
#include "kernel/bpf_blobs.h"
#include "kernel/bpf_link.h"

AXO_BPF_BLOB(pod)
AXO_BPF_BLOB(netdev)
AXO_BPF_BLOB(overlay)
AXO_BPF_BLOB(host)
AXO_BPF_BLOB(sock)
AXO_BPF_BLOB(xdp)

namespace axo {
namespace {

const Logger& log() {
    static const Logger logger("datapath-programs");
    return logger;
}

template <class T>
std::string_view bytes_of(const T& value) {
    return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string program_path(const BpfPaths& paths, const std::string& digest, const std::string& program) {
    return paths.programs(digest) + "/" + program;
}

std::vector<std::string> program_names(const std::vector<ProgramObject>& objects) {
    std::vector<std::string> names;
    for (const ProgramObject& object : objects)
        names.insert(names.end(), object.programs.begin(), object.programs.end());
    return names;
}

struct ProgramInfo {
    std::uint32_t id = 0;
    std::vector<std::uint32_t> map_ids;
};

Result<ProgramInfo> program_info(int fd) {
    bpf_prog_info info{};
    std::uint32_t length = sizeof(info);
    std::vector<std::uint32_t> maps(64);
    info.nr_map_ids = static_cast<std::uint32_t>(maps.size());
    info.map_ids = reinterpret_cast<std::uintptr_t>(maps.data());
    if (::bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return fail_errno("reading about a pinned program");
    maps.resize(std::min<std::size_t>(info.nr_map_ids, maps.size()));
    return ProgramInfo{info.id, std::move(maps)};
}

// The map behind a name that is not pinned any more, among those the programs hold.
Status repin(const BpfPaths& paths, const SharedMap& wanted, const std::set<std::uint32_t>& held,
             std::set<std::uint32_t>& taken) {
    const std::string kernel_name = wanted.name.substr(0, BPF_OBJ_NAME_LEN - 1);
    for (const std::uint32_t id : held) {
        Fd fd(::bpf_map_get_fd_by_id(id));
        if (!fd || taken.contains(id)) continue;
        bpf_map_info info{};
        std::uint32_t length = sizeof(info);
        if (::bpf_obj_get_info_by_fd(fd.get(), &info, &length) != 0 || kernel_name != info.name) continue;
        TRY(pin(fd.get(), paths.map(wanted.name)));
        taken.insert(id);
        log().warn("Map pin was removed by somebody and is made again", {{"map", paths.map(wanted.name)}});
        return {};
    }
    return fail(Code::kNotFound, "map pin " + paths.map(wanted.name) + " is gone and no program holds the map");
}

// Nothing: no complete set of this digest. An error says why a complete one cannot be used.
Result<std::optional<ProgramSet>> adopt(const BpfPaths& paths, const std::vector<ProgramObject>& objects,
                                        const std::string& digest, const std::vector<SharedMap>& maps) {
    ProgramSet set{.digest = digest};
    std::set<std::uint32_t> held;
    for (const std::string& name : program_names(objects)) {
        auto fd = open_pin(program_path(paths, digest, name));
        if (!fd) return std::nullopt;
        TRY_ASSIGN(const ProgramInfo info, program_info(fd->get()));
        held.insert(info.map_ids.begin(), info.map_ids.end());
        set.programs[name] = {std::move(*fd), info.id};
    }
    std::set<std::uint32_t> taken;
    std::vector<const SharedMap*> missing;
    for (const SharedMap& map : maps) {
        const auto pinned = RawBpfMap::open_pinned(paths.map(map.name));
        if (!pinned) {
            if (pinned.error().code != Code::kNotFound) return std::unexpected(pinned.error());
            missing.push_back(&map);
            continue;
        }
        if (!held.contains(pinned->info().id)) {
            return fail(Code::kFailedPrecondition, "the programs use another map than " + paths.map(map.name));
        }
        taken.insert(pinned->info().id);
    }
    for (const SharedMap* map : missing) TRY(repin(paths, *map, held, taken));
    set.maps_adopted = maps.size();
    return set;
}

BpfLoadSpec load_spec(const BpfPaths& paths, const ProgramObject& object, const ProgramConfig& config,
                      const std::vector<SharedMap>& maps) {
    BpfLoadSpec spec;
    spec.name = object.name;
    spec.object = object.bytes;
    spec.config = {BpfConfigBlob::of("node_cfg", config.node),   BpfConfigBlob::of("tunnel_cfg", config.tunnel),
                   BpfConfigBlob::of("trace_cfg", config.trace), BpfConfigBlob::of("ct_cfg", config.ct),
                   BpfConfigBlob::of("lb_cfg", config.lb),       BpfConfigBlob::of("sock_cfg", config.sock),
                   BpfConfigBlob::of("xdp_cfg", config.xdp)};
    spec.map_pin_directory = paths.globals();
    spec.max_entries = map_sizes(maps);
    return spec;
}

// Creates the maps that are not pinned yet: objects loaded without their programs. Then all objects can load at the
// same time, each finding every map.
Result<std::vector<std::string>> create_maps(const BpfPaths& paths, const std::vector<ProgramObject>& objects,
                                             const ProgramConfig& config, const std::vector<SharedMap>& maps) {
    const bool complete = std::ranges::all_of(maps, [&paths](const SharedMap& map) {
        std::error_code ignored;
        return std::filesystem::exists(paths.map(map.name), ignored);
    });
    if (complete) return std::vector<std::string>{};
    std::vector<std::string> created;
    for (const ProgramObject& source : objects) {
        if (&source != &objects.front() && !source.own_maps) continue;
        BpfLoadSpec spec = load_spec(paths, source, config, maps);
        spec.disabled_programs = source.programs;
        TRY_ASSIGN(const BpfObject object, BpfObject::load(spec));
        created.insert(created.end(), object.created_maps().begin(), object.created_maps().end());
    }
    return created;
}

Status pin_set(const BpfPaths& paths, ProgramSet& set, const std::vector<ProgramObject>& objects,
               const std::vector<BpfObject>& loaded) {
    for (std::size_t i = 0; i < objects.size(); ++i) {
        for (const std::string& name : objects[i].programs) {
            TRY_ASSIGN(const int fd, loaded[i].program_fd(name));
            const std::string path = program_path(paths, set.digest, name);
            TRY(remove_file(path));  // of a set that was never completed
            TRY(pin(fd, path));
            TRY_ASSIGN(Fd own, open_pin(path));
            TRY_ASSIGN(const std::uint32_t id, program_id(own.get()));
            set.programs[name] = {std::move(own), id};
        }
    }
    return {};
}

Result<std::vector<BpfObject>> load_objects(const BpfPaths& paths, const std::vector<ProgramObject>& objects,
                                            const ProgramConfig& config, const std::vector<SharedMap>& maps) {
    std::vector<std::optional<Result<BpfObject>>> outcomes(objects.size());
    const auto load = [&](std::size_t i) {
        const auto start = std::chrono::steady_clock::now();
        outcomes[i].emplace(BpfObject::load(load_spec(paths, objects[i], config, maps)));
        const auto took = std::chrono::steady_clock::now() - start;
        log().debug("Object loaded", {{"object", objects[i].name},
                                      {"ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count()}});
    };
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 1; i < objects.size(); ++i) threads.emplace_back(load, i);
        load(0);
    }
    std::vector<BpfObject> loaded;
    for (auto& outcome : outcomes) {
        if (!*outcome) return std::unexpected(std::move(*outcome).error());
        loaded.push_back(std::move(**outcome));
    }
    return loaded;
}

}  // namespace

std::vector<ProgramObject> shipped_objects(const DatapathSettings& settings) {
    static const std::vector<ProgramObject> objects = [] {
        std::vector<ProgramObject> all = {
            {"pod", bpf_blob_pod(), {"cil_from_container", "cil_to_container"}},
            {"netdev", bpf_blob_netdev(), {"cil_from_netdev", "cil_to_netdev"}},
            {"overlay", bpf_blob_overlay(), {"cil_from_overlay", "cil_to_overlay"}},
            {"host", bpf_blob_host(), {"cil_from_host", "cil_to_host"}},
            {"sock", bpf_blob_sock(), socket_programs(), true},
            {"xdp", bpf_blob_xdp(), {"cil_xdp_entry"}, true},
        };
        for (ProgramObject& object : all) {
            object.digest = sha256_hex({reinterpret_cast<const char*>(object.bytes.data()), object.bytes.size()});
        }
        return all;
    }();
    std::vector<ProgramObject> needed;
    std::ranges::copy_if(objects, std::back_inserter(needed), [&settings](const ProgramObject& object) {
        if (object.name == "sock") return settings.services.sockets.enabled;
        return object.name != "xdp" || settings.services.xdp();
    });
    return needed;
}

std::string program_digest(const std::vector<ProgramObject>& objects, const ProgramConfig& config,
                           const std::vector<SharedMap>& maps) {
    std::string all;
    for (const ProgramObject& object : objects) all += object.name + ' ' + object.digest + '\n';
    all += bytes_of(config.node);
    all += bytes_of(config.tunnel);
    all += bytes_of(config.trace);
    all += bytes_of(config.ct);
    all += bytes_of(config.lb);
    all += bytes_of(config.sock);
    all += bytes_of(config.xdp);
    for (const SharedMap& map : maps) {
        all += map.name + ' ' + std::to_string(map.type) + ' ' + std::to_string(map.key_size) + ' ' +
               std::to_string(map.value_size) + ' ' + std::to_string(map.max_entries) + ' ' +
               std::to_string(map.flags) + '\n';
    }
    return sha256_hex(all).substr(0, 32);
}

Result<ProgramSet> adopt_or_load(const BpfPaths& paths, const std::vector<ProgramObject>& objects,
                                 const ProgramConfig& config, const std::vector<SharedMap>& maps) {
    const std::string digest = program_digest(objects, config, maps);
    auto adopted = adopt(paths, objects, digest, maps);
    if (adopted && *adopted) return std::move(**adopted);
    if (!adopted)
        log().warn("Pinned programs cannot be adopted and are loaded again", {{"digest", digest}, adopted.error()});

    ProgramSet set{.digest = digest, .loaded = true};
    TRY_ASSIGN(set.maps_set_aside, set_aside_incompatible(paths, maps));
    TRY_ASSIGN(set.maps_created, create_maps(paths, objects, config, maps));
    set.maps_adopted = maps.size() - set.maps_created.size();
    TRY(carry_over(paths, set.maps_set_aside));
    {
        TRY_ASSIGN(const std::vector<BpfObject> loaded, load_objects(paths, objects, config, maps));
        TRY(pin_set(paths, set, objects, loaded));
    }
    ::malloc_trim(0);  // loading took megabytes that this process never needs again
    return set;
}

Status remove_other_sets(const BpfPaths& paths, const std::string& digest) {
    const std::filesystem::path directory = paths.state() + "/programs";
    std::error_code error;
    std::vector<std::filesystem::path> others;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
        if (entry.path().filename() != digest) others.push_back(entry.path());
    }
    for (const auto& other : others) {
        std::filesystem::remove_all(other, error);
        if (error) return fail_errno("removing " + other.string(), error.value());
        log().info("Programs of another build or configuration removed", {{"digest", other.filename().string()}});
    }
    return {};
}

}  // namespace axo
