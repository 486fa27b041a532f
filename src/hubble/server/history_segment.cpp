#include "hubble/server/history_segment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

namespace axo::hubble {

namespace {

bool read_at(int fd, std::uint64_t offset, void* into, std::size_t length) {
    auto* at = static_cast<char*>(into);
    while (length != 0) {
        const ssize_t got = ::pread(fd, at, length, static_cast<off_t>(offset));
        if (got <= 0) return false;
        at += got;
        offset += static_cast<std::uint64_t>(got);
        length -= static_cast<std::size_t>(got);
    }
    return true;
}

std::uint64_t checksum(std::string_view tables, std::string_view flows) {
    return XXH3_64bits_withSeed(flows.data(), flows.size(), XXH3_64bits(tables.data(), tables.size()));
}

}  // namespace

std::string make_block(std::string_view tables, std::string_view flows, std::uint32_t count, std::int64_t first_ns,
                       std::int64_t last_ns) {
    const BlockHead head{.tables_length = static_cast<std::uint32_t>(tables.size()),
                         .flows_length = static_cast<std::uint32_t>(flows.size()),
                         .flows = count,
                         .first_ns = first_ns,
                         .last_ns = last_ns,
                         .checksum = checksum(tables, flows)};
    std::string block(reinterpret_cast<const char*>(&head), sizeof(head));
    block += tables;
    block += flows;
    return block;
}

Result<HistorySegment> HistorySegment::open(const std::filesystem::path& path) {
    HistorySegment segment;
    segment.path_ = path;
    segment.fd_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!segment.fd_) return fail_errno("open " + path.string());
    struct stat facts{};
    if (::fstat(segment.fd_.get(), &facts) != 0) return fail_errno("stat " + path.string());
    char magic[kSegmentMagic.size()];
    if (!read_at(segment.fd_.get(), 0, magic, sizeof(magic)) || std::string_view(magic, sizeof(magic)) != kSegmentMagic)
        return fail(Code::kDataLoss, path.string() + " holds no flows");
    segment.size_ = sizeof(magic);
    const auto end = static_cast<std::uint64_t>(facts.st_size);
    BlockHead head;
    while (read_at(segment.fd_.get(), segment.size_, &head, sizeof(head))) {
        const std::uint64_t length = sizeof(head) + std::uint64_t{head.tables_length} + head.flows_length;
        // What a write that was interrupted has left, or worse: nothing behind it can be found.
        if (head.magic != BlockHead::kMagic || segment.size_ + length > end) break;
        segment.appended(head);
    }
    return segment;
}

void HistorySegment::appended(const BlockHead& head) {
    blocks_.push_back({size_, head});
    size_ += sizeof(head) + head.tables_length + head.flows_length;
    flows_ += head.flows;
    last_ns_ = std::max(last_ns_, head.last_ns);
}

std::optional<std::string> HistorySegment::body(const Block& block) const {
    std::string bytes(std::size_t{block.head.tables_length} + block.head.flows_length, '\0');
    if (!read_at(fd_.get(), block.offset + sizeof(BlockHead), bytes.data(), bytes.size())) return std::nullopt;
    const std::string_view all = bytes;
    if (checksum(all.substr(0, block.head.tables_length), all.substr(block.head.tables_length)) != block.head.checksum)
        return std::nullopt;
    return bytes;
}

bool HistorySegment::read_tables(std::span<const Block> blocks, FlowTables& tables) const {
    std::string bytes;
    for (const Block& block : blocks) {
        bytes.resize(block.head.tables_length);
        if (!read_at(fd_.get(), block.offset + sizeof(BlockHead), bytes.data(), bytes.size()) ||
            !decode_tables(bytes, tables))
            return false;
    }
    return true;
}

bool HistorySegment::read(const Block& block, const FlowTables& tables, std::vector<FlowRecord>& out) const {
    const auto bytes = body(block);
    return bytes && decode_flows(std::string_view(*bytes).substr(block.head.tables_length), tables, out);
}

}  // namespace axo::hubble
