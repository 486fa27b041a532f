// The datapath in a namespace of its own with the programs that ship: cold start, restart, and what is put right.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "datapath/devices.h"
#include "datapath/map_layout.h"
#include "datapath/programs.h"
#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_netns.h"

namespace axo {
namespace {

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(std::string_view text) {
    return Prefix::parse(text).value();
}

std::string node_sysctl(const std::string& key) {
    const auto value = read_sysctl(key);
    return value ? *value : value.error().to_string();
}

std::string device_sysctl(const std::string& device, const std::string& key) {
    return node_sysctl("net.ipv4.conf." + device + "." + key);
}

// Without tcx, LegacyTcWhereTcxIsOff and the cluster tests look at the filters that are used then.
constexpr const char* kNoLinks = "looks at tcx links, which this kernel does not have (6.6)";
bool has_tcx() {
    static const bool has = probe_kernel_features().value().tcx;
    return has;
}

class DatapathStart : public ::testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        netns_.emplace("axodp");
        bpffs_.emplace();
        settings_.paths.root = bpffs_->path();
        if (std::getenv("AXO_TEST_DEBUG") != nullptr) set_log_level(LogLevel::kDebug);
        settings_.owner = "test/a";
        settings_.ipv6 = true;
        settings_.router_ipv4 = ip("10.0.0.1");
        settings_.router_ipv6 = ip("fd00::1");
    }
    void TearDown() override {
        if (!netns_) return;
        netns_->inside([&] { EXPECT_OK(Datapath::remove_everything(settings_.paths)); });
        bpffs_.reset();
    }
    void inside(const std::function<void(Netlink&)>& body) {
        netns_->inside([&] {
            auto netlink = Netlink::open();
            ASSERT_OK(netlink);
            if (!netlink->link("eth0")) {
                Netlink::VethSpec uplink;
                uplink.name = "eth0";
                uplink.peer_name = "wire";
                ASSERT_OK(netlink->add_veth(uplink));
                for (const char* name : {"lo", "eth0", "wire"})
                    ASSERT_OK(netlink->set_up(netlink->link(name)->index, true));
                const IfIndex link = netlink->link("eth0")->index;
                ASSERT_OK(netlink->add_address(link, prefix("192.168.0.0/24"), ip("192.168.0.1")));
                Route route;
                route.destination = prefix("0.0.0.0/0");
                route.gateway = ip("192.168.0.254");
                route.link = link;
                ASSERT_OK(netlink->put_route(route));
            }
            body(*netlink);
        });
    }
    Result<std::unique_ptr<Datapath>> start() {
        auto features = probe_kernel_features();
        EXPECT_OK(features);
        const auto before = std::chrono::steady_clock::now();
        auto datapath = Datapath::start(loop_, registry_, settings_, *features);
        took_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before).count();
        return datapath;
    }
    std::size_t running_programs() {
        std::size_t sets = 0;
        for ([[maybe_unused]] const auto& entry :
             std::filesystem::directory_iterator(settings_.paths.state() + "/programs"))
            ++sets;
        return sets;
    }
    void run_loop(std::chrono::milliseconds time) {
        const auto stop = loop_.after(time, [this] { loop_.stop(); });
        loop_.run();
    }
    // A new pod's programs become links once no ADD has come for a while.
    void wait_for_link(EndpointId id) {
        const std::string link = settings_.paths.endpoint_links(id) + "/cil_to_container";
        for (int i = 0; i < 100 && !std::filesystem::exists(link); ++i) run_loop(std::chrono::milliseconds(50));
        EXPECT_TRUE(std::filesystem::exists(link));
    }
    static IfIndex add_pod(Netlink& netlink, const std::string& name) {
        Netlink::VethSpec pod;
        pod.name = name;
        pod.peer_name = "p" + name;
        EXPECT_OK(netlink.add_veth(pod));
        return netlink.link(name)->index;
    }

    std::optional<ScratchNetns> netns_;
    std::optional<ScratchBpffs> bpffs_;
    DatapathSettings settings_;
    EventLoop loop_;
    ControllerRegistry registry_;
    double took_ms_ = 0;
};

