#include "app/agent/reserved_ports.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <thread>

#include "kernel/netns.h"

namespace axo {
namespace {

std::string merged(const char* reserved, const char* ephemeral, PortBounds ports) {
    const auto result = with_node_ports(reserved, ephemeral, ports);
    return !result ? result.error().message : result->empty() ? "nothing" : *result;
}

TEST(ReservedPorts, AreAddedWhereEphemeralPortsMeetThem) {
    EXPECT_EQ(merged("\n", "32768\t60999\n", {30000, 32767}), "nothing");
    EXPECT_EQ(merged("\n", "1024\t20000", {30000, 32767}), "nothing");
    EXPECT_EQ(merged("\n", "32767\t60999", {30000, 32767}), "30000-32767");
    EXPECT_EQ(merged("8472,9000-9010\n", "1024\t65535", {30000, 32767}), "8472,9000-9010,30000-32767");
    EXPECT_EQ(merged("8472,29999-33000\n", "1024\t65535", {30000, 32767}), "nothing");
    EXPECT_EQ(merged("30000-32766\n", "1024\t65535", {30000, 32767}), "30000-32766,30000-32767");
    EXPECT_EQ(
        merged("", "40000 60999", {30000, 64511}),
        "node-port-range 30000-64511 covers all of net.ipv4.ip_local_port_range '40000 60999': the node would have "
        "no ports for its own connections; set another range");
    EXPECT_EQ(merged("", "1024", {30000, 32767}), "net.ipv4.ip_local_port_range: '1024': not two ports");
    EXPECT_EQ(merged("a-b", "1024 65535", {30000, 32767}),
              "net.ipv4.ip_local_reserved_ports: 'a-b': not a list of ports");
}

// In a network namespace that ends with its thread.
TEST(ReservedPorts, AreWrittenOnce) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::thread([] {
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
        ASSERT_TRUE(write_sysctl("net.ipv4.ip_local_port_range", "20000 60999"));
        ASSERT_TRUE(write_sysctl("net.ipv4.ip_local_reserved_ports", "8472,32760-32800"));
        const auto looked = protect_node_ports({30000, 32767}, false);
        ASSERT_FALSE(looked);
        EXPECT_NE(looked.error().message.find("8472,32760-32800,30000-32767"), std::string::npos)
            << looked.error().message;
        const auto first = protect_node_ports({30000, 32767}, true);
        ASSERT_TRUE(first) << first.error().message;
        EXPECT_EQ(*first, NodePortProtection::kAdded);
        EXPECT_EQ(read_sysctl("net.ipv4.ip_local_reserved_ports").value_or("").substr(0, 16), "8472,30000-32800");
        const auto second = protect_node_ports({30000, 32767}, true);
        ASSERT_TRUE(second) << second.error().message;
        EXPECT_EQ(*second, NodePortProtection::kNotNeeded);
    }).join();
}

}  // namespace
}  // namespace axo
