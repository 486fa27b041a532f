#include "kernel/netlink.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <poll.h>

#include <chrono>
#include <cstdio>

#include "kernel/device_facts.h"
#include "kernel/netlink_link.h"
#include "kernel/scratch_netns.h"

namespace axo {
namespace {

IpAddress ip(const std::string& text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(const std::string& text) {
    return Prefix::parse(text).value();
}
MacAddress mac(const std::string& text) {
    return MacAddress::parse(text).value();
}

class NetlinkTest : public ::testing::Test {
protected:
    // One device with an IPv4 and an IPv6 address, up.
    IfIndex device(const std::string& name = "dev0") {
        Netlink::VethSpec spec;
        spec.name = name;
        spec.peer_name = name + "p";
        EXPECT_OK(netlink_.add_veth(spec));
        const IfIndex link = netlink_.link(name)->index;
        EXPECT_OK(netlink_.add_address(link, prefix("192.0.2.1/24"), ip("192.0.2.1")));
        EXPECT_OK(netlink_.add_address(link, prefix("2001:db8::1/64"), ip("2001:db8::1")));
        EXPECT_OK(netlink_.set_up(link, true));
        EXPECT_OK(netlink_.set_up(netlink_.link(name + "p")->index, true));
        return link;
    }
    std::optional<Route> find(const Prefix& destination, std::uint32_t table = 254) {
        auto all = netlink_.routes();
        EXPECT_OK(all);
        for (const Route& route : *all) {
            if (route.destination == destination && route.table == table) return route;
        }
        return std::nullopt;
    }

    // As iproute2 sees it.
    std::string shown(const std::string& name) {
        std::string text;
        std::FILE* tool = ::popen(("ip -n " + netns_.path().substr(11) + " -d link show " + name).c_str(), "r");
        EXPECT_NE(tool, nullptr);
        if (tool == nullptr) return text;
        char line[512];
        while (std::fgets(line, sizeof(line), tool) != nullptr) text += line;
        ::pclose(tool);
        return text;
    }

    ScratchNetns netns_;
    Netlink netlink_ = netns_.netlink();
};

TEST_F(NetlinkTest, StaysInTheNamespaceItWasOpenedIn) {
    auto links = netlink_.links();
    ASSERT_OK(links);
    ASSERT_EQ(links->size(), 1U);
    EXPECT_EQ(links->front().name, "lo");
    EXPECT_TRUE(links->front().loopback);
    EXPECT_FALSE(links->front().up);
    ASSERT_OK(netlink_.add_bridge("axok-only-here"));
    auto here = Netlink::open();
    ASSERT_OK(here);
    auto absent = here->link("axok-only-here");
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().code, Code::kNotFound);
    EXPECT_NE(absent.error().message.find("axok-only-here"), std::string::npos);
}

TEST_F(NetlinkTest, VethIsMadeWithBothEndsInOneStep) {
    const ScratchNetns pod;
    Netlink::VethSpec spec;
    spec.name = "lxc0123456789ab";
    spec.peer_name = "eth0";
    spec.mac = mac("02:00:00:00:00:01");
    spec.peer_mac = mac("02:00:00:00:00:02");
    spec.mtu = 1450;
    spec.tx_queue_length = 777;
    spec.gso_max_size = 40000;
    spec.gro_max_size = 30000;
    spec.peer_netns_fd = pod.fd();
    ASSERT_OK(netlink_.add_veth(spec));
    Netlink inner = pod.netlink();
    auto host_end = netlink_.link(spec.name);
    auto pod_end = inner.link("eth0");
    ASSERT_OK(host_end);
    ASSERT_OK(pod_end);
    EXPECT_EQ(host_end->kind, "veth");
    EXPECT_EQ(host_end->mac, spec.mac);
    EXPECT_EQ(pod_end->mac, spec.peer_mac);
    EXPECT_EQ(host_end->mtu, 1450U);
    EXPECT_EQ(pod_end->mtu, 1450U);
    EXPECT_EQ(host_end->peer, pod_end->index);
    EXPECT_EQ(pod_end->peer, host_end->index);
    EXPECT_EQ(host_end->gso_max_size, 40000U);
    // Kernels before 5.19 have no such attribute.
    if (netlink_.link("lo")->gro_max_size != 0) {
        EXPECT_EQ(pod_end->gro_max_size, 30000U);
    }
    pod.inside([&] {
        auto socket = NetlinkSocket::open();
        ASSERT_OK(socket);
        EXPECT_EQ(get_link(*socket, "eth0")->tx_queue_length, 777U);
    });
    EXPECT_FALSE(netlink_.link("eth0"));

    // The same again, and with settings that can change.
    ASSERT_OK(netlink_.add_veth(spec));
    spec.mtu = 1400;
    spec.peer_mac = mac("02:00:00:00:00:03");
    ASSERT_OK(netlink_.add_veth(spec));
    EXPECT_EQ(netlink_.link(spec.name)->mtu, 1400U);
    EXPECT_EQ(inner.link("eth0")->mtu, 1400U);
    EXPECT_EQ(inner.link("eth0")->mac, spec.peer_mac);
    EXPECT_EQ(netlink_.link(spec.name)->index, host_end->index);

    spec.peer_name = "eth1";
    const Status other_peer = netlink_.add_veth(spec);
    ASSERT_FALSE(other_peer);
    EXPECT_EQ(other_peer.error().code, Code::kAlreadyExists);
    EXPECT_NE(other_peer.error().message.find("eth1"), std::string::npos);
}

TEST_F(NetlinkTest, ExclusiveVethIsTheCallersOwn) {
    Netlink::VethSpec spec;
    spec.name = "lxc0";
    spec.peer_name = "eth0";
    spec.exclusive = true;
    ASSERT_OK(netlink_.add_veth(spec));
    EXPECT_EQ(netlink_.add_veth(spec).error().code, Code::kAlreadyExists);
    spec.exclusive = false;
    EXPECT_OK(netlink_.add_veth(spec));
}

TEST_F(NetlinkTest, VethRefusesWhatIsTakenOrTooLong) {
    ASSERT_OK(netlink_.add_bridge("taken"));
    Netlink::VethSpec spec;
    spec.name = "taken";
    spec.peer_name = "p";
    EXPECT_EQ(netlink_.add_veth(spec).error().code, Code::kAlreadyExists);
    spec.name = "p";
    spec.peer_name = "taken";
    EXPECT_EQ(netlink_.add_veth(spec).error().code, Code::kAlreadyExists);
    EXPECT_FALSE(netlink_.link("p"));
    spec.name = "sixteen-letters!";
    EXPECT_EQ(netlink_.add_veth(spec).error().code, Code::kInvalidArgument);
}

TEST_F(NetlinkTest, VxlanCollectsMetadata) {
    Netlink::VxlanSpec spec;
    spec.name = "cilium_vxlan";
    spec.port = 8472;
    spec.mtu = 1500;
    spec.mac = mac("02:00:00:00:00:09");
    spec.source_port_low = 40000;
    spec.source_port_high = 50000;
    ASSERT_OK(netlink_.add_vxlan(spec));
    auto link = netlink_.link(spec.name);
    ASSERT_OK(link);
    EXPECT_EQ(link->kind, "vxlan");
    EXPECT_EQ(link->mtu, 1500U);
    EXPECT_EQ(link->mac, spec.mac);
    ASSERT_OK(netlink_.add_vxlan(spec));
    EXPECT_EQ(netlink_.link(spec.name)->index, link->index);
    spec.port = 4789;
    const Status other_port = netlink_.add_vxlan(spec);
    ASSERT_FALSE(other_port);
    EXPECT_NE(other_port.error().message.find("8472"), std::string::npos);
    const std::string seen = shown(spec.name);
    for (const char* expected :
         {"vxlan external", "srcport 40000 50000", "dstport 8472", "noudpcsum", "udp6zerocsumtx", "udp6zerocsumrx"}) {
        EXPECT_NE(seen.find(expected), std::string::npos) << expected << " in " << seen;
    }
}

TEST_F(NetlinkTest, GeneveCollectsMetadata) {
    Netlink::GeneveSpec spec;
    spec.name = "cilium_geneve";
    spec.mtu = 1500;
    spec.mac = mac("02:00:00:00:00:09");
    if (const Status added = netlink_.add_geneve(spec); !added) {
        ASSERT_EQ(added.error().sys_errno, EOPNOTSUPP) << added.error().message;
        GTEST_SKIP() << "this kernel has no Geneve devices";
    }
    const auto link = netlink_.link(spec.name);
    ASSERT_OK(link);
    EXPECT_EQ(link->kind, "geneve");
    EXPECT_EQ(link->mtu, 1500U);
    EXPECT_EQ(link->mac, spec.mac);
    ASSERT_OK(netlink_.add_geneve(spec));
    EXPECT_EQ(netlink_.link(spec.name)->index, link->index);
    spec.port = 6082;
    const Status other_port = netlink_.add_geneve(spec);
    ASSERT_FALSE(other_port);
    EXPECT_EQ(other_port.error().code, Code::kAlreadyExists);
    EXPECT_NE(other_port.error().message.find("with port 6081, wanted 6082"), std::string::npos);
    const std::string seen = shown(spec.name);
    for (const char* expected : {"geneve external", "dstport 6081", " udp6zerocsumrx"}) {
        EXPECT_NE(seen.find(expected), std::string::npos) << expected << " in " << seen;
    }
    netns_.inside([] { EXPECT_TRUE(tunnel_ports()->at("cilium_geneve").geneve); });
}

TEST_F(NetlinkTest, LinkSettings) {
    const IfIndex link = device();
    ASSERT_OK(netlink_.add_bridge("br0"));
    ASSERT_OK(netlink_.add_bridge("br0"));
    const IfIndex bridge = netlink_.link("br0")->index;
    ASSERT_OK(netlink_.set_master(link, bridge));
    EXPECT_EQ(netlink_.link(link)->master, bridge);
    ASSERT_OK(netlink_.set_master(link, IfIndex(0)));
    EXPECT_EQ(netlink_.link(link)->master, IfIndex(0));
    ASSERT_OK(netlink_.set_mtu(link, 1300));
    ASSERT_OK(netlink_.set_mac(link, mac("02:00:00:00:00:77")));
    ASSERT_OK(netlink_.rename(link, "renamed"));
    const std::string long_name = "a-name-far-longer-than-fifteen-characters";
    ASSERT_OK(netlink_.set_alternative_name(link, long_name));
    ASSERT_OK(netlink_.set_alternative_name(link, long_name));
    auto found = netlink_.link(long_name);
    ASSERT_OK(found);
    EXPECT_EQ(found->index, link);
    EXPECT_EQ(found->name, "renamed");
    EXPECT_EQ(found->alternative_name, long_name);
    EXPECT_EQ(found->mtu, 1300U);
    EXPECT_EQ(found->mac, mac("02:00:00:00:00:77"));
    EXPECT_TRUE(found->up);
    EXPECT_FALSE(netlink_.set_alternative_name(bridge, long_name));
    ASSERT_OK(netlink_.set_up(link, false));
    EXPECT_FALSE(netlink_.link(link)->up);
    const ScratchNetns other;
    ASSERT_OK(netlink_.move_to_netns(link, other.fd()));
    EXPECT_FALSE(netlink_.link("renamed"));
    EXPECT_OK(other.netlink().link("renamed"));
    ASSERT_OK(netlink_.remove_link("dev0p"));
    ASSERT_OK(netlink_.remove_link("dev0p"));
    const Status bad_mtu = netlink_.set_mtu(bridge, 10);
    ASSERT_FALSE(bad_mtu);
    EXPECT_NE(bad_mtu.error().message.find("mtu less than device minimum"), std::string::npos)
        << bad_mtu.error().message;
}

TEST_F(NetlinkTest, AddressesAreIdempotent) {
    const IfIndex link = device();
    ASSERT_OK(netlink_.add_address(link, prefix("192.0.2.1/24"), ip("192.0.2.1")));
    ASSERT_OK(netlink_.add_address(link, prefix("2001:db8::1/64"), ip("2001:db8::1")));
    auto count = [&](const IpAddress& address) {
        int found = 0;
        const auto all = netlink_.addresses();
        for (const InterfaceAddress& entry : *all) {
            if (entry.address != address) continue;
            ++found;
            EXPECT_EQ(entry.link, link);
            EXPECT_EQ(entry.prefix_length, address.is_v4() ? 24 : 64);
            EXPECT_EQ(entry.scope, RT_SCOPE_UNIVERSE);
            EXPECT_FALSE(entry.tentative);
        }
        return found;
    };
    EXPECT_EQ(count(ip("192.0.2.1")), 1);
    EXPECT_EQ(count(ip("2001:db8::1")), 1);
    for (int round = 0; round < 2; ++round) {
        ASSERT_OK(netlink_.remove_address(link, ip("192.0.2.1"), 24));
        ASSERT_OK(netlink_.remove_address(link, ip("2001:db8::1"), 64));
        EXPECT_EQ(count(ip("192.0.2.1")), 0);
        EXPECT_EQ(count(ip("2001:db8::1")), 0);
    }
    EXPECT_EQ(netlink_.add_address(link, prefix("192.0.2.0/24"), ip("198.51.100.1")).error().code,
              Code::kInvalidArgument);
}

TEST_F(NetlinkTest, RoutesReadBackAsTheyWerePut) {
    const IfIndex link = device();
    std::vector<Route> wanted;
    auto add = [&](const std::string& destination) -> Route& {
        Route& route = wanted.emplace_back();
        route.destination = prefix(destination);
        route.link = link;
        return route;
    };
    add("10.1.0.0/24").gateway = ip("192.0.2.2");
    add("10.2.0.0/24").scope = RT_SCOPE_LINK;
    add("10.3.0.5/32").mtu = 1400;
    add("10.4.0.0/16").source = ip("192.0.2.1");
    add("10.5.0.0/16").table = 2005;
    add("10.6.0.0/16").priority = 50;
    add("0.0.0.0/0").gateway = ip("192.0.2.254");
    Route& direct = add("10.7.0.0/16");
    direct.gateway = ip("172.31.0.1");
    direct.onlink = true;
    Route& blackhole = add("10.8.0.0/16");
    blackhole.type = RTN_BLACKHOLE;
    blackhole.link = IfIndex(0);
    add("fd00:1::/64").gateway = ip("2001:db8::2");
    add("fd00:2::/64").scope = RT_SCOPE_LINK;
    add("fd00:3::1/128").mtu = 1400;
    add("fd00:4::/64").priority = 1024;
    add("fd00:5::/64").table = 2005;
    add("::/0").gateway = ip("2001:db8::fe");
    Route& unreachable = add("fd00:8::/64");
    unreachable.type = RTN_UNREACHABLE;
    add("fd00:9::/64").source = ip("2001:db8::1");
    for (const Route& route : wanted) ASSERT_OK(netlink_.put_route(route));
    for (const Route& route : wanted) ASSERT_OK(netlink_.put_route(route));
    const auto listed = netlink_.routes();
    ASSERT_OK(listed);
    for (const Route& route : wanted) {
        const Route expected = as_listed(route);
        EXPECT_EQ(std::count(listed->begin(), listed->end(), expected), 1) << route.destination.to_string();
        EXPECT_EQ(std::count_if(listed->begin(), listed->end(),
                                [&](const Route& other) { return other.destination == route.destination; }),
                  1)
            << route.destination.to_string();
    }
    for (const Route& route : *listed) {
        EXPECT_NE(route.table, 255U);
        EXPECT_FALSE(route.destination.address().is_multicast()) << route.destination.to_string();
    }
    for (int round = 0; round < 2; ++round) {
        for (const Route& route : wanted) ASSERT_OK(netlink_.remove_route(route));
    }
    const auto left = netlink_.routes();
    for (const Route& route : wanted) {
        EXPECT_EQ(std::count(left->begin(), left->end(), as_listed(route)), 0) << route.destination.to_string();
    }
}

TEST_F(NetlinkTest, PutRouteReplacesAndRemoveSparesOthers) {
    const IfIndex link = device();
    for (const std::string destination : {"10.1.0.0/24", "fd00:1::/64"}) {
        Route route;
        route.destination = prefix(destination);
        route.link = link;
        ASSERT_OK(netlink_.put_route(route));
        route.gateway = ip(destination[0] == '1' ? "192.0.2.2" : "2001:db8::2");
        route.mtu = 1300;
        ASSERT_OK(netlink_.put_route(route));
        ASSERT_TRUE(find(route.destination));
        EXPECT_EQ(*find(route.destination), route);
        Route of_someone_else = route;
        of_someone_else.protocol = RTPROT_STATIC;
        ASSERT_OK(netlink_.remove_route(of_someone_else));
        EXPECT_TRUE(find(route.destination));
        Route through_another = route;
        through_another.gateway = ip(destination[0] == '1' ? "192.0.2.3" : "2001:db8::3");
        ASSERT_OK(netlink_.remove_route(through_another));
        EXPECT_TRUE(find(route.destination));
        ASSERT_OK(netlink_.remove_route(route));
        EXPECT_FALSE(find(route.destination));
    }
}

TEST_F(NetlinkTest, RouteErrorsSayWhatTheKernelSays) {
    const IfIndex link = device();
    Route route;
    route.destination = prefix("10.9.0.0/16");
    route.link = link;
    route.gateway = ip("172.31.0.1");
    const Status status = netlink_.put_route(route);
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().message.find("10.9.0.0/16 via 172.31.0.1"), std::string::npos);
    EXPECT_NE(status.error().message.find("Nexthop has invalid gateway"), std::string::npos) << status.error().message;
    route.gateway = ip("2001:db8::2");
    EXPECT_EQ(netlink_.put_route(route).error().code, Code::kInvalidArgument);
}

TEST_F(NetlinkTest, MultipathRoutesAppearOncePerHop) {
    device();
    ASSERT_EQ(std::system(("ip -n " + netns_.path().substr(11) +
                           " route add 10.50.0.0/16 nexthop via 192.0.2.2 nexthop via 192.0.2.3")
                              .c_str()),
              0);
    const auto all = netlink_.routes();
    std::vector<std::string> gateways;
    for (const Route& route : *all) {
        if (route.destination == prefix("10.50.0.0/16")) gateways.push_back(route.gateway->to_string());
    }
    EXPECT_EQ(gateways, (std::vector<std::string>{"192.0.2.2", "192.0.2.3"}));
}

TEST_F(NetlinkTest, Lookup) {
    const IfIndex link = device();
    for (const char* destination : {"10.1.0.0/24", "fd00:1::/64"}) {
        Route route;
        route.destination = prefix(destination);
        route.link = link;
        route.gateway = ip(route.destination.family() == Family::kIpv4 ? "192.0.2.2" : "2001:db8::2");
        ASSERT_OK(netlink_.put_route(route));
        auto found = netlink_.lookup(route.destination.address().plus(7));
        ASSERT_OK(found);
        EXPECT_EQ(found->gateway, route.gateway);
        EXPECT_EQ(found->link, link);
        EXPECT_EQ(found->type, RTN_UNICAST);
        ASSERT_TRUE(found->source);
        EXPECT_EQ(found->source->to_string(),
                  route.destination.family() == Family::kIpv4 ? "192.0.2.1" : "2001:db8::1");
        for (const std::uint8_t type : {RTN_UNREACHABLE, RTN_PROHIBIT, RTN_BLACKHOLE}) {
            Route reject;
            reject.destination = Prefix::host(route.destination.address().plus(9));
            reject.type = type;
            ASSERT_OK(netlink_.put_route(reject));
            auto rejected = netlink_.lookup(reject.destination.address());
            ASSERT_OK(rejected);
            EXPECT_EQ(rejected->type, type);
            ASSERT_OK(netlink_.remove_route(reject));
        }
    }
    for (const char* nowhere : {"203.0.113.1", "fd99::1"}) {
        auto none = netlink_.lookup(ip(nowhere));
        ASSERT_FALSE(none) << nowhere;
        EXPECT_EQ(none.error().code, Code::kNotFound);
    }
    EXPECT_EQ(netlink_.lookup(ip("192.0.2.1"))->type, RTN_LOCAL);
}

TEST_F(NetlinkTest, Rules) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const Rule rule{9, family, 0x200, 0xf00, 2004};
        ASSERT_OK(netlink_.put_rule(rule));
        ASSERT_OK(netlink_.put_rule(rule));
        auto all = netlink_.rules();
        ASSERT_OK(all);
        EXPECT_EQ(std::count(all->begin(), all->end(), rule), 1);
        const Rule unselective{100, family, 0, 0, 254};
        ASSERT_OK(netlink_.put_rule(unselective));
        ASSERT_OK(netlink_.remove_rule(rule));
        ASSERT_OK(netlink_.remove_rule(rule));
        all = netlink_.rules();
        EXPECT_EQ(std::count(all->begin(), all->end(), rule), 0);
        EXPECT_EQ(std::count(all->begin(), all->end(), unselective), 1);
    }
    ASSERT_EQ(std::system(("ip -n " + netns_.path().substr(11) + " rule add from 10.0.0.1 pref 77 lookup 99").c_str()),
              0);
    const auto all = netlink_.rules();
    for (const Rule& rule : *all) EXPECT_NE(rule.priority, 77U);
    EXPECT_EQ(netlink_.put_rule({10, Family::kIpv4, 0x200, 0, 99}).error().code, Code::kInvalidArgument);
}

