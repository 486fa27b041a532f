#include "kernel/bpf_object.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "kernel/libbpf_log.h"

namespace axo {
namespace {

struct Close {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
};

std::unexpected<Error> load_error(const std::string& what, int err, const LibbpfLog& log) {
    auto failure = fail_errno(what, err);
    if (const std::string text = summarize_load_log(log.text()); !text.empty()) failure.error().message += "\n" + text;
    return failure;
}

struct ConfigVariable {
    std::string section;  // ".rodata"
    std::size_t offset = 0;
    std::size_t size = 0;
};

// Read-only variables by name, from the sections' BTF.
std::map<std::string, ConfigVariable> config_variables(const btf* types) {
    std::map<std::string, ConfigVariable> found;
    if (types == nullptr) return found;
    for (std::uint32_t id = 1; id < btf__type_cnt(types); ++id) {
        const btf_type* section = btf__type_by_id(types, id);
        if (!btf_is_datasec(section)) continue;
        const std::string name = btf__name_by_offset(types, section->name_off);
        if (!name.starts_with(".rodata")) continue;
        const btf_var_secinfo* member = btf_var_secinfos(section);
        for (int i = 0; i < btf_vlen(section); ++i, ++member) {
            const btf_type* variable = btf__type_by_id(types, member->type);
            found[btf__name_by_offset(types, variable->name_off)] = {name, member->offset, member->size};
        }
    }
    return found;
}

Status set_config(bpf_object* object, const BpfLoadSpec& spec) {
    const auto variables = config_variables(bpf_object__btf(object));
    std::map<std::string, std::vector<char>> sections;
    for (const BpfConfigBlob& blob : spec.config) {
        const auto found = variables.find(blob.variable);
        if (found == variables.end()) continue;
        const ConfigVariable& variable = found->second;
        if (variable.size != blob.bytes.size()) {
            return fail(Code::kFailedPrecondition, "BPF object " + spec.name + ": variable " + blob.variable + " has " +
                                                       std::to_string(variable.size) +
                                                       " bytes, the configuration has " +
                                                       std::to_string(blob.bytes.size()));
        }
        auto& content = sections[variable.section];
        if (content.empty()) {
            std::size_t size = 0;
            const bpf_map* map = bpf_object__find_map_by_name(object, variable.section.c_str());
            const void* initial = map != nullptr ? bpf_map__initial_value(const_cast<bpf_map*>(map), &size) : nullptr;
            if (initial == nullptr) {
                return fail(Code::kInternal,
                            "BPF object " + spec.name + ": section " + variable.section + " has no content");
            }
            content.assign(static_cast<const char*>(initial), static_cast<const char*>(initial) + size);
        }
        if (variable.offset + variable.size > content.size()) {
            return fail(Code::kInternal, "BPF object " + spec.name + ": variable " + blob.variable + " lies outside " +
                                             variable.section);
        }
        std::memcpy(content.data() + variable.offset, blob.bytes.data(), blob.bytes.size());
    }
    for (const auto& [section, content] : sections) {
        bpf_map* map = bpf_object__find_map_by_name(object, section.c_str());
        if (const int status = bpf_map__set_initial_value(map, content.data(), content.size()); status != 0) {
            return fail_errno("BPF object " + spec.name + ": configure " + section, -status);
        }
    }
    return {};
}

// Flags the kernel adds by itself to maps of some types.
std::uint32_t implied_flags(std::uint32_t type) {
    return type == BPF_MAP_TYPE_DEVMAP || type == BPF_MAP_TYPE_DEVMAP_HASH ? std::uint32_t{BPF_F_RDONLY_PROG} : 0U;
}

Status check_compatible(const bpf_map* wanted, const BpfMapInfo& present, const std::string& where) {
    std::string differences;
    auto compare = [&](const char* property, std::uint32_t found, std::uint32_t expected) {
        if (found == expected) return;
        if (!differences.empty()) differences += ", ";
        differences += std::string(property) + " " + std::to_string(found) + " instead of " + std::to_string(expected);
    };
    const std::uint32_t type = bpf_map__type(wanted);
    compare("type", present.type, type);
    compare("key size", present.key_size, bpf_map__key_size(wanted));
    compare("value size", present.value_size, bpf_map__value_size(wanted));
    const std::uint32_t ignored = implied_flags(type);
    compare("flags", present.flags & ~ignored, bpf_map__map_flags(wanted) & ~ignored);
    compare("max entries", present.max_entries, bpf_map__max_entries(wanted));
    if (differences.empty()) return {};
    return fail(Code::kFailedPrecondition,
                "map " + std::string(bpf_map__name(wanted)) + ": " + where + " has " + differences);
}

Status reuse(bpf_map* map, int fd) {
    if (const int status = bpf_map__reuse_fd(map, fd); status != 0) {
        return fail_errno("map " + std::string(bpf_map__name(map)) + ": reuse", -status);
    }
    return {};
}

}  // namespace

struct BpfObject::Impl {
    std::unique_ptr<bpf_object, Close> object;
    std::string name;
    std::vector<std::string> created;
    std::vector<std::string> adopted;