TEST_F(DatapathStart, ARestartTouchesNothing) {
    if (!has_tcx()) GTEST_SKIP() << kNoLinks;
    inside([&](Netlink& netlink) {
        const IfIndex pod = add_pod(netlink, "lxc0001");
        {
            const auto datapath = start();
            ASSERT_OK(datapath);
            std::printf("cold start %.1f ms\n", took_ms_);
            ASSERT_OK((*datapath)->attach_endpoint(EndpointId(7), "lxc0001", pod));
            EXPECT_FALSE(std::filesystem::exists(settings_.paths.endpoint_links(EndpointId(7))));
            wait_for_link(EndpointId(7));
            const DatapathStartReport& report = (*datapath)->start_report();
            EXPECT_TRUE(report.programs_loaded);
            EXPECT_EQ(report.maps_created, shared_maps(settings_).size());
            EXPECT_EQ(report.maps_adopted, 0U);
            EXPECT_EQ(report.links_attached, 9U);
            EXPECT_EQ(report.devices_created, 3U);
            ASSERT_OK((*datapath)->ipcache().put(prefix("10.0.1.0/24"), {.identity = identity::kWorld}));
        }
        const auto addresses = netlink.addresses();
        const auto routes = netlink.routes();
        const auto restarted = start();
        ASSERT_OK(restarted);
        std::printf("restart %.1f ms\n", took_ms_);
        ASSERT_OK((*restarted)->attach_endpoint(EndpointId(7), "lxc0001", pod));
        const DatapathStartReport& report = (*restarted)->start_report();
        EXPECT_FALSE(report.programs_loaded);
        EXPECT_EQ(report.maps_created, 0U);
        EXPECT_EQ(report.maps_adopted, shared_maps(settings_).size());
        EXPECT_EQ(report.links_attached, 0U);
        EXPECT_EQ(report.links_updated, 0U);
        EXPECT_EQ(report.links_adopted, 9U);
        EXPECT_EQ(report.devices_created, 0U);
        EXPECT_EQ(*netlink.addresses(), *addresses);
        EXPECT_EQ(*netlink.routes(), *routes);
        EXPECT_EQ((*restarted)->ipcache().list()->size(), 1U);
        EXPECT_EQ(running_programs(), 1U);
        // Seen from below: a second look finds nothing to write.
        const auto network = read_node_network(netlink);
        const auto devices = ensure_base_devices(netlink, *network, settings_, (*restarted)->decisions());
        ASSERT_OK(devices);
        EXPECT_EQ(devices->changed + devices->created, 0U);
    });
}

TEST_F(DatapathStart, TheNodesDevicesAreAsTheContractSays) {
    if (!has_tcx()) GTEST_SKIP() << kNoLinks;
    inside([&](Netlink& netlink) {
        const auto datapath = start();
        ASSERT_OK(datapath);
        EXPECT_EQ((*datapath)->host_device(), netlink.link("cilium_host")->index);
        EXPECT_EQ((*datapath)->tunnel_device(), netlink.link("cilium_vxlan")->index);
        EXPECT_EQ((*datapath)->decisions().route_mtu, 1450U);
        for (const char* device : {"cilium_host", "cilium_net", "cilium_vxlan"}) {
            EXPECT_EQ(device_sysctl(device, "rp_filter"), "0");
            EXPECT_EQ(device_sysctl(device, "forwarding"), "1");
            EXPECT_EQ(device_sysctl(device, "accept_local"), "1");
            EXPECT_EQ(device_sysctl(device, "send_redirects"), "0");
            EXPECT_TRUE(netlink.link(device)->up);
        }
        EXPECT_EQ(node_sysctl("net.ipv4.ip_forward"), "1");
        EXPECT_EQ(node_sysctl("net.ipv6.conf.all.forwarding"), "1");
        std::size_t found = 0;
        const auto addresses = netlink.addresses();
        ASSERT_OK(addresses);
        for (const InterfaceAddress& address : *addresses) {
            if (address.address == settings_.router_ipv4 || address.address == settings_.router_ipv6) {
                ++found;
                EXPECT_EQ(address.link, (*datapath)->host_device());
                EXPECT_EQ(address.prefix_length, address.address.bits());
                EXPECT_FALSE(address.tentative);
            }
        }
        EXPECT_EQ(found, 2U);
        const std::string state = settings_.paths.state();
        const char* const pins[] = {
            "/devices/eth0/links/cil_from_netdev",          "/devices/eth0/links/cil_to_netdev",
            "/devices/cilium_vxlan/links/cil_from_overlay", "/devices/cilium_vxlan/links/cil_to_overlay",
            "/devices/cilium_host/links/cil_to_host",       "/devices/cilium_host/links/cil_from_host",
            "/devices/cilium_net/links/cil_to_host"};
        for (const char* const link : pins)
            EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(state) += link)) << link;
    });
}

