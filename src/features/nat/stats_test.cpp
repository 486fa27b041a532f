#include "features/nat/stats.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include <atomic>

namespace axo::nat {
namespace {

class NatStatsTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        auto maps = FlowMaps::create_private(1024);
        ASSERT_TRUE(maps) << maps.error().message;
        flows_ = std::make_shared<FlowMaps>(std::move(*maps));
        stats_ = std::make_unique<NatStats>(
            loop_, registry_,
            NatStats::Settings{.range = {40000, 40099}, .entries = 32, .interval = std::chrono::milliseconds(30)},
            flows_, std::vector<NatStats::FailureCounter>{{"IPv4", [this] { return failed_.load(); }}});
    }
    // The table as if so many ports were in use.
    void set_used(std::uint16_t ports) {
        for (std::uint16_t i = 0; i < 100; ++i) {
            FlowRow row{.source = IpAddress::parse("172.18.1.11").value(),
                        .destination = IpAddress::parse("192.0.2.1").value(),
                        .source_port = static_cast<std::uint16_t>(40000 + i),
                        .destination_port = 443,
                        .protocol = IPPROTO_TCP};
            row.value.flags = FLOW_F_SNAT | FLOW_F_TRANSLATED;
            row.value.expires = FlowMaps::now_tick() + 10'000;
            const flow_key4 key = FlowMaps::encode_key4(row);
            if (i < ports) {
                ASSERT_TRUE(flows_->v4().put(key, row.value));
            } else {
                (void)flows_->v4().remove(key);
            }
        }
    }
    bool run_until(const std::function<bool()>& done) {
        bool reached = false;
        const auto poll = loop_.every(std::chrono::milliseconds(5), [&] {
            reached = done();
            if (reached) loop_.stop();
        });
        const auto limit = loop_.after(std::chrono::seconds(20), [this] { loop_.stop(); });
        loop_.run();
        return reached;
    }
    EventLoop loop_;
    ControllerRegistry registry_;
    std::shared_ptr<FlowMaps> flows_;
    std::atomic<std::uint64_t> failed_ = 7;
    std::unique_ptr<NatStats> stats_;
};

TEST_F(NatStatsTest, PressureComesAndGoesWithTheTable) {
    set_used(85);
    ASSERT_TRUE(run_until([this] { return !stats_->problems().empty(); }));
    ASSERT_EQ(stats_->problems().size(), 1U);
    EXPECT_EQ(stats_->problems()[0].where, "NAT TCP 172.18.1.11 -> 192.0.2.1:443");
    EXPECT_TRUE(stats_->problems()[0].message.starts_with("85 of 100 source ports (85 %)"));
    ASSERT_EQ(stats_->top().size(), 1U);
    set_used(10);
    EXPECT_TRUE(run_until([this] { return stats_->problems().empty(); }));
    EXPECT_EQ(stats_->top()[0].used, 10U);
}

TEST_F(NatStatsTest, FailedAllocationsAreCountedFromTheStart) {
    set_used(1);
    ASSERT_TRUE(run_until([this] { return !stats_->top().empty(); }));
    EXPECT_TRUE(stats_->problems().empty());  // the seven happened before
    failed_ = 10;
    ASSERT_TRUE(run_until([this] { return !stats_->problems().empty(); }));
    EXPECT_EQ(stats_->problems()[0].where, "NAT IPv4");
    EXPECT_TRUE(stats_->problems()[0].message.starts_with("3 connections were refused"))
        << stats_->problems()[0].message;
}

}  // namespace
}  // namespace axo::nat
