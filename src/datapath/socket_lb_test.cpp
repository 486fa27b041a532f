// The programs at sockets as the node has them: attached below a cgroup, adopted, replaced in place, taken away.
#include "datapath/socket_lb.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "kernel/cgroup_link.h"
#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_cgroup.h"
#include "kernel/scratch_netns.h"

namespace axo {
namespace {

class SocketLb : public ::testing::Test {
protected:
    void SetUp() override {
        if (cgroup_.path().empty()) GTEST_SKIP() << "no cgroup v2 hierarchy is mounted";
        settings_.paths.root = bpffs_.path();
        settings_.owner = "test/a";
        settings_.router_ipv4 = IpAddress::parse("10.0.0.1").value();
        settings_.routing = RoutingMode::kNative;
        settings_.node_ipv4 = IpAddress::parse("192.168.0.1").value();
        settings_.devices = {"eth0"};
        settings_.services.sockets.enabled = true;
        settings_.services.sockets.cgroup_root = cgroup_.path();
        netns_.inside([&] {
            auto netlink = Netlink::open();
            ASSERT_OK(netlink);
            ASSERT_OK(netlink->add_veth({.name = "eth0", .peer_name = "wire"}));
            for (const char* name : {"lo", "eth0", "wire"})
                ASSERT_OK(netlink->set_up(netlink->link(name)->index, true));
            ASSERT_OK(netlink->add_address(netlink->link("eth0")->index, Prefix::parse("192.168.0.0/24").value(),
                                           IpAddress::parse("192.168.0.1").value()));
        });
    }
    void TearDown() override {
        netns_.inside([&] { EXPECT_OK(Datapath::remove_everything(settings_.paths)); });
        EXPECT_EQ(attached(BPF_CGROUP_INET4_CONNECT), 0U);
    }
    DatapathStartReport start() {
        DatapathStartReport report;
        netns_.inside([&] {
            auto datapath = Datapath::start(loop_, registry_, settings_, probe_kernel_features().value());
            ASSERT_OK(datapath);
            report = (*datapath)->start_report();
            auto usage = (*datapath)->map_usage();
            EXPECT_OK(usage);
        });
        return report;
    }
    [[nodiscard]] std::uint32_t attached(bpf_attach_type type) const {
        const Fd cgroup(::open(cgroup_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        std::uint32_t flags = 0, count = 0;
        EXPECT_EQ(bpf_prog_query(cgroup.get(), type, 0, &flags, nullptr, &count), 0) << std::strerror(errno);
        return count;
    }
    [[nodiscard]] std::optional<std::uint32_t> program(const std::string& name) const {
        return linked_program_id(settings_.paths.socket_links() + "/" + name).value();
    }

    ScratchCgroup cgroup_{false};
    ScratchBpffs bpffs_;
    ScratchNetns netns_{"axosl"};
    DatapathSettings settings_;
    EventLoop loop_;
    ControllerRegistry registry_;
};

TEST_F(SocketLb, IsAttachedAdoptedReplacedAndTakenAway) {
    const DatapathStartReport first = start();
    EXPECT_EQ(first.maps_adopted, 0U);
    EXPECT_EQ(attached(BPF_CGROUP_INET4_CONNECT), 1U);
    EXPECT_EQ(attached(BPF_CGROUP_UDP6_RECVMSG), 1U);
    EXPECT_EQ(attached(BPF_CGROUP_INET_SOCK_RELEASE), 1U);
    const auto connect = program("cil_sock4_connect");
    ASSERT_TRUE(connect.has_value());

    const DatapathStartReport again = start();
    EXPECT_EQ(again.links_attached + again.links_updated, 0U);
    EXPECT_EQ(again.maps_created, 0U);
    EXPECT_EQ(program("cil_sock4_connect"), connect);

    settings_.services.sockets.host_only = true;
    const DatapathStartReport changed = start();
    EXPECT_EQ(changed.links_attached, 0U) << "a link that is updated leaves no gap";
    EXPECT_GE(changed.links_updated, socket_programs().size());
    EXPECT_EQ(changed.maps_created, 0U);
    EXPECT_NE(program("cil_sock4_connect"), connect);
    EXPECT_EQ(attached(BPF_CGROUP_INET4_CONNECT), 1U);

    settings_.services.sockets.enabled = false;
    start();
    EXPECT_EQ(attached(BPF_CGROUP_INET4_CONNECT), 0U);
    EXPECT_FALSE(program("cil_sock4_connect").has_value());
    EXPECT_FALSE(std::filesystem::exists(settings_.paths.map(map_name::kLbSockets)));
    settings_.services.sockets.enabled = true;
    start();
    EXPECT_EQ(attached(BPF_CGROUP_INET4_CONNECT), 1U);
}

TEST_F(SocketLb, ADirectoryOutsideOfAnyHierarchyIsRefused) {
    const Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const auto refused = attach_cgroup({.cgroup = "/proc",
                                        .program_name = "cil_sock4_connect",
                                        .program_fd = nothing.get(),
                                        .attach_type = BPF_CGROUP_INET4_CONNECT,
                                        .pin_path = bpffs_.path() + "/link"});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
    EXPECT_NE(refused.error().message.find("/proc"), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace axo