TEST_F(DatapathStart, TheMapTableIsTheOneOfThePrograms) {
    settings_.services.pods = settings_.services.node_port = settings_.services.masquerade4 = true;
    settings_.services.ip_masq_agent = true;
    inside([&](Netlink&) {
        const auto datapath = start();
        ASSERT_OK(datapath);
        for (const SharedMap& expected : shared_maps(settings_)) {
            const auto pinned = RawBpfMap::open_pinned(settings_.paths.map(expected.name));
            ASSERT_OK(pinned);
            EXPECT_EQ(pinned->info().type, static_cast<std::uint32_t>(expected.type)) << expected.name;
            EXPECT_EQ(pinned->info().key_size, expected.key_size) << expected.name;
            EXPECT_EQ(pinned->info().value_size, expected.value_size) << expected.name;
            EXPECT_EQ(pinned->info().max_entries, expected.max_entries) << expected.name;
            EXPECT_EQ(pinned->info().flags, expected.flags) << expected.name;
        }
        std::size_t pins = 0;
        for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(settings_.paths.globals()))
            ++pins;
        EXPECT_EQ(pins, shared_maps(settings_).size());
        const auto usage = (*datapath)->map_usage();
        ASSERT_OK(usage);
        std::uint64_t bytes = 0;
        for (const auto& row : *usage) bytes += row.bytes;
        std::printf("maps %.1f MiB\n", static_cast<double>(bytes) / (1 << 20));
        // Before 6.4 the kernel tells what a map that grows would take when full.
        int major = 0;
        int minor = 0;
        ASSERT_EQ(std::sscanf(probe_kernel_features()->release.c_str(), "%d.%d", &major, &minor), 2);
        if (major * 100 + minor >= 604) {
            EXPECT_LT(bytes, 40U << 20);
        }
    });
}

TEST_F(DatapathStart, ADifferentConfigurationUpdatesTheLinksInPlace) {
    if (!has_tcx()) GTEST_SKIP() << kNoLinks;
    inside([&](Netlink& netlink) {
        const IfIndex pod = add_pod(netlink, "lxc0001");
        {
            const auto datapath = start();
            ASSERT_OK(datapath);
            ASSERT_OK((*datapath)->attach_endpoint(EndpointId(7), "lxc0001", pod));
            wait_for_link(EndpointId(7));
            ASSERT_OK((*datapath)->endpoints().put(ip("10.0.0.9"), {.id = EndpointId(7)}));
        }
        settings_.ct_tcp = std::chrono::seconds(100);
        settings_.endpoint_map_max = 1000;  // another size: entries move to the new map
        const auto datapath = start();
        ASSERT_OK(datapath);
        ASSERT_OK((*datapath)->attach_endpoint(EndpointId(7), "lxc0001", pod));
        const DatapathStartReport& report = (*datapath)->start_report();
        EXPECT_TRUE(report.programs_loaded);
        EXPECT_EQ(report.maps_created, 2U);
        EXPECT_EQ(report.maps_adopted, shared_maps(settings_).size() - 2);
        EXPECT_EQ(report.links_updated, 9U);
        EXPECT_EQ(report.links_attached, 0U);
        EXPECT_EQ(running_programs(), 1U);
        EXPECT_TRUE((*datapath)->endpoints().list()->contains(ip("10.0.0.9")));
        EXPECT_FALSE(std::filesystem::exists(settings_.paths.map("cilium_lxc_old")));
    });
}