    // Decides for each map: given, adopted from its pin, or to be created; fills `to_pin` with the paths of the last.
    Status prepare_maps(const BpfLoadSpec& spec, std::vector<std::pair<bpf_map*, std::string>>& to_pin);
    Status pin_maps(const std::vector<std::pair<bpf_map*, std::string>>& to_pin);
};

Status BpfObject::Impl::prepare_maps(const BpfLoadSpec& spec, std::vector<std::pair<bpf_map*, std::string>>& to_pin) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object.get()) {
        if (bpf_map__is_internal(map)) continue;
        const std::string map_name = bpf_map__name(map);
        // A declaration with LIBBPF_PIN_BY_NAME shows as a pin path. Pinning itself is done here, after the programs
        // have been accepted, and with errors that say what differs.
        const bool shared = bpf_map__pin_path(map) != nullptr;
        bpf_map__set_pin_path(map, nullptr);
        if (const auto size = spec.max_entries.find(map_name); size != spec.max_entries.end()) {
            if (const int status = bpf_map__set_max_entries(map, size->second); status != 0) {
                return fail_errno("map " + map_name + ": set max entries to " + std::to_string(size->second), -status);
            }
        }
        if (const auto given = spec.reuse_maps.find(map_name); given != spec.reuse_maps.end()) {
            Fd duplicate(::dup(given->second));
            TRY_ASSIGN(const RawBpfMap raw, RawBpfMap::from_fd(std::move(duplicate), map_name));
            TRY(check_compatible(map, raw.info(), "the given map"));
            TRY(reuse(map, raw.fd()));
            continue;
        }
        if (!shared || spec.map_pin_directory.empty()) continue;
        const std::string path = spec.map_pin_directory + "/" + map_name;
        auto pinned = RawBpfMap::open_pinned(path);
        if (!pinned) {
            if (pinned.error().code != Code::kNotFound) return forward_error(std::move(pinned).error());
            to_pin.emplace_back(map, path);
            continue;
        }
        TRY(check_compatible(map, pinned->info(), path));
        TRY(reuse(map, pinned->fd()));
        adopted.push_back(map_name);
    }
    return {};
}

Status BpfObject::Impl::pin_maps(const std::vector<std::pair<bpf_map*, std::string>>& to_pin) {
    std::vector<std::string> done;
    for (const auto& [map, path] : to_pin) {
        if (Status status = pin(bpf_map__fd(map), path); !status) {
            for (const std::string& pinned : done) ::unlink(pinned.c_str());
            return forward_error(std::move(status).error().with_context("BPF object " + name));
        }
        done.push_back(path);
        created.emplace_back(bpf_map__name(map));
    }
    return {};
}

BpfObject::BpfObject(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BpfObject::BpfObject(BpfObject&&) noexcept = default;
BpfObject& BpfObject::operator=(BpfObject&&) noexcept = default;
BpfObject::~BpfObject() = default;

Result<BpfObject> BpfObject::load(const BpfLoadSpec& spec) {
    const LibbpfLog log;
    auto impl = std::make_unique<Impl>();
    impl->name = spec.name;
    LIBBPF_OPTS(bpf_object_open_opts, options);
    options.object_name = spec.name.c_str();
    impl->object.reset(bpf_object__open_mem(spec.object.data(), spec.object.size(), &options));
    if (!impl->object) return load_error("open BPF object " + spec.name, errno, log);
    bpf_object* object = impl->object.get();

    TRY(set_config(object, spec));
    for (const std::string& name : spec.disabled_programs) {
        if (bpf_program* program = bpf_object__find_program_by_name(object, name.c_str())) {
            bpf_program__set_autoload(program, false);
        }
    }
    std::vector<std::pair<bpf_map*, std::string>> to_pin;
    if (Status status = impl->prepare_maps(spec, to_pin); !status) {
        return forward_error(std::move(status).error().with_context("BPF object " + spec.name));
    }
    // When a program is refused libbpf loads it again with the verifier's log switched on.
    if (const int status = bpf_object__load(object); status != 0)
        return load_error("load BPF object " + spec.name, -status, log);
    TRY(impl->pin_maps(to_pin));
    return BpfObject(std::move(impl));
}

Result<int> BpfObject::program_fd(const std::string& name) const {
    const bpf_program* program = bpf_object__find_program_by_name(impl_->object.get(), name.c_str());
    const int fd = program != nullptr ? bpf_program__fd(program) : -1;
    if (fd < 0) {
        return fail(Code::kNotFound, "BPF object " + impl_->name + ": program " + name +
                                         (program != nullptr ? " was not loaded" : " does not exist"));
    }
    return fd;
}

Result<int> BpfObject::map_fd(const std::string& name) const {
    const bpf_map* map = bpf_object__find_map_by_name(impl_->object.get(), name.c_str());
    const int fd = map != nullptr ? bpf_map__fd(map) : -1;
    if (fd < 0) return fail(Code::kNotFound, "BPF object " + impl_->name + ": map " + name + " does not exist");
    return fd;
}

std::vector<std::string> BpfObject::program_names() const {
    std::vector<std::string> names;
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, impl_->object.get()) {
        if (bpf_program__fd(program) >= 0) names.emplace_back(bpf_program__name(program));
    }
    return names;
}

const std::vector<std::string>& BpfObject::created_maps() const {
    return impl_->created;
}
const std::vector<std::string>& BpfObject::adopted_maps() const {
    return impl_->adopted;
}

}  // namespace axo