TEST_F(NetlinkTest, Neighbours) {
    const IfIndex link = device();
    for (const char* address : {"192.0.2.9", "2001:db8::9"}) {
        const Neighbour neighbour{link, ip(address), mac("02:00:00:00:00:42"), true};
        for (int round = 0; round < 2; ++round) ASSERT_OK(netlink_.put_neighbour(neighbour));
        auto find = [&]() -> std::optional<Neighbour> {
            const auto all = netlink_.neighbours();
            for (const Neighbour& entry : *all) {
                if (entry.address == neighbour.address) return entry;
            }
            return std::nullopt;
        };
        ASSERT_TRUE(find());
        EXPECT_EQ(find()->mac, neighbour.mac);
        EXPECT_EQ(find()->link, link);
        EXPECT_TRUE(find()->permanent);
        for (int round = 0; round < 2; ++round) ASSERT_OK(netlink_.remove_neighbour(neighbour));
        EXPECT_FALSE(find());
    }
}

TEST_F(NetlinkTest, MonitorTellsWhatChanged) {
    std::optional<NetlinkMonitor> monitor;
    netns_.inside([&] {
        auto opened = NetlinkMonitor::open();
        ASSERT_OK(opened);
        monitor.emplace(std::move(*opened));
    });
    ASSERT_TRUE(monitor);
    auto quiet = monitor->drain();
    EXPECT_FALSE(quiet.links || quiet.addresses || quiet.routes || quiet.rules);
    ASSERT_OK(netlink_.put_rule({9, Family::kIpv4, 0x200, 0xf00, 2004}));
    pollfd poll_fd{monitor->fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&poll_fd, 1, 1000), 1);
    auto changes = monitor->drain();
    EXPECT_TRUE(changes.rules);
    EXPECT_FALSE(changes.links || changes.addresses || changes.routes);
    // From here on the kernel adds notifications of its own, when carriers come up.
    const IfIndex link = device();
    changes = monitor->drain();
    EXPECT_TRUE(changes.links && changes.addresses && changes.routes);
    EXPECT_FALSE(changes.rules);

    // Overflow: more notifications than the queue holds.
    Route route;
    route.link = link;
    for (int i = 0; i < 3000; ++i) {
        route.destination = Prefix::host(ip("10.128.0.0").plus(static_cast<std::uint64_t>(i)));
        ASSERT_OK(netlink_.put_route(route));
    }
    changes = monitor->drain();
    EXPECT_TRUE(changes.links && changes.addresses && changes.routes && changes.rules);
    auto routes = netlink_.routes();
    ASSERT_OK(routes);
    EXPECT_GE(routes->size(), 3000U);
}

