// The XDP program on the node's uplinks: modes, adoption, what happens to a device whose driver has none.
#include "datapath/xdp.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cstring>
#include <filesystem>

#include "datapath/prefilter.h"
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
    // GRO at the other end of the pair: whether it polls, and so takes what XDP sends.
    void set_gro(bool on) {
        netns_.inside([&] {
            const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            ethtool_value value{.cmd = ETHTOOL_SGRO, .data = on};
            ifreq request{};
            std::strncpy(request.ifr_name, "wire", IFNAMSIZ - 1);
            request.ifr_data = reinterpret_cast<char*>(&value);
            ASSERT_EQ(::ioctl(socket.get(), SIOCETHTOOL, &request), 0) << std::strerror(errno);
        });
    }
    // Of eth0 in the programs' map; 0: nothing.
    [[nodiscard]] std::uint32_t ways_out() const {
        const auto map = RawBpfMap::open_pinned(settings_.paths.map(map_name::kXdpDevices));
        std::uint32_t ways = 0;
        return map && map->lookup(&device_.value, &ways) ? ways : 0;
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
    set_gro(true);
    settings_.services.acceleration = XdpAcceleration::kNative;
    const auto first = start();
    ASSERT_OK(first);
    ASSERT_EQ(first->devices.size(), 1U);
    EXPECT_EQ(first->devices[0].name, "eth0");
    EXPECT_EQ(first->devices[0].mode, XdpMode::kNative);
    EXPECT_TRUE(first->devices[0].forwards) << first->devices[0].note;
    EXPECT_EQ(ways_out(), XDP_DEVICE_REDIRECT);
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

// Nobody polls at the other end: what is sent there would be lost.
TEST_F(XdpDevices, AVethForwardsWhileItsOtherEndTakesFrames) {
    set_gro(false);
    settings_.services.acceleration = XdpAcceleration::kBestEffort;
    const auto silent = start();
    ASSERT_OK(silent);
    EXPECT_EQ(mode(), XdpMode::kNone);
    EXPECT_FALSE(silent->devices[0].forwards);
    EXPECT_NE(silent->devices[0].note.find("veth"), std::string::npos) << silent->devices[0].note;
    EXPECT_EQ(ways_out(), 0U);
    settings_.services.acceleration = XdpAcceleration::kNative;
    const auto refused = start();
    ASSERT_FALSE(refused.has_value());
    EXPECT_NE(refused.error().message.find("bpf-lb-acceleration=native: eth0"), std::string::npos)
        << refused.error().message;
    set_gro(true);
    ASSERT_OK(start());
    EXPECT_EQ(ways_out(), XDP_DEVICE_REDIRECT);
    // Stops while it runs: not one frame more goes there, and the list of sources is looked at all the same.
    set_gro(false);
    settings_.services.acceleration = XdpAcceleration::kBestEffort;
    settings_.services.xdp_prefilter = true;
    const auto filtered = start();
    ASSERT_OK(filtered);
    EXPECT_EQ(filtered->devices[0].mode, XdpMode::kNative);
    EXPECT_FALSE(filtered->devices[0].forwards);
    EXPECT_EQ(ways_out(), 0U);
}

// Frames of native XDP have to fit into a page.
TEST_F(XdpDevices, ADeviceThatCannotGoesWithoutIsRefusedOrTakesTheSlowWay) {
    set_gro(true);
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

TEST_F(XdpDevices, TheListOfSourcesChangesAsAWhole) {
    settings_.services.xdp_prefilter = true;
    ASSERT_OK(start());
    auto maps = PrefilterMaps::open(settings_.paths);
    ASSERT_OK(maps);
    Prefilter prefilter(std::move(*maps), {.ipv4 = true, .ipv6 = false});
    const auto prefixes = [](std::vector<const char*> texts) {
        std::vector<Prefix> all;
        for (const char* text : texts) all.push_back(*Prefix::parse(text));
        return all;
    };
    const auto one = prefixes({"192.0.2.7/32", "198.51.100.0/24"});
    EXPECT_EQ(prefilter.revision(), 1);
    ASSERT_OK(prefilter.add(1, one));
    EXPECT_EQ(prefilter.revision(), 2);
    EXPECT_EQ(prefilter.list().value(), one);
    // Another one's change in between, a family that nobody looks at, something that is not there: nothing of it is
    // done.
    EXPECT_EQ(prefilter.add(1, prefixes({"203.0.113.0/24"})).error().code, Code::kAborted);
    EXPECT_EQ(prefilter.add(0, prefixes({"203.0.113.0/24", "2001:db8::/32"})).error().code, Code::kInvalidArgument);
    EXPECT_EQ(prefilter.remove(2, prefixes({"192.0.2.7/32", "203.0.113.0/24"})).error().code, Code::kNotFound);
    EXPECT_EQ(prefilter.list().value(), one);
    EXPECT_EQ(prefilter.revision(), 2);
    // A map that is full: what went in before the one that did not fit is taken out again.
    std::vector<Prefix> many;
    for (std::uint32_t i = 0; i <= PREFILTER_MAX_PREFIXES; ++i)
        many.push_back(Prefix::host(IpAddress::v4(htonl(0x0a000000U + i))));
    EXPECT_FALSE(prefilter.add(0, many));
    EXPECT_EQ(prefilter.list().value(), one);
    // Whoever comes next finds it.
    ASSERT_OK(start());
    Prefilter next(PrefilterMaps::open(settings_.paths).value(), {});
    EXPECT_EQ(next.list().value(), one);
    ASSERT_OK(next.remove(0, one));
    EXPECT_TRUE(next.list()->empty());
}

}  // namespace
}  // namespace axo
