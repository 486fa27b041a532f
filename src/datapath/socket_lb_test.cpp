// The programs at sockets as the node has them: attached below a cgroup, adopted, replaced in place, taken away.
#include "datapath/socket_lb.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "datapath/socket_terminator.h"
#include "kernel/cgroup_link.h"
#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_cgroup.h"
#include "kernel/scratch_netns.h"
#include "maps/lb_tables.h"

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
        expect_none_attached(BPF_CGROUP_INET4_CONNECT);
    }
    // The kernel takes a link off when the last reference to its pin has gone, which it does later, in a worker.
    void expect_none_attached(bpf_attach_type type) const {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
        while (attached(type) != 0 && std::chrono::steady_clock::now() < end)
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        EXPECT_EQ(attached(type), 0U);
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
    expect_none_attached(BPF_CGROUP_INET4_CONNECT);
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

// A datagram socket of the calling thread's namespace that is connected through the service.
Fd connected_to(const char* address, std::uint16_t port) {
    Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &name.sin_addr);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0) << std::strerror(errno);
    return fd;
}

int error_of_socket(const Fd& fd) {
    char byte = 0;
    return ::recv(fd.get(), &byte, 1, 0) < 0 ? errno : 0;
}

TEST_F(SocketLb, SocketsOfABackendThatWentAreEndedInAllNamespaces) {
    if (!probe_kernel_features()->socket_destroy) GTEST_SKIP() << "this kernel cannot end sockets";
    const ScratchCgroup joined(true);
    settings_.services.sockets.cgroup_root = joined.path();
    start();
    auto maps = LbMaps::open(settings_.paths);
    ASSERT_OK(maps);
    auto tables = LbTables::open(settings_.paths.map(map_name::kLbTables));
    ASSERT_OK(tables);
    const LbAddress backend{IpAddress::parse("192.168.0.77").value(), 5353, IPPROTO_UDP};
    maps->put_backend({.id = 1, .address = backend, .pod_id = 1});
    const auto table = tables->take(std::vector<std::uint32_t>{1});
    ASSERT_OK(table);
    lb_service value{};
    value.table = table->location;
    value.size = table->size;
    value.rev_nat_index = 1;
    ASSERT_OK(maps->put_service(
        {.address = IpAddress::parse("10.96.0.10").value(), .port = 53, .protocol = IPPROTO_UDP}, value));

    const ScratchNetns pod("axoslp");
    Fd of_node, of_pod, direct;
    netns_.inside([&] {
        of_node = connected_to("10.96.0.10", 53);
        direct = connected_to("192.168.0.77", 5353);
    });
    pod.inside([&] {
        auto netlink = Netlink::open();
        ASSERT_OK(netlink);
        const IfIndex lo = netlink->link("lo")->index;
        ASSERT_OK(netlink->set_up(lo, true));
        ASSERT_OK(
            netlink->add_address(lo, Prefix::parse("192.168.0.0/24").value(), IpAddress::parse("192.168.0.9").value()));
        of_pod = connected_to("10.96.0.10", 53);
    });
    std::unique_ptr<SocketTerminator> terminator;
    netns_.inside([&] {
        auto socket_maps = SocketMaps::open(settings_.paths);
        ASSERT_OK(socket_maps);
        auto made = SocketTerminator::create(
            loop_, std::move(*socket_maps), {.pod_namespaces = [&] {
                return std::vector<std::string>{
                    // As an agent in a pod would see it.
                    "/var/run/cilium/netns/" + std::filesystem::path(pod.path()).filename().string(),
                    "/run/netns/axo-gone"};
            }});
        ASSERT_OK(made);
        terminator = std::move(*made);
    });
    const auto run = [&](std::uint64_t passes) {
        for (int i = 0; i < 100 && terminator->counts().passes < passes; ++i) {
            const auto stop = loop_.after(std::chrono::milliseconds(20), [&] { loop_.stop(); });
            loop_.run();
        }
        for (int i = 0; i < 10; ++i) {
            const auto stop = loop_.after(std::chrono::milliseconds(20), [&] { loop_.stop(); });
            loop_.run();
        }
    };
    terminator->backend_gone({IpAddress::parse("192.168.0.78").value(), 5353, IPPROTO_UDP});
    terminator->backend_gone({backend.address, 5353, IPPROTO_TCP});
    run(1);
    EXPECT_EQ(terminator->counts().ended, 0U);
    EXPECT_EQ(error_of_socket(of_node), EAGAIN);
    terminator->backend_gone(backend);
    run(2);
    EXPECT_EQ(terminator->counts().ended, 2U);
    EXPECT_EQ(terminator->counts().failed, 0U);
    EXPECT_EQ(error_of_socket(of_node), ECONNABORTED);
    EXPECT_EQ(error_of_socket(of_pod), ECONNABORTED);
    EXPECT_EQ(error_of_socket(direct), EAGAIN);
    terminator.reset();
    settings_.services.sockets.enabled = false;
    start();  // detached before the cgroup goes
}

}  // namespace
}  // namespace axo
