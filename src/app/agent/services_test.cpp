#include "app/agent/services.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

TEST(DirectRoutingDevice, IsTheOneWithTheNodesAddress) {
    DatapathDecisions decisions;
    const auto ip = [](const char* text) { return IpAddress::parse(text).value(); };
    NativeDevice storage, uplink;
    storage.name = "eth0";
    storage.addresses = {ip("10.9.0.1")};
    uplink.name = "eth1";
    uplink.addresses = {ip("10.1.0.99"), ip("10.1.0.1")};
    decisions.devices = {storage, uplink};
    decisions.node_ipv4 = ip("10.1.0.1");
    EXPECT_EQ(direct_routing_device(decisions), "eth1");
    EXPECT_EQ(direct_routing_device_warning("", decisions), "");
    EXPECT_EQ(direct_routing_device_warning("eth1", decisions), "");
    EXPECT_EQ(direct_routing_device_warning("eth0", decisions),
              "direct-routing-device='eth0': 'eth1' is used, because it has the node's address; give the node an "
              "address of the wanted device, or remove the setting");
    decisions.node_ipv4 = ip("10.2.0.1");
    EXPECT_TRUE(direct_routing_device_warning("eth1", decisions)
                    .starts_with("direct-routing-device='eth1': no native device (eth0, eth1) has"));
}

}  // namespace
}  // namespace axo
