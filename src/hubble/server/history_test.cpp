#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "hubble/core/decode.h"
#include "hubble/server/flow_query.h"
#include "hubble/server/history_store.h"

namespace axo::hubble {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kStart = 1'700'000'000'000'000'000;

class HistoryTest : public ::testing::Test {
protected:
    void SetUp() override {
        path_ = fs::temp_directory_path() / ("axo-history-" + std::to_string(::getpid()));
        fs::remove_all(path_);
        settings_ = {.path = path_, .max_age = std::chrono::hours(24 * 365 * 100)};
        for (int i = 0; i < 50; ++i) {
            auto info = std::make_shared<EndpointInfo>();
            info->id = static_cast<std::uint32_t>(i);
            info->identity = 300U + static_cast<std::uint32_t>(i);
            info->cluster = "east";
            info->name_space = "shop";
            info->pod = "web-7d4b8f9c6-" + std::to_string(i);
            info->workloads = {{"web", "Deployment"}};
            info->labels =
                make_labels({"k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop", "k8s:n=" + std::to_string(i)});
            ends_.push_back(info);
        }
        auto rule = std::make_shared<RuleInfo>();
        rule->text = "CiliumNetworkPolicy shop/web, spec.ingress[0]";
        rule->deny = true;
        rule->policies = {{"CiliumNetworkPolicy", "shop", "web", {"k8s:a=b"}}};
        rule_ = std::make_shared<RuleSlot>(77);
        rule_->fill(rule);
    }
    void TearDown() override { fs::remove_all(path_); }

    FlowRecord flow(std::uint64_t number) const {
        FlowRecord record;
        flow_event& event = record.event;
        event.type = number % 5 == 0 ? EVENT_DROP : EVENT_TRACE;
        event.subtype = number % 5 == 0 ? 181 : 0;
        event.reason = number % 2 == 0 ? TRACE_REASON_NEW : TRACE_REASON_REPLY;
        event.ethertype = number % 7 == 0 ? 0x86DD : 0x0800;
        event.flags = number % 7 == 0 ? EVENT_F_IPV6 : 0;
        event.proto = number % 11 == 0 ? IPPROTO_UDP : IPPROTO_TCP;
        event.tcp_flags = event.proto == IPPROTO_TCP ? 0x12 : 0;
        event.sport = htons(static_cast<std::uint16_t>(30000 + number % 20000));
        event.dport = htons(443);
        event.endpoint_dst = 7;
        event.ifindex = 12;
        event.length = 74 + static_cast<std::uint32_t>(number % 1400);
        event.packets = event.type == EVENT_DROP ? 0 : number % 100'000;
        event.bytes = event.type == EVENT_DROP ? 0 : number * 613 % 10'000'000;
        record.source = ends_[number % ends_.size()];
        record.destination = ends_[(number * 7 + 3) % ends_.size()];
        const std::uint8_t last[2] = {static_cast<std::uint8_t>(number % ends_.size()),
                                      static_cast<std::uint8_t>((number * 7 + 3) % ends_.size())};
        auto* from = reinterpret_cast<std::uint8_t*>(&event.saddr);
        auto* to = reinterpret_cast<std::uint8_t*>(&event.daddr);
        from[0] = to[0] = 10;
        from[3] = last[0];
        to[3] = last[1];
        event.identity_src = record.source->identity;
        event.identity_dst = record.destination->identity;
        if (event.type == EVENT_DROP) {
            record.rule = rule_;
            event.rule_cookie = 77;
            event.line = 165;
            event.file = 20;
        }
        record.interface = interface_;
        record.time_ns = kStart + static_cast<std::int64_t>(number) * 20'000;
        record.sequence = 0xF000'0000'0000'0000 + number;
        decode(record);
        return record;
    }

    std::unique_ptr<HistoryStore> open() {
        auto store = HistoryStore::open(settings_);
        EXPECT_TRUE(store) << store.error().message;
        return std::move(*store);
    }

