// The XDP program on the node's uplinks: modes, adoption, what happens to a device whose driver has none.
#include "datapath/xdp.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_netns.h"
#include "kernel/xdp_link.h"

namespace axo {
namespace {

class XdpDevices : public ::testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        settings_.paths.root = bpffs_.path();
        settings_.owner = "test/a";
        settings_.router_ipv4 = IpAddress::parse("10.0.0.1").value();
        settings_.routing = RoutingMode::kNative;
        settings_.node_ipv4 = IpAddress::parse("192.168.0.1").value();
        settings_.devices = {"eth0"};
        netns_.inside([&] {
            auto netlink = Netlink::open();
            ASSERT_OK(netlink);
            ASSERT_OK(netlink->add_veth({.name = "eth0", .peer_name = "wire"}));
            for (const char* name : {"lo", "eth0", "wire"})
                ASSERT_OK(netlink->set_up(netlink->link(name)->index, true));
            device_ = netlink->link("eth0")->index;
            ASSERT_OK(netlink->add_address(device_, Prefix::parse("192.168.0.0/24").value(),
                                           IpAddress::parse("192.168.0.1").value()));
        });
    }
    void TearDown() override {
        netns_.inside([&] { EXPECT_OK(Datapath::remove_everything(settings_.paths)); });
        EXPECT_EQ(mode(), XdpMode::kNone);
    }
    struct Started {
        DatapathStartReport report;
        std::vector<Datapath::XdpDevice> devices;
    };
    Result<Started> start() {
        Result<Started> started;
        netns_.inside([&] {
            auto datapath = Datapath::start(loop_, registry_, settings_, probe_kernel_features().value());
            if (!datapath) {
                started = std::unexpected(datapath.error());
                return;
            }
            started = Started{(*datapath)->start_report(), (*datapath)->xdp_devices()};
        });
        return started;
    }
    [[nodiscard]] XdpMode mode() const {
        XdpMode mode = XdpMode::kNone;
        netns_.inside([&] { mode = xdp_mode(device_).value(); });
        return mode;
    }
    void set_mtu(std::uint32_t mtu) {
        netns_.inside([&] {
            auto netlink = Netlink::open();
            for (const char* name : {"wire", "eth0"}) ASSERT_OK(netlink->set_mtu(netlink->link(name)->index, mtu));
        });
    }

    ScratchBpffs bpffs_;
    ScratchNetns netns_{"axoxdp"};
    IfIndex device_;
    DatapathSettings settings_;
    EventLoop loop_;
    ControllerRegistry registry_;
};

TEST_F(XdpDevices, NativeIsAttachedAdoptedAndTakenAway) {
    settings_.services.acceleration = XdpAcceleration::kNative;
    const auto first = start();
    ASSERT_OK(first);
    ASSERT_EQ(first->devices.size(), 1U);
    EXPECT_EQ(first->devices[0].name, "eth0");
    EXPECT_EQ(first->devices[0].mode, XdpMode::kNative);
    EXPECT_EQ(mode(), XdpMode::kNative);
    const auto again = start();
    ASSERT_OK(again);
    EXPECT_EQ(again->report.links_attached + again->report.links_updated, 0U);
    // Another program in the same place, without a gap.
    settings_.services.xdp_prefilter = true;
    const auto changed = start();
    ASSERT_OK(changed);
    EXPECT_EQ(changed->report.links_attached, 0U);
    EXPECT_EQ(mode(), XdpMode::kNative);
    settings_.services.acceleration = XdpAcceleration::kGeneric;
    const auto generic = start();
    ASSERT_OK(generic);
    EXPECT_EQ(generic->devices[0].mode, XdpMode::kGeneric);
    EXPECT_EQ(mode(), XdpMode::kGeneric);
    settings_.services.acceleration = XdpAcceleration::kDisabled;
    settings_.services.xdp_prefilter = false;
    const auto off = start();
    ASSERT_OK(off);
    EXPECT_TRUE(off->devices.empty());
    EXPECT_EQ(mode(), XdpMode::kNone);
    EXPECT_FALSE(std::filesystem::exists(settings_.paths.map(map_name::kPrefilterDyn4)));
}

// Frames of native XDP have to fit into a page.
TEST_F(XdpDevices, ADeviceThatCannotGoesWithoutIsRefusedOrTakesTheSlowWay) {
    set_mtu(9000);
    settings_.services.acceleration = XdpAcceleration::kBestEffort;
    const auto without = start();
    ASSERT_OK(without);
    ASSERT_EQ(without->devices.size(), 1U);
    EXPECT_EQ(without->devices[0].mode, XdpMode::kNone);
    EXPECT_NE(without->devices[0].note.find("eth0"), std::string::npos) << without->devices[0].note;
    settings_.services.acceleration = XdpAcceleration::kNative;
    const auto refused = start();
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find("bpf-lb-acceleration=native"), std::string::npos) << refused.error().message;
    EXPECT_NE(refused.error().message.find("eth0"), std::string::npos) << refused.error().message;
    settings_.services.acceleration = XdpAcceleration::kDisabled;
    settings_.services.xdp_prefilter = true;
    const auto filtered = start();
    ASSERT_OK(filtered);
    EXPECT_EQ(filtered->devices[0].mode, XdpMode::kGeneric);
    // Once it can, it does.
    set_mtu(1500);
    const auto native = start();
    ASSERT_OK(native);
    EXPECT_EQ(native->devices[0].mode, XdpMode::kNative);
    EXPECT_EQ(mode(), XdpMode::kNative);
}

}  // namespace
}  // namespace axo