TEST_F(NetlinkTest, CallsAreQuick) {
    const ScratchNetns pod;
    constexpr int kCount = 50;
    using Clock = std::chrono::steady_clock;
    auto report = [](const char* what, Clock::time_point start, int count) {
        const double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count() / count;
        std::printf("%-24s %8.1f us\n", what, us);
        return us;
    };
    auto start = Clock::now();
    for (int i = 0; i < kCount; ++i) {
        Netlink::VethSpec spec;
        spec.name = "lxc" + std::to_string(i);
        spec.peer_name = "eth" + std::to_string(i);
        spec.mac = MacAddress::random();
        spec.peer_mac = MacAddress::random();
        spec.mtu = 1450;
        spec.peer_netns_fd = pod.fd();
        ASSERT_OK(netlink_.add_veth(spec));
    }
    const double veth = report("add_veth", start, kCount);
    start = Clock::now();
    for (int i = 0; i < kCount; ++i) ASSERT_OK(netlink_.link("lxc" + std::to_string(i)));
    const double by_name = report("link(name)", start, kCount);
    const IfIndex link = netlink_.link("lxc1")->index;
    start = Clock::now();
    for (int i = 0; i < kCount; ++i) ASSERT_OK(netlink_.link(link));
    const double by_index = report("link(index)", start, kCount);
    ASSERT_OK(netlink_.set_up(link, true));
    start = Clock::now();
    for (int i = 0; i < kCount; ++i) {
        Route route;
        route.destination = Prefix::host(ip("10.0.0.0").plus(static_cast<std::uint64_t>(i)));
        route.link = link;
        ASSERT_OK(netlink_.put_route(route));
    }
    const double route = report("put_route", start, kCount);
    start = Clock::now();
    for (int i = 0; i < kCount; ++i) ASSERT_OK(Netlink::open_in(netns_.path()));
    report("open_in", start, kCount);
    // Generous: the machine may be busy. What it guards against is a dump where one object is asked for.
    EXPECT_LT(veth, 20000);
    EXPECT_LT(by_name, 2000);
    EXPECT_LT(by_index, 2000);
    EXPECT_LT(route, 2000);
}

}  // namespace
}  // namespace axo