    // All flows from `since` on.
    static std::vector<FlowRecord> all(const HistoryStore& store, std::int64_t since = 0) {
        std::vector<FlowRecord> flows;
        for (auto block = store.seek(since); block != History::kEnd; block = store.next(block)) {
            for (FlowRecord& record : store.read(block)) {
                if (record.time_ns >= since) flows.push_back(std::move(record));
            }
        }
        return flows;
    }

    static void expect_same(const FlowRecord& is, const FlowRecord& was) {
        EXPECT_EQ(is.time_ns, was.time_ns);
        EXPECT_EQ(is.sequence, was.sequence);
        EXPECT_EQ(is.source->pod, was.source->pod);
        EXPECT_EQ(is.source->labels->texts, was.source->labels->texts);
        EXPECT_EQ(is.destination->workloads, was.destination->workloads);
        EXPECT_EQ(is.source_ip().to_string(), was.source_ip().to_string());
        EXPECT_EQ(is.destination_ip().to_string(), was.destination_ip().to_string());
        EXPECT_EQ(is.source_port(), was.source_port());
        EXPECT_EQ(is.destination_port(), was.destination_port());
        EXPECT_EQ(is.event.packets, was.event.packets);
        EXPECT_EQ(is.event.bytes, was.event.bytes);
        EXPECT_EQ(is.event.length, was.event.length);
        EXPECT_EQ(is.event.tcp_flags, was.event.tcp_flags);
        EXPECT_EQ(is.event.line, was.event.line);
        EXPECT_EQ(is.direction, was.direction);
        EXPECT_EQ(is.verdict, was.verdict);
        EXPECT_EQ(is.reply, was.reply);
        EXPECT_EQ(is.drop_reason(), was.drop_reason());
        EXPECT_EQ(*is.interface, *was.interface);
        ASSERT_EQ(is.rule != nullptr, was.rule != nullptr);
        if (is.rule) {
            EXPECT_EQ(is.rule->info()->text, was.rule->info()->text);
            EXPECT_EQ(is.rule->info()->policies, was.rule->info()->policies);
        }
    }

    // 200 blocks would take long to fill; the block's size is what it is.
    void fill(HistoryStore& store, std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t i = first; i < first + count; ++i) {
            store.add(flow(i));
            if (i % 20'000 == 19'999) store.flush();
        }
        store.flush();
    }

    fs::path path_;
    HistorySettings settings_;
    std::vector<EndpointRef> ends_;
    RuleRef rule_;
    std::shared_ptr<const std::string> interface_ = std::make_shared<const std::string>("lxc1234");
};

