#include "kernel/ring_buffer.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>

#include "kernel/bpf_blobs.h"
#include "kernel/bpf_object.h"
#include "kernel/fixture.h"
#include "kernel/scratch_netns.h"

AXO_BPF_BLOB(fixture)

namespace axo {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class RingBufferTest : public ::testing::Test {
protected:
    void load(std::uint64_t records_per_run) {
        BpfLoadSpec spec;
        spec.name = "fixture";
        spec.object = bpf_blob_fixture();
        spec.disabled_programs = {"fixture_refused"};
        spec.config.push_back(BpfConfigBlob::of("fixture_limits", fixture_limits{.records = records_per_run}));
        auto object = BpfObject::load(spec);
        ASSERT_OK(object);
        object_.emplace(std::move(*object));
        emit_ = *object_->program_fd("fixture_emit");
        ring_ = *object_->map_fd("axo_fixture_events");
    }
    void emit(std::uint32_t flags, std::uint32_t runs = 1) {
        TestRunContext context;
        context.mark = flags;
        const std::vector<std::byte> packet(64);
        ASSERT_OK(run_program(emit_, packet, context, runs));
    }
    std::unique_ptr<RingBufferReader> start(Duration interval) {
        auto reader = RingBufferReader::start(ring_, interval, [this](std::span<const std::byte> record) {
            std::uint32_t sequence = 0;
            EXPECT_EQ(record.size(), sizeof(sequence));
            std::memcpy(&sequence, record.data(), sizeof(sequence));
            const std::lock_guard lock(mutex_);
            seen_.push_back(sequence);
        });
        EXPECT_OK(reader);
        return std::move(*reader);
    }
    bool wait_for(std::size_t count, Duration limit) {
        const auto deadline = Clock::now() + limit;
        while (Clock::now() < deadline) {
            {
                const std::lock_guard lock(mutex_);
                if (seen_.size() >= count) return true;
            }
            std::this_thread::sleep_for(500us);
        }
        return false;
    }

    std::optional<BpfObject> object_;
    int emit_ = -1;
    int ring_ = -1;
    std::mutex mutex_;
    std::vector<std::uint32_t> seen_;
};

TEST_F(RingBufferTest, ReadsWithoutWakeups) {
    load(10);
    auto reader = start(1ms);
    emit(BPF_RB_NO_WAKEUP);
    EXPECT_TRUE(wait_for(10, 2s));
    emit(BPF_RB_NO_WAKEUP);
    EXPECT_TRUE(wait_for(20, 2s));
    EXPECT_EQ(reader->records(), 20U);
}

// Also after the reader has slowed down, a forced wake-up is heard at once.
TEST_F(RingBufferTest, ForcedWakeupEndsTheWait) {
    load(1);
    auto reader = start(10s);
    std::this_thread::sleep_for(100ms);  // the reader looks once before it waits
    emit(BPF_RB_NO_WAKEUP);
    EXPECT_FALSE(wait_for(1, 300ms));
    const auto before = Clock::now();
    emit(BPF_RB_FORCE_WAKEUP);
    EXPECT_TRUE(wait_for(2, 2s));
    EXPECT_LT(Clock::now() - before, 1s);
}

TEST_F(RingBufferTest, NothingIsLostUnderLoad) {
    load(64);
    auto reader = start(1ms);
    constexpr std::uint32_t kRuns = 5000;
    std::uint64_t produced = 0;
    for (std::uint32_t i = 0; i < kRuns / 100; ++i) {
        emit(BPF_RB_NO_WAKEUP, 100);  // 6,400 records of 16 bytes: a tenth of the ring
        produced += 6400;
        // A busy machine or a sanitizer slows the reader: never more than three tenths are outstanding.
        if (produced > 12800) {
            ASSERT_TRUE(wait_for(produced - 12800, 10s));
        }
    }
    wait_for(produced, 10s);
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(seen_.size(), produced);
}

TEST_F(RingBufferTest, UnreadRecordsAreTheNextReaders) {
    load(1);
    {
        auto reader = start(1ms);
    }
    emit(BPF_RB_NO_WAKEUP);
    auto reader = start(1ms);
    EXPECT_TRUE(wait_for(1, 2s));
}

TEST_F(RingBufferTest, IdleCostsNextToNothing) {
    load(1);
    auto reader = start(1ms);
    std::this_thread::sleep_for(500ms);
    auto cpu = [] {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        return std::pair(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec * 1000000 +
                             usage.ru_stime.tv_usec,
                         usage.ru_nvcsw);
    };
    const auto [time_before, switches_before] = cpu();
    std::this_thread::sleep_for(1s);
    const auto [time_after, switches_after] = cpu();
    std::printf("idle reader: %ld us CPU and %ld context switches per second\n", time_after - time_before,
                switches_after - switches_before);
    EXPECT_LT(switches_after - switches_before, 30);
    EXPECT_LT(time_after - time_before, 10000);
    const auto before = Clock::now();
    emit(BPF_RB_NO_WAKEUP);
    EXPECT_TRUE(wait_for(1, 2s));
    EXPECT_LT(Clock::now() - before, 1s);
}

TEST_F(RingBufferTest, StopsPromptlyUnderLoadAndRefusesOtherMaps) {
    load(64);
    auto reader = start(10s);
    const auto before = Clock::now();
    reader.reset();
    EXPECT_LT(Clock::now() - before, 1s);
    EXPECT_FALSE(RingBufferReader::start(*object_->map_fd("axo_fixture_counters"), 1ms, [](auto) {}));
    EXPECT_FALSE(RingBufferReader::start(-1, 1ms, [](auto) {}));
}

}  // namespace
}  // namespace axo