TEST_F(DatapathStart, RemovedPinsComeBackWithoutLoadingAnything) {
    if (!has_tcx()) GTEST_SKIP() << kNoLinks;
    inside([&](Netlink&) {
        std::string digest;
        {
            const auto datapath = start();
            ASSERT_OK(datapath);
            ASSERT_OK((*datapath)->ipcache().put(prefix("10.0.1.0/24"), {.identity = identity::kWorld}));
        }
        ASSERT_OK(remove_file(settings_.paths.map(map_name::kIpcache)));
        ASSERT_OK(remove_file(settings_.paths.device_links("eth0") + "/cil_from_netdev"));
        const auto datapath = start();
        ASSERT_OK(datapath);
        EXPECT_FALSE((*datapath)->start_report().programs_loaded);
        EXPECT_EQ((*datapath)->start_report().links_attached, 1U);
        EXPECT_EQ((*datapath)->ipcache().list()->size(), 1U);
        EXPECT_TRUE(std::filesystem::exists(settings_.paths.device_links("eth0") + "/cil_from_netdev"));
    });
}

TEST_F(DatapathStart, ARunningAgentPutsRightWhatOthersBreak) {
    if (!has_tcx()) GTEST_SKIP() << kNoLinks;
    inside([&](Netlink& netlink) {
        const IfIndex pod = add_pod(netlink, "lxc0001");
        const auto datapath = start();
        ASSERT_OK(datapath);
        ASSERT_OK((*datapath)->attach_endpoint(EndpointId(7), "lxc0001", pod));
        int told = 0;
        (*datapath)->set_change_callback([&told] { ++told; });
        const IfIndex before = (*datapath)->host_device();
        const std::uint32_t generation = (*datapath)->generations().node();
        ASSERT_OK(netlink.remove_link("cilium_host"));
        run_loop(std::chrono::milliseconds(1500));
        ASSERT_OK(netlink.link("cilium_host"));
        EXPECT_NE((*datapath)->host_device(), before);
        EXPECT_EQ((*datapath)->host_device(), netlink.link("cilium_host")->index);
        EXPECT_GE(told, 1);
        EXPECT_GT((*datapath)->generations().node(), generation);
        EXPECT_EQ(running_programs(), 1U);
        // The pod runs the new programs, too.
        const auto linked = linked_program_id(settings_.paths.endpoint_links(EndpointId(7)) + "/cil_from_container");
        ASSERT_OK(linked);
        for (const auto& set : std::filesystem::directory_iterator(settings_.paths.state() + "/programs")) {
            const auto fd = open_pin((set.path() / "cil_from_container").string());
            ASSERT_OK(fd);
            EXPECT_EQ(*program_id(fd->get()), linked->value());
        }
    });
}

TEST_F(DatapathStart, RoutesMoveTheNodesGenerationAndPodsDevicesDoNot) {
    inside([&](Netlink& netlink) {
        const auto datapath = start();
        ASSERT_OK(datapath);
        run_loop(std::chrono::milliseconds(300));
        const std::uint32_t quiet = (*datapath)->generations().node();
        const IfIndex pod = add_pod(netlink, "lxc0001");
        ASSERT_OK(netlink.set_up(pod, true));
        ASSERT_OK(netlink.remove_link("plxc0001"));
        Route route;
        route.destination = prefix("10.9.0.0/16");
        route.gateway = ip("192.168.0.7");
        route.link = netlink.link("eth0")->index;
        ASSERT_OK(netlink.put_route(route));
        run_loop(std::chrono::milliseconds(300));
        EXPECT_GT((*datapath)->generations().node(), quiet);
    });
}

