// Loading BPF objects: embedded bytes + configuration -> maps and programs in the kernel.
//
// Maps declared LIBBPF_PIN_BY_NAME are adopted from `map_pin_directory` when type, sizes and flags
// are compatible and created and pinned when there is none; an incompatible pin is an error that
// names what differs, never a silent replacement. All others are private to the object.
// Thread: any one at a time.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "kernel/bpf_map.h"

namespace axo {

struct BpfConfigBlob {
    std::string variable;          // "node_cfg"
    std::vector<std::byte> bytes;  // must have the variable's size in the object's BTF

    template <class T>
    static BpfConfigBlob of(std::string variable, const T& value) {
        const auto* begin = reinterpret_cast<const std::byte*>(&value);
        return {std::move(variable), {begin, begin + sizeof(T)}};
    }
};

struct BpfLoadSpec {
    std::string name;                   // "pod": for errors
    std::span<const std::byte> object;  // ELF bytes
    std::vector<BpfConfigBlob> config;  // variables the object does not declare are skipped
    std::string map_pin_directory;      // "" : nothing is pinned, every map is private
    // By map or program name; names the object does not have are skipped, so that one spec serves several objects.
    std::map<std::string, std::uint32_t> max_entries;  // bytes for ring buffers, rounded up to a power of two pages
    std::map<std::string, int> reuse_maps;             // use this fd, which stays the caller's
    std::vector<std::string> disabled_programs;        // not loaded
};

class BpfObject {
public:
    static Result<BpfObject> load(const BpfLoadSpec& spec);  // errors carry the last lines of the verifier log
    BpfObject(BpfObject&&) noexcept;
    BpfObject& operator=(BpfObject&&) noexcept;
    ~BpfObject();

    Result<int> program_fd(const std::string& name) const;  // owned by this object
    Result<int> map_fd(const std::string& name) const;
    [[nodiscard]] std::vector<std::string> program_names() const;        // the loaded ones
    [[nodiscard]] const std::vector<std::string>& created_maps() const;  // newly pinned by this load
    [[nodiscard]] const std::vector<std::string>& adopted_maps() const;  // found pinned

private:
    struct Impl;
    explicit BpfObject(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// bpf_prog_test_run_opts of a tc or XDP program.
struct TestRun {
    std::uint32_t return_value = 0;
    std::vector<std::byte> packet_out;
    std::uint32_t average_ns = 0;
};
struct TestRunContext {
    // Must exist in the caller's namespace; XDP: one that runs an XDP program (5.14).
    std::uint32_t ifindex = 1;
    std::uint32_t mark = 0;
    std::uint32_t gso_size = 0;
    std::uint32_t gso_segs = 0;
};
Result<TestRun> run_program(int program_fd, std::span<const std::byte> packet, const TestRunContext& context = {},
                            std::uint32_t repeat = 1);

Status pin(int fd, const std::string& path);  // parent directories are made; an existing pin is an error
Result<Fd> open_pin(const std::string& path);
// Mounts bpffs at the directory unless it is one already.
Status ensure_bpffs(const std::string& directory);

}  // namespace axo
