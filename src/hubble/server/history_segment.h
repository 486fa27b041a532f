// One file of the history: blocks of flows behind one another, each with what the dictionary gained for it.
//
//   file:  "AXOFLOW1", then blocks;  block: BlockHead, dictionary's new entries, flows
//
// A block is written with one write, and read only if its checksum says that all of it is there: what an interrupted
// write left at the end is nothing. Thread: one at a time, except where said.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "hubble/core/flow_codec.h"

namespace axo::hubble {

inline constexpr std::string_view kSegmentMagic = "AXOFLOW1";

struct BlockHead {
    static constexpr std::uint32_t kMagic = 0x4B4C4246;
    std::uint32_t magic = kMagic;
    std::uint32_t tables_length = 0, flows_length = 0;
    std::uint32_t flows = 0;
    std::int64_t first_ns = 0, last_ns = 0;  // the earliest and the latest
    std::uint64_t checksum = 0;              // over what follows
};
static_assert(sizeof(BlockHead) == 40);

// The block as it stands in the file.
std::string make_block(std::string_view tables, std::string_view flows, std::uint32_t count, std::int64_t first_ns,
                       std::int64_t last_ns);

class HistorySegment {
public:
    struct Block {
        std::uint64_t offset = 0;
        BlockHead head;
    };
    // Looks at the heads. An error: it is no segment at all.
    static Result<HistorySegment> open(const std::filesystem::path& path);

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] std::uint64_t flows() const { return flows_; }
    // The latest of all flows; nothing: there are none.
    [[nodiscard]] std::int64_t last_ns() const { return last_ns_; }
    // Appends what flows of these blocks may refer to, if tables has that of those before them. False: it cannot be
    // read, and what comes after it would be taken for something else. Thread: any.
    bool read_tables(std::span<const Block> blocks, FlowTables& tables) const;
    // False: it is broken. Thread: any.
    bool read(const Block& block, const FlowTables& tables, std::vector<FlowRecord>& out) const;
    // A block that was appended to the file.
    void appended(const BlockHead& head);

private:
    [[nodiscard]] std::optional<std::string> body(const Block& block) const;

    std::filesystem::path path_;
    Fd fd_;
    std::vector<Block> blocks_;
    std::uint64_t size_ = 0, flows_ = 0;
    std::int64_t last_ns_ = 0;
};

}  // namespace axo::hubble