TEST_F(DatapathStart, DetachAndPruneLeaveOnlyKnownEndpoints) {
    if (!has_tcx()) GTEST_SKIP() << kNoLinks;
    inside([&](Netlink& netlink) {
        const auto datapath = start();
        ASSERT_OK(datapath);
        for (const std::uint16_t id : {1, 2, 3}) {
            const std::string name = "lxc000" + std::to_string(id);
            ASSERT_OK((*datapath)->attach_endpoint(EndpointId(id), name, add_pod(netlink, name)));
        }
        for (const std::uint16_t id : {1, 2, 3}) wait_for_link(EndpointId(id));
        const std::string endpoints = settings_.paths.state() + "/endpoints/";
        ASSERT_OK((*datapath)->detach_endpoint(EndpointId(1)));
        ASSERT_OK((*datapath)->detach_endpoint(EndpointId(1)));
        EXPECT_FALSE(std::filesystem::exists(endpoints + "1"));
        ASSERT_OK((*datapath)->prune_endpoints({EndpointId(3)}));
        EXPECT_FALSE(std::filesystem::exists(endpoints + "2"));
        EXPECT_TRUE(std::filesystem::exists(endpoints + "3/links/cil_from_container"));
        const auto missing = (*datapath)->attach_endpoint(EndpointId(9), "lxc0009", IfIndex(9999));
        ASSERT_FALSE(missing);
        EXPECT_NE(missing.error().message.find("endpoint 9 on lxc0009"), std::string::npos) << missing.error().message;
    });
}

TEST_F(DatapathStart, NativeRoutingHasNoTunnelDevice) {
    inside([&](Netlink& netlink) {
        {
            ASSERT_OK(start());
        }
        ASSERT_OK(netlink.link("cilium_vxlan"));
        settings_.routing = RoutingMode::kNative;
        settings_.ipv6 = false;
        const auto datapath = start();
        ASSERT_OK(datapath);
        EXPECT_FALSE(netlink.link("cilium_vxlan"));
        EXPECT_EQ((*datapath)->tunnel_device(), IfIndex{});
        EXPECT_EQ((*datapath)->decisions().route_mtu, 1500U);
        EXPECT_FALSE(std::filesystem::exists(settings_.paths.state() + "/devices/cilium_vxlan"));
    });
}

TEST_F(DatapathStart, AnotherTunnelProtocolIsAnotherDevice) {
    inside([&](Netlink& netlink) {
        if (!probe_kernel_features()->geneve) GTEST_SKIP() << "this kernel has no Geneve devices";
        const std::string devices = settings_.paths.state() + "/devices/";
        for (const bool geneve : {true, false, true}) {
            settings_.tunnel_protocol = geneve ? TunnelProtocol::kGeneve : TunnelProtocol::kVxlan;
            settings_.tunnel_port = geneve ? 6081 : 8472;
            const std::string wanted = geneve ? "cilium_geneve" : "cilium_vxlan";
            const std::string other = geneve ? "cilium_vxlan" : "cilium_geneve";
            const auto datapath = start();
            ASSERT_OK(datapath);
            const auto link = netlink.link(wanted);
            ASSERT_OK(link);
            EXPECT_EQ((*datapath)->tunnel_device(), link->index);
            EXPECT_TRUE(link->up);
            EXPECT_FALSE(netlink.link(other));
            EXPECT_TRUE(std::filesystem::exists(devices + wanted));
            EXPECT_FALSE(std::filesystem::exists(devices + other));
        }
        // For DSR alone it stays.
        settings_.routing = RoutingMode::kNative;
        settings_.ipv6 = false;
        settings_.services.node_port = true;
        settings_.services.mode = LB_MODE_DSR;
        settings_.services.dispatch = LB_DISPATCH_GENEVE;
        const auto before = netlink.link("cilium_geneve");
        const auto datapath = start();
        ASSERT_OK(datapath);
        EXPECT_EQ((*datapath)->tunnel_device(), before->index);
        EXPECT_EQ((*datapath)->decisions().route_mtu, 1500U);
    });
}

