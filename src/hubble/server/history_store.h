// The history on disk: flows go to files of some megabytes, the oldest of which go when there are too many or they are
// too old. An agent that starts finds what those before it have written.
//
// add() only encodes; a thread of its own writes a block when it is full or seconds old. A disk that is full or slow
// loses flows, which are counted, and never holds anybody up. Thread: add from one; the rest from any.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "hubble/server/history.h"
#include "hubble/server/history_segment.h"

namespace axo::hubble {

struct HistorySettings {
    std::filesystem::path path;  // a directory
    std::uint64_t max_bytes = 100U << 20;
    std::chrono::seconds max_age{24 * 3600};
    std::uint64_t segment_bytes = 8U << 20;
    std::chrono::milliseconds flush_interval{2000};
    std::chrono::milliseconds retry_interval{5000};  // of a disk that could not be written
};

class HistoryStore final : public History {
public:
    static Result<std::unique_ptr<HistoryStore>> open(HistorySettings settings);
    ~HistoryStore() override;

    void add(const FlowRecord& record);
    // What was added is in the file when it returns.
    void flush() const;

    struct Status {
        std::uint64_t flows = 0, bytes = 0, lost = 0;
        std::size_t segments = 0;
        std::int64_t oldest_ns = 0;  // 0: there is none
        std::string error;           // of the last write; "": it went well
    };
    [[nodiscard]] Status status() const;

    [[nodiscard]] Block seek(std::int64_t since_ns) const override;
    [[nodiscard]] Block last() const override;
    [[nodiscard]] Block previous(Block block) const override;
    [[nodiscard]] Block next(Block block) const override;
    [[nodiscard]] bool is_after(Block block, std::int64_t time_ns) const override;
    [[nodiscard]] std::vector<FlowRecord> read(Block block) const override;

private:
    // A block that is not in the file yet.
    struct Pending {
        std::string flows;
        std::uint32_t count = 0;
        std::int64_t first_ns = 0, last_ns = 0;
        TablesMark mark;  // what its flows refer to
    };
    using Segments = std::map<std::uint64_t, std::shared_ptr<HistorySegment>>;  // by number

    explicit HistoryStore(HistorySettings settings) : settings_(std::move(settings)) {}
    axo::Status load();
    void run();
    void write_first(std::unique_lock<std::mutex>& lock);
    axo::Status append(const std::string& bytes);
    void begin_segment();
    void remove_oldest();
    void prune();
    [[nodiscard]] std::filesystem::path file(std::uint64_t number) const;
    [[nodiscard]] std::uint64_t total() const;
    [[nodiscard]] const HistorySegment::Block* find(Block block) const;
    // A segment's dictionary as far as it was read.
    struct Dictionary {
        std::weak_ptr<HistorySegment> segment;  // a file that is removed must not stay open
        FlowTables tables;
        std::size_t blocks = 0;  // whose entries it has
        bool broken = false;
    };
    Dictionary& dictionary_of(const std::shared_ptr<HistorySegment>& segment) const;

    static constexpr std::uint64_t kBlockBits = 20;
    static constexpr std::size_t kBlockFlows = 4096, kPendingBlocks = 16, kDictionaries = 3;

    const HistorySettings settings_;
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_, written_;
    std::unique_ptr<FlowEncoder> encoder_ = std::make_unique<FlowEncoder>();  // of the segment that is written
    std::deque<Pending> pending_;                                             // the last one grows
    Segments segments_;
    std::uint64_t number_ = 1;  // of the segment that is written
    Fd file_;
    TablesMark in_file_;
    std::chrono::steady_clock::time_point retry_at_{};
    std::string error_;
    std::atomic<std::uint64_t> lost_ = 0;
    bool stopping_ = false;
    // Blocks that were begun, those of them that are written or lost, and how many somebody waits for.
    std::uint64_t begun_ = 0, done_ = 0;
    mutable std::uint64_t wanted_ = 0;
    // Of the segments that were read last, the latest first: two queries may be at different places.
    mutable std::mutex cache_mutex_;
    mutable std::list<Dictionary> dictionaries_;
    std::thread thread_;
};

}  // namespace axo::hubble
