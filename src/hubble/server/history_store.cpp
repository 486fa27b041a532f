#include "hubble/server/history_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "base/file.h"
#include "base/log.h"

namespace axo::hubble {

namespace {

constexpr std::string_view kSuffix = ".flows";
constexpr std::size_t kMaxEntries = 200'000;  // of a dictionary that is kept in memory

std::uint64_t file_number(const std::filesystem::path& path) {
    const std::string name = path.filename().string();
    std::uint64_t number = 0;
    if (!name.ends_with(kSuffix)) return 0;
    const char* end = name.data() + name.size() - kSuffix.size();
    const auto [stop, error] = std::from_chars(name.data(), end, number);
    return error == std::errc{} && stop == end ? number : 0;
}

std::int64_t now_ns() {
    return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Result<std::unique_ptr<HistoryStore>> HistoryStore::open(HistorySettings settings) {
    std::unique_ptr<HistoryStore> store(new HistoryStore(std::move(settings)));
    TRY(store->load());
    store->thread_ = std::thread([raw = store.get()] { raw->run(); });
    return store;
}

HistoryStore::~HistoryStore() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

axo::Status HistoryStore::load() {
    TRY(make_directories(settings_.path, 0700));
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(settings_.path, error)) {
        const std::uint64_t number = file_number(entry.path());
        if (number == 0) continue;
        number_ = std::max(number_, number + 1);
        auto segment = HistorySegment::open(entry.path());
        if (!segment) {
            Logger("hubble").warn("A file of the flow history cannot be read", {segment.error()});
            continue;
        }
        segments_.emplace(number, std::make_shared<HistorySegment>(std::move(*segment)));
    }
    if (error) return fail_errno("list " + settings_.path.string(), error.value());
    prune();
    return {};
}

void HistoryStore::add(const FlowRecord& record) {
    const std::lock_guard lock(mutex_);
    if (pending_.empty() || pending_.back().count >= kBlockFlows) {
        if (pending_.size() >= kPendingBlocks) {
            lost_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        pending_.emplace_back();
        ++begun_;
        encoder_->begin_block();
    }
    Pending& block = pending_.back();
    encoder_->add(record, block.flows);
    block.first_ns = block.count == 0 ? record.time_ns : std::min(block.first_ns, record.time_ns);
    block.last_ns = std::max(block.last_ns, record.time_ns);
    if (++block.count < kBlockFlows) return;
    block.mark = TablesMark::end_of(encoder_->tables());
    changed_.notify_one();
}

void HistoryStore::flush() const {
    std::unique_lock lock(mutex_);
    const std::uint64_t begun = begun_;
    if (done_ >= begun) return;
    wanted_ = std::max(wanted_, begun);
    changed_.notify_one();
    // The disk may be stuck: who asks gets what there is.
    written_.wait_for(lock, std::chrono::seconds(2), [&] { return done_ >= begun || stopping_; });
}

void HistoryStore::run() {
    std::unique_lock lock(mutex_);
    auto next_flush = std::chrono::steady_clock::now() + settings_.flush_interval;
    for (;;) {
        // An idle node's thread sleeps: nothing is pending, nothing is due but the oldest.
        changed_.wait_until(lock, next_flush, [this] {
            return stopping_ || done_ < wanted_ || (!pending_.empty() && pending_.front().count >= kBlockFlows);
        });
        const bool due = std::chrono::steady_clock::now() >= next_flush;
        // Flows come while it writes; a block that was begun since this look is not asked for yet.
        const std::uint64_t until = due || stopping_ ? begun_ : wanted_;
        for (std::size_t left = kPendingBlocks; left != 0 && !pending_.empty(); --left) {
            if (pending_.front().count < kBlockFlows && done_ >= until) break;
            write_first(lock);
            ++done_;
            written_.notify_all();
        }
        if (stopping_ && pending_.empty()) return;
        if (!due) continue;
        next_flush = std::chrono::steady_clock::now() + settings_.flush_interval;
        prune();
    }
}

void HistoryStore::write_first(std::unique_lock<std::mutex>& lock) {
    Pending block = std::move(pending_.front());
    pending_.pop_front();
    if (block.count < kBlockFlows) block.mark = TablesMark::end_of(encoder_->tables());
    const bool waits = std::chrono::steady_clock::now() < retry_at_;
    if (waits && !stopping_) {
        lost_.fetch_add(block.count, std::memory_order_relaxed);
        return;
    }
    if (!file_) begin_segment();
    const std::string bytes = make_block(encode_tables(encoder_->tables(), in_file_, block.mark), block.flows,
                                         block.count, block.first_ns, block.last_ns);
    lock.unlock();
    auto written = append(bytes);
    lock.lock();
    // Older flows make room for newer ones.
    while (!written && written.error().sys_errno == ENOSPC && segments_.size() > 1) {
        remove_oldest();
        lock.unlock();
        written = append(bytes);
        lock.lock();
    }
    if (!written) {
        if (error_.empty())
            Logger("hubble").error("The flow history cannot be written; flows are lost", {written.error()});
        error_ = written.error().message;
        lost_.fetch_add(block.count, std::memory_order_relaxed);
        retry_at_ = std::chrono::steady_clock::now() + settings_.retry_interval;
        return;
    }
    error_.clear();
    in_file_ = block.mark;
    BlockHead head;
    std::memcpy(&head, bytes.data(), sizeof(head));
    HistorySegment& segment = *segments_.at(number_);
    segment.appended(head);
    if (segment.size() >= settings_.segment_bytes || encoder_->entries() >= kMaxEntries ||
        segment.blocks().size() + 2 >= (1U << kBlockBits)) {
        file_.reset();
        ++number_;
        // Blocks that wait were made with the old dictionary: it is written into the next file as well.
        if (pending_.empty()) encoder_ = std::make_unique<FlowEncoder>();
    }
    prune();
}

// Errors show with the first block.
void HistoryStore::begin_segment() {
    in_file_ = {};
    // One that could not be written to its end keeps what it has.
    const auto before = segments_.find(number_);
    if (before != segments_.end() && !before->second->blocks().empty()) ++number_;
    const std::filesystem::path path = file(number_);
    file_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
    if (!file_) return;
    if (::write(file_.get(), kSegmentMagic.data(), kSegmentMagic.size()) !=
        static_cast<ssize_t>(kSegmentMagic.size())) {
        file_.reset();
        return;
    }
    auto segment = HistorySegment::open(path);
    if (!segment) {
        file_.reset();
        errno = segment.error().sys_errno;
        return;
    }
    segments_.insert_or_assign(number_, std::make_shared<HistorySegment>(std::move(*segment)));
}

axo::Status HistoryStore::append(const std::string& bytes) {
    const std::string what = "write " + file(number_).string();
    if (!file_) return fail_errno(what, errno == 0 ? EIO : errno);
    const off_t before = ::lseek(file_.get(), 0, SEEK_END);
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t put = ::write(file_.get(), bytes.data() + done, bytes.size() - done);
        if (put > 0) {
            done += static_cast<std::size_t>(put);
            continue;
        }
        if (put < 0 && errno == EINTR) continue;
        const int error = put == 0 ? ENOSPC : errno;
        // Half a block would hide those behind it.
        if (before < 0 || ::ftruncate(file_.get(), before) != 0) file_.reset();
        return fail_errno(what, error);
    }
    return {};
}

void HistoryStore::remove_oldest() {
    const auto oldest = segments_.begin();
    if (oldest == segments_.end() || (oldest->first == number_ && file_)) return;
    std::error_code error;
    std::filesystem::remove(oldest->second->path(), error);
    if (error)
        Logger("hubble").warn("A file of the flow history cannot be removed",
                              {{"file", oldest->second->path().string()}, {"error", error.message()}});
    segments_.erase(oldest);
}

void HistoryStore::prune() {
    const std::int64_t oldest = now_ns() - std::chrono::nanoseconds(settings_.max_age).count();
    while (!segments_.empty() && !(segments_.begin()->first == number_ && file_) &&
           (total() > settings_.max_bytes || segments_.begin()->second->last_ns() < oldest))
        remove_oldest();
}

std::filesystem::path HistoryStore::file(std::uint64_t number) const {
    std::string name = std::to_string(number);
    name.insert(0, name.size() < 10 ? 10 - name.size() : 0, '0');
    return settings_.path / (name + std::string(kSuffix));
}

std::uint64_t HistoryStore::total() const {
    std::uint64_t bytes = 0;
    for (const auto& [number, segment] : segments_) bytes += segment->size();
    return bytes;
}

HistoryStore::Status HistoryStore::status() const {
    const std::lock_guard lock(mutex_);
    Status status;
    status.bytes = total();
    status.segments = segments_.size();
    status.lost = lost_.load(std::memory_order_relaxed);
    status.error = error_;
    for (const auto& [number, segment] : segments_) {
        status.flows += segment->flows();
        if (status.oldest_ns == 0 && !segment->blocks().empty())
            status.oldest_ns = segment->blocks().front().head.first_ns;
    }
    return status;
}

History::Block HistoryStore::seek(std::int64_t since_ns) const {
    flush();
    const std::lock_guard lock(mutex_);
    for (const auto& [number, segment] : segments_) {
        if (segment->last_ns() < since_ns) continue;
        for (std::size_t i = 0; i < segment->blocks().size(); ++i) {
            if (segment->blocks()[i].head.last_ns >= since_ns) return number << kBlockBits | i;
        }
    }
    return kEnd;
}

History::Block HistoryStore::last() const {
    flush();
    const std::lock_guard lock(mutex_);
    for (auto segment = segments_.rbegin(); segment != segments_.rend(); ++segment) {
        if (!segment->second->blocks().empty())
            return segment->first << kBlockBits | (segment->second->blocks().size() - 1);
    }
    return kEnd;
}

History::Block HistoryStore::previous(Block block) const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t index = block & ((1U << kBlockBits) - 1);
    auto segment = segments_.find(block >> kBlockBits);
    if (segment == segments_.end()) return kEnd;
    if (index != 0) return block - 1;
    while (segment != segments_.begin()) {
        --segment;
        if (!segment->second->blocks().empty())
            return segment->first << kBlockBits | (segment->second->blocks().size() - 1);
    }
    return kEnd;
}

History::Block HistoryStore::next(Block block) const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t number = block >> kBlockBits, index = block & ((1U << kBlockBits) - 1);
    for (auto segment = segments_.lower_bound(number); segment != segments_.end(); ++segment) {
        const std::uint64_t from = segment->first == number ? index + 1 : 0;
        if (from < segment->second->blocks().size()) return segment->first << kBlockBits | from;
    }
    return kEnd;
}