// A figure, not a limit: what a pod's ADD pays for its programs in each mode.
TEST_F(DatapathStart, CostOfAttachingAPod) {
    inside([&](Netlink& netlink) {
        for (const bool tcx : {true, false}) {
            settings_.enable_tcx = tcx;
            const auto datapath = start();
            ASSERT_OK(datapath);
            const auto before = std::chrono::steady_clock::now();
            for (const std::uint16_t id : {1, 2, 3, 4, 5}) {
                const std::string name = "lxc" + std::to_string(id) + (tcx ? "t" : "l");
                ASSERT_OK((*datapath)->attach_endpoint(EndpointId(id), name, add_pod(netlink, name)));
            }
            const double ms =
                std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before).count();
            std::printf("%s: %.1f ms per pod\n", tcx ? "tcx" : "legacy tc", ms / 5);
        }
    });
}

TEST_F(DatapathStart, LegacyTcWhereTcxIsOff) {
    inside([&](Netlink& netlink) {
        const IfIndex pod = add_pod(netlink, "lxc0001");
        {
            ASSERT_OK(start());
        }
        settings_.enable_tcx = false;
        {
            const auto datapath = start();
            ASSERT_OK(datapath);
            EXPECT_EQ((*datapath)->decisions().attach_mode, AttachMode::kLegacyTc);
            ASSERT_OK((*datapath)->attach_endpoint(EndpointId(7), "lxc0001", pod));
            EXPECT_FALSE(std::filesystem::exists(settings_.paths.device_links("eth0") + "/cil_from_netdev"));
        }
        const auto restarted = start();
        ASSERT_OK(restarted);
        ASSERT_OK((*restarted)->attach_endpoint(EndpointId(7), "lxc0001", pod));
        EXPECT_FALSE((*restarted)->start_report().programs_loaded);
        EXPECT_EQ((*restarted)->start_report().links_adopted, 9U);
        EXPECT_EQ((*restarted)->start_report().links_attached + (*restarted)->start_report().links_updated, 0U);
    });
}

TEST_F(DatapathStart, AnotherClustersBpfRootIsRefused) {
    if (!has_tcx()) GTEST_SKIP() << kNoLinks;
    inside([&](Netlink&) { ASSERT_OK(start()); });
    ScratchNetns other("axodp-other");
    other.inside([&] {
        settings_.owner = "other/b";
        const auto refused = start();
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
        EXPECT_NE(refused.error().message.find("belongs to test/a"), std::string::npos) << refused.error().message;
        EXPECT_NE(refused.error().message.find("bpf-root"), std::string::npos);
    });
    // Once nothing of the former owner is attached, the root can be had.
    inside([&](Netlink&) {
        ASSERT_OK(remove_file(settings_.paths.state() + "/owner"));
        const auto datapath = start();
        ASSERT_OK(datapath);
    });
}

TEST_F(DatapathStart, MissingAddressesAndDevicesAreNamed) {
    inside([&](Netlink&) {
        settings_.devices = {"ens+"};
        const auto refused = start();
        ASSERT_FALSE(refused);
        EXPECT_NE(refused.error().message.find("devices=ens+"), std::string::npos) << refused.error().message;
        EXPECT_NE(refused.error().message.find("eth0"), std::string::npos);
        settings_.devices = {"eth+"};
        ASSERT_OK(start());
    });
}

TEST_F(DatapathStart, EverythingIsRemoved) {
    inside([&](Netlink& netlink) {
        {
            ASSERT_OK(start());
        }
        ASSERT_OK(Datapath::remove_everything(settings_.paths));
        for (const char* device : {"cilium_host", "cilium_net", "cilium_vxlan"})
            EXPECT_FALSE(netlink.link(device)) << device;
        EXPECT_FALSE(std::filesystem::exists(settings_.paths.state()));
        EXPECT_FALSE(std::filesystem::exists(settings_.paths.root + "/tc"));
        ASSERT_OK(Datapath::remove_everything(settings_.paths));
        ASSERT_OK(netlink.link("eth0"));
    });
}

}  // namespace
}  // namespace axo