TEST_F(HistoryTest, KeepsEverythingOfAFlowAndSurvivesARestart) {
    {
        auto store = open();
        fill(*store, 1, 10'000);
        FlowRecord lost;
        lost.lost = 42;
        lost.lost_source = LostSource::kDatapathRing;
        lost.time_ns = kStart + 10'001 * 20'000;
        store->add(lost);
        EXPECT_EQ(store->status().lost, 0U);
    }
    auto store = open();
    const auto flows = all(*store);
    ASSERT_EQ(flows.size(), 10'001U);
    for (std::size_t i = 0; i < 10'000; i += 7) expect_same(flows[i], flow(i + 1));
    EXPECT_EQ(flows.back().lost, 42U);
    EXPECT_EQ(all(*store, flow(9'000).time_ns).size(), 1'002U);
    // Backwards.
    std::size_t back = 0;
    for (auto block = store->last(); block != History::kEnd; block = store->previous(block))
        back += store->read(block).size();
    EXPECT_EQ(back, 10'001U);
    const HistoryStore::Status status = store->status();
    EXPECT_LE(status.bytes / 10'001, 80U);
    EXPECT_EQ(status.flows, 10'001U);
    // More comes in a file of its own.
    fill(*store, 10'002, 10);
    EXPECT_EQ(all(*store).size(), 10'011U);
    EXPECT_EQ(store->status().segments, 2U);
}

TEST_F(HistoryTest, ATornOrBrokenBlockCostsItself) {
    fs::path file;
    {
        auto store = open();
        fill(*store, 1, 4096 * 3);
        for (const auto& entry : fs::directory_iterator(path_)) file = entry.path();
    }
    // A kill in the middle of a write.
    fs::resize_file(file, fs::file_size(file) - 100);
    EXPECT_EQ(all(*open()).size(), 4096U * 2);
    // A byte of the second block's flows goes bad: of what lies around it nothing is lost.
    {
        const HistorySegment segment = HistorySegment::open(file).value();
        ASSERT_EQ(segment.blocks().size(), 2U);
        std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
        const auto& first = segment.blocks()[0];
        stream.seekp(static_cast<std::streamoff>(first.offset + sizeof(BlockHead) + first.head.tables_length + 1000));
        stream.put('\xFF');
    }
    const auto flows = all(*open());
    ASSERT_EQ(flows.size(), 4096U);
    expect_same(flows[0], flow(4097));
    // What is no segment at all is left alone and does not stop anything.
    std::ofstream(path_ / "0000000099.flows") << "nonsense";
    EXPECT_EQ(all(*open()).size(), 4096U);
}

TEST_F(HistoryTest, TheOldestGoesWhenThereIsTooMuchOrItIsTooOld) {
    settings_.segment_bytes = 200'000;
    settings_.max_bytes = 1'000'000;
    {
        auto store = open();
        fill(*store, 1, 100'000);
        const HistoryStore::Status status = store->status();
        EXPECT_LE(status.bytes, 1'000'000U);
        EXPECT_GT(status.bytes, 500'000U);
        const auto flows = all(*store);
        expect_same(flows.back(), flow(100'000));
        EXPECT_LT(flows.size(), 60'000U);
    }
    settings_.max_age = std::chrono::hours(1);
    auto store = open();
    EXPECT_EQ(store->status().segments, 0U) << "these flows are of 2023";
}

// Blocks of a quiet node hold few flows each: a file has many of them.
TEST_F(HistoryTest, ReadingCostsTheSameWhereverABlockIs) {
    auto store = open();
    std::chrono::steady_clock::duration first{}, last{};
    constexpr std::uint64_t kBlocks = 3000;
    for (std::uint64_t i = 1; i <= kBlocks; ++i) {
        store->add(flow(i));
        const History::Block block = store->last();
        const auto start = std::chrono::steady_clock::now();
        const auto flows = store->read(block);
        const auto took = std::chrono::steady_clock::now() - start;
        ASSERT_EQ(flows.size(), 1U);
        if (i <= kBlocks / 10) first += took;
        if (i > kBlocks - kBlocks / 10) last += took;
        if (i % 500 == 0) expect_same(flows[0], flow(i));
    }
    EXPECT_LT(last, first * 8 + std::chrono::milliseconds(20));
    EXPECT_EQ(all(*store).size(), kBlocks);
    // Two queries at different places, in turn.
    const History::Block one = store->seek(0), other = store->last();
    for (int i = 0; i < 10; ++i) {
        expect_same(store->read(one).at(0), flow(1));
        expect_same(store->read(other).at(0), flow(kBlocks));
    }
}

TEST_F(HistoryTest, WhoAsksIsNotHeldUpByFlowsThatCome) {
    auto store = open();
    std::atomic<bool> stop = false;
    std::thread writer([&] {
        for (std::uint64_t i = 1; !stop; ++i) {
            store->add(flow(i));
            if (i % 50 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    });
    for (int i = 0; i < 50; ++i) {
        const auto start = std::chrono::steady_clock::now();
        store->flush();
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(1500));
    }
    stop = true;
    writer.join();
}

// Counts what a query reads.
class Counted final : public History {
public:
    explicit Counted(const History& history) : history_(history) {}
    [[nodiscard]] Block seek(std::int64_t since_ns) const override { return history_.seek(since_ns); }
    [[nodiscard]] Block last() const override { return history_.last(); }
    [[nodiscard]] Block previous(Block block) const override { return history_.previous(block); }
    [[nodiscard]] Block next(Block block) const override { return history_.next(block); }
    [[nodiscard]] bool is_after(Block block, std::int64_t time_ns) const override {
        return history_.is_after(block, time_ns);
    }
    [[nodiscard]] std::vector<FlowRecord> read(Block block) const override {
        ++reads;
        return history_.read(block);
    }
    mutable int reads = 0;

private:
    const History& history_;
};

TEST_F(HistoryTest, AQueryReadsTheBlocksOfItsTimeOnly) {
    auto store = open();
    constexpr std::uint64_t kFlows = 50'000;
    fill(*store, 1, kFlows);
    Observer observer({.cluster = "c", .node = "n", .node_labels = {}, .version = "v", .capacity = 15}, nullptr);
    const auto ask = [&](const ::observer::GetFlowsRequest& request, int& reads) {
        const Counted counted(*store);
        auto call = query_flows(request.SerializeAsString(), observer, &counted).value();
        std::vector<std::int64_t> times;
        for (;;) {
            std::string message;
            const auto next = call->next(message);
            if (next == rpc::Call::Next::kDone) break;
            if (next != rpc::Call::Next::kMessage) continue;
            ::observer::GetFlowsResponse response;
            response.ParseFromString(message);
            times.push_back(from_timestamp(response.time()));
        }
        reads = counted.reads;
        return times;
    };
    int reads = 0;
    ::observer::GetFlowsRequest request;
    to_timestamp(flow(100).time_ns, *request.mutable_since());
    to_timestamp(flow(5000).time_ns, *request.mutable_until());
    // Both ends belong to it, as with Hubble.
    auto times = ask(request, reads);
    ASSERT_EQ(times.size(), 4901U);
    EXPECT_EQ(times.front(), flow(100).time_ns);
    EXPECT_EQ(times.back(), flow(5000).time_ns);
    EXPECT_LE(reads, 3);
    // The last ones before it.
    request.clear_since();
    request.set_number(10);
    times = ask(request, reads);
    ASSERT_EQ(times.size(), 10U);
    EXPECT_EQ(times.front(), flow(4991).time_ns);
    EXPECT_EQ(times.back(), flow(5000).time_ns);
    EXPECT_LE(reads, 6);
    // More than there are.
    request.set_number(10'000);
    EXPECT_EQ(ask(request, reads).size(), 5000U);
    // All is later.
    to_timestamp(flow(1).time_ns - 1, *request.mutable_until());
    EXPECT_EQ(ask(request, reads).size(), 0U);
    EXPECT_EQ(reads, 0);
}

TEST_F(HistoryTest, AFullDiskLosesFlowsCountsThemAndRecovers) {
    fs::create_directories(path_);
    if (::mount("none", path_.c_str(), "tmpfs", 0, "size=600k") != 0) GTEST_SKIP() << "needs root";
    settings_.segment_bytes = 100'000;
    settings_.max_bytes = 100'000'000;
    {
        auto store = open();
        fill(*store, 1, 60'000);
        EXPECT_EQ(store->status().error, "");
        expect_same(all(*store).back(), flow(60'000));
        EXPECT_EQ(store->status().lost, 0U) << "older flows make room";
    }
    for (const auto& entry : fs::directory_iterator(path_)) fs::remove(entry.path());
    // Somebody else takes what there is, and gives it back.
    std::ofstream(path_ / "hog") << std::string(2'000'000, 'x');
    settings_.retry_interval = std::chrono::milliseconds(50);
    {
        auto store = open();
        fill(*store, 1, 20'000);
        const HistoryStore::Status full = store->status();
        EXPECT_EQ(full.lost, 20'000U);
        EXPECT_NE(full.error.find("No space left"), std::string::npos) << full.error;
        fs::remove(path_ / "hog");
        std::this_thread::sleep_for(std::chrono::milliseconds(60));
        fill(*store, 20'001, 1000);
        EXPECT_EQ(store->status().error, "");
        EXPECT_EQ(all(*store).size(), 1000U);
    }
    ::umount2(path_.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace axo::hubble
