#include "app/agent/node_record.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

#include "base/file.h"
#include "kernel/netns.h"

namespace axo {
namespace {

class NodeRecordTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        std::filesystem::remove_all(config_.state_dir);
        config_.datapath.services.sockets.cgroup_root = config_.state_dir / "cgroupv2";
    }
    void TearDown() override { std::filesystem::remove_all(config_.state_dir); }

    // In a network namespace that ends with its thread.
    static void inside(const std::function<void()>& work) {
        std::thread([&] {
            ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
            work();
        }).join();
    }

    Config config_{.state_dir = "/tmp/axo-record-" + std::to_string(::getpid())};
};

TEST_F(NodeRecordTest, WhatAnAgentChangesGoesBack) {
    inside([this] {
        ASSERT_TRUE(write_sysctl("net.ipv4.ip_forward", "0"));
        ASSERT_TRUE(write_sysctl("net.ipv4.conf.all.rp_filter", "1"));
        ASSERT_TRUE(write_sysctl("net.ipv4.ip_local_reserved_ports", "8472,40000-40010"));
        ASSERT_TRUE(remember_node(config_));
        const auto record = read_node_record(config_.state_dir);
        ASSERT_TRUE(record && *record);
        EXPECT_TRUE((*record)->unmounted.contains(config_.datapath.services.sockets.cgroup_root));
        EXPECT_EQ((*record)->nft_tables, std::set<std::string>{});
        EXPECT_TRUE(changed_sysctls(**record, {}).empty());

        ASSERT_TRUE(write_sysctl("net.ipv4.ip_forward", "1"));
        ASSERT_TRUE(write_sysctl("net.ipv4.conf.all.rp_filter", "2"));  // not an agent's value
        ASSERT_TRUE(write_sysctl("net.ipv4.ip_local_reserved_ports", "8472,30000-32767,40000-40010"));
        // A later start does not take these for the node's own.
        ASSERT_TRUE(remember_node(config_));
        const auto again = read_node_record(config_.state_dir);
        ASSERT_TRUE(again && *again);
        EXPECT_EQ(changed_sysctls(**again, {}),
                  (std::vector<SysctlChange>{
                      {"net.ipv4.ip_forward", "1", "0"},
                      {"net.ipv4.ip_local_reserved_ports", "8472,30000-32767,40000-40010", "8472,40000-40010"}}));
        // Somebody has added a port since.
        ASSERT_TRUE(write_sysctl("net.ipv4.ip_local_reserved_ports", "22222,30000-32767"));
        EXPECT_EQ(changed_sysctls(**again, {}).size(), 1U);
    });
}

TEST_F(NodeRecordTest, TornOrMissing) {
    EXPECT_EQ(read_node_record(config_.state_dir).value(), std::nullopt);
    for (const char* torn :
         {"{\"sysctls\": {", "[]", "{\"sysctls\": {\"a\": 1}, \"unmounted\": [], \"nft-tables\": []}"}) {
        ASSERT_TRUE(make_directories(config_.state_dir / "state"));
        ASSERT_TRUE(write_atomic(node_record_path(config_.state_dir), torn));
        const auto read = read_node_record(config_.state_dir);
        ASSERT_FALSE(read) << torn;
        EXPECT_EQ(read.error().code, Code::kDataLoss);
    }
}

TEST(IsMounted, Points) {
    EXPECT_TRUE(is_mounted("/proc"));
    EXPECT_FALSE(is_mounted("/proc/self"));
    EXPECT_FALSE(is_mounted("/nowhere"));
}

}  // namespace
}  // namespace axo