const HistorySegment::Block* HistoryStore::find(Block block) const {
    const auto segment = segments_.find(block >> kBlockBits);
    const std::uint64_t index = block & ((1U << kBlockBits) - 1);
    if (segment == segments_.end() || index >= segment->second->blocks().size()) return nullptr;
    return &segment->second->blocks()[index];
}

bool HistoryStore::is_after(Block block, std::int64_t time_ns) const {
    const std::lock_guard lock(mutex_);
    const HistorySegment::Block* found = find(block);
    return found != nullptr && found->head.first_ns > time_ns;
}

HistoryStore::Dictionary& HistoryStore::dictionary_of(const std::shared_ptr<HistorySegment>& segment) const {
    const auto known =
        std::ranges::find_if(dictionaries_, [&](const Dictionary& one) { return one.segment.lock() == segment; });
    if (known == dictionaries_.end()) {
        dictionaries_.emplace_front().segment = segment;
        if (dictionaries_.size() > kDictionaries) dictionaries_.pop_back();
    } else {
        dictionaries_.splice(dictionaries_.begin(), dictionaries_, known);
    }
    return dictionaries_.front();
}

std::vector<FlowRecord> HistoryStore::read(Block block) const {
    const std::lock_guard cache_lock(cache_mutex_);
    std::shared_ptr<HistorySegment> segment;
    HistorySegment::Block wanted;
    std::vector<HistorySegment::Block> fresh;
    {
        const std::lock_guard lock(mutex_);
        const HistorySegment::Block* found = find(block);
        if (found == nullptr) return {};
        wanted = *found;
        segment = segments_.at(block >> kBlockBits);
        const Dictionary& dictionary = dictionary_of(segment);
        // Entries of blocks behind it its flows do not need.
        const auto& all = segment->blocks();
        for (auto at = dictionary.blocks; at < all.size() && all[at].offset <= wanted.offset; ++at)
            fresh.push_back(all[at]);
    }
    Dictionary& dictionary = dictionary_of(segment);
    if (!dictionary.broken) dictionary.broken = !segment->read_tables(fresh, dictionary.tables);
    dictionary.blocks += fresh.size();
    std::vector<FlowRecord> flows;
    flows.reserve(wanted.head.flows);
    if (!segment->read(wanted, dictionary.tables, flows))
        Logger("hubble").warn("A block of the flow history is broken",
                              {{"file", segment->path().string()}, {"offset", wanted.offset}});
    return flows;
}

}  // namespace axo::hubble
