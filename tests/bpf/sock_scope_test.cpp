// Which services sockets deal with, and for whom: addresses of nodes, pods and the node itself, families, bind, ending.
#include <netinet/in.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <set>

#include "maps/convert.h"
#include "maps/socket_map.h"
#include "sock_fixture.h"

namespace axo::test {
namespace {

TEST_F(SockTest, NodePortsOfThisNodeAndOfOthers) {
    if (config_.host_netns_cookie == kSomebodyElse) GTEST_SKIP() << "this kernel does not tell cookies (5.14)";
    start();
    netns_.inside([&] {
        for (const int protocol : kProtocols) {
            const Peer v4 = at("10.9.0.1", 8080), v6 = at("fd00:9::1", 8080);
            auto servers = serve({v4, v6}, protocol);
            lb_service node_port{};
            node_port.flags = LB_F_NODE_PORT;
            put_service(at("0.0.0.0", 30080), protocol, {add_backend(v4, protocol)}, node_port);
            put_service(at("::", 30080), protocol, {add_backend(v6, protocol)}, node_port);
            for (const Peer& to : {at("10.9.1.1", 30080), at("10.9.2.1", 30080), at("127.0.0.1", 30080),
                                   at("127.1.2.3", 30080), mapped("10.9.1.1", 30080), mapped("127.0.0.1", 30080)}) {
                EXPECT_EQ(connect_and_ask(to, protocol, servers), "10.9.0.1") << to;
            }
            for (const Peer& to : {at("fd00:9:1::1", 30080), at("fd00:9:2::1", 30080), at("::1", 30080)})
                EXPECT_EQ(connect_and_ask(to, protocol, servers), "fd00:9::1") << to;
            // Not an address of a node: nobody listens there.
            Socket direct(AF_INET, IPPROTO_TCP);
            EXPECT_EQ(direct.connect(at("10.9.0.2", 30080)), ECONNREFUSED);
        }
        // A host port is the business of the node that has the pod.
        Server server(at("10.9.0.3", 8080), IPPROTO_TCP);
        std::vector<Server> servers;
        servers.push_back(std::move(server));
        lb_service host_port{};
        host_port.flags = LB_F_HOST_PORT;
        put_service(at("0.0.0.0", 8888), IPPROTO_TCP, {add_backend(at("10.9.0.3", 8080), IPPROTO_TCP)}, host_port);
        EXPECT_EQ(connect_and_ask(at("10.9.1.1", 8888), IPPROTO_TCP, servers), "10.9.0.3");
        EXPECT_EQ(connect_and_ask(at("127.0.0.1", 8888), IPPROTO_TCP, servers), "10.9.0.3");
        EXPECT_EQ(Socket(AF_INET, IPPROTO_TCP).connect(at("10.9.2.1", 8888)), ECONNREFUSED);
    });
}

TEST_F(SockTest, NodePortsOnlyWhereTheyAreServed) {
    if (config_.host_netns_cookie == kSomebodyElse) GTEST_SKIP() << "this kernel does not tell cookies (5.14)";
    write_node_port_addresses(lb_, {*Prefix::parse("10.9.2.0/23"), *Prefix::parse("fd00:9:1::/64")});
    start();
    netns_.inside([&] {
        const Peer v4 = at("10.9.0.1", 8080), v6 = at("fd00:9::1", 8080);
        auto servers = serve({v4, v6}, IPPROTO_TCP);
        lb_service node_port{};
        node_port.flags = LB_F_NODE_PORT;
        put_service(at("0.0.0.0", 30080), IPPROTO_TCP, {add_backend(v4, IPPROTO_TCP)}, node_port);
        put_service(at("::", 30080), IPPROTO_TCP, {add_backend(v6, IPPROTO_TCP)}, node_port);
        for (const Peer& to : {at("10.9.2.1", 30080), at("127.0.0.1", 30080)})
            EXPECT_EQ(connect_and_ask(to, IPPROTO_TCP, servers), "10.9.0.1") << to;
        for (const Peer& to : {at("fd00:9:1::1", 30080), at("::1", 30080)})
            EXPECT_EQ(connect_and_ask(to, IPPROTO_TCP, servers), "fd00:9::1") << to;
        for (const Peer& to : {at("10.9.1.1", 30080), at("fd00:9:2::1", 30080)})
            EXPECT_EQ(Socket::of(to, IPPROTO_TCP).connect(to), ECONNREFUSED) << to;
        // The ports are somebody else's there.
        EXPECT_EQ(Socket(AF_INET, IPPROTO_TCP).bind(at("10.9.1.1", 30080)), 0);
        EXPECT_EQ(Socket(AF_INET6, IPPROTO_TCP).bind(at("fd00:9:1::1", 30080)), EPERM);
    });
}

TEST_F(SockTest, ExternalAddressesAreTranslatedWhereTheyAreTheNodesOrWhenTold) {
    for (const bool told : {false, true}) {
        config_.external_ips = told;
        start();
        netns_.inside([&] {
            const Peer backend = at("10.9.0.1", 8080);
            auto servers = serve({backend}, IPPROTO_TCP);
            lb_service external{};
            external.flags = LB_F_EXTERNAL_IP;
            const auto id = add_backend(backend, IPPROTO_TCP);
            put_service(at("10.9.1.1", 80), IPPROTO_TCP, {id}, external);
            put_service(at("10.9.0.4", 80), IPPROTO_TCP, {id}, external);  // reachable, but not the node's
            EXPECT_EQ(connect_and_ask(at("10.9.1.1", 80), IPPROTO_TCP, servers), "10.9.0.1");
            EXPECT_EQ(connect_and_ask(at("10.9.0.4", 80), IPPROTO_TCP, servers),
                      told ? "10.9.0.1" : std::strerror(ECONNREFUSED));
            lb_service balancer{};
            balancer.flags = LB_F_LOAD_BALANCER;
            put_service(at("10.96.1.1", 80), IPPROTO_TCP, {id}, balancer);
            EXPECT_EQ(connect_and_ask(at("10.96.1.1", 80), IPPROTO_TCP, servers), "10.9.0.1");
            // Whose packets have to be looked at is left to the packet path.
            lb_service http{};
            http.flags2 = LB_F2_L7;
            put_service(at("10.9.0.4", 81), IPPROTO_TCP, {id}, http);
            EXPECT_EQ(connect_and_ask(at("10.9.0.4", 81), IPPROTO_TCP, servers), std::strerror(ECONNREFUSED));
        });
    }
}

TEST_F(SockTest, InternalScopeIsTheOneThatCounts) {
    start();
    netns_.inside([&] {
        const Peer local = at("10.9.0.1", 8080), any = at("10.9.0.2", 8080);
        auto servers = serve({local, any}, IPPROTO_TCP);
        lb_service service{};
        service.flags2 = LB_F2_TWO_SCOPES;
        put_service(at("10.96.0.10", 80), IPPROTO_TCP, {add_backend(local, IPPROTO_TCP)}, service);
        put_service(at("10.96.0.10", 80), IPPROTO_TCP, {add_backend(any, IPPROTO_TCP)}, service, LB_SCOPE_INTERNAL);
        EXPECT_EQ(connect_and_ask(at("10.96.0.10", 80), IPPROTO_TCP, servers), "10.9.0.2");
    });
}

TEST_F(SockTest, PodsKeepTheirLoopbackAndTheirPorts) {
    config_.host_netns_cookie = kSomebodyElse;  // so this namespace is a pod's
    start();
    netns_.inside([&] {
        const Peer backend = at("10.9.0.1", 8080);
        auto servers = serve({backend}, IPPROTO_TCP);
        lb_service node_port{};
        node_port.flags = LB_F_NODE_PORT;
        put_service(at("0.0.0.0", 30080), IPPROTO_TCP, {add_backend(backend, IPPROTO_TCP)}, node_port);
        EXPECT_EQ(connect_and_ask(at("10.9.1.1", 30080), IPPROTO_TCP, servers), "10.9.0.1");
        for (const Peer& own : {at("127.0.0.1", 30080), at("0.0.0.0", 30080), mapped("127.0.0.1", 30080)})
            EXPECT_EQ(Socket::of(own, IPPROTO_TCP).connect(own), ECONNREFUSED) << own;
        EXPECT_EQ(Socket(AF_INET, IPPROTO_TCP).bind(at("0.0.0.0", 30080)), 0);
    });
}

TEST_F(SockTest, HostOnlyLeavesPodsToThePacketPath) {
    for (const bool pod : {false, true}) {
        config_.host_only = 1;
        if (pod) config_.host_netns_cookie = kSomebodyElse;
        if (!pod && config_.host_netns_cookie == kSomebodyElse) continue;  // this kernel does not tell cookies
        start();
        netns_.inside([&] {
            const Peer backend = at("10.9.0.1", 8080), service = at("10.96.0.10", 80);
            auto servers = serve({backend}, IPPROTO_UDP);
            put_service(service, IPPROTO_UDP, {add_backend(backend, IPPROTO_UDP)});
            EXPECT_EQ(connect_and_ask(service, IPPROTO_UDP, servers), pod ? std::strerror(EHOSTUNREACH) : "10.9.0.1");
            EXPECT_EQ(Socket(AF_INET, IPPROTO_UDP).send_to(service), pod ? EHOSTUNREACH : 0);
        });
    }
}

TEST_F(SockTest, ProcessesOfTheNodeKeepOffServicePorts) {
    if (config_.host_netns_cookie == kSomebodyElse) GTEST_SKIP() << "this kernel does not tell cookies (5.14)";
    start();
    netns_.inside([&] {
        lb_service node_port{}, balancer{}, host_port{};
        node_port.flags = LB_F_NODE_PORT;
        balancer.flags = LB_F_LOAD_BALANCER;
        host_port.flags = LB_F_HOST_PORT;
        for (const int protocol : kProtocols) {
            put_service(at("0.0.0.0", 30080), protocol, {}, node_port);
            put_service(at("::", 30081), protocol, {}, node_port);
            put_service(at("10.9.0.4", 443), protocol, {}, balancer);
            put_service(at("10.9.0.4", 444), protocol, {});
            put_service(at("0.0.0.0", 8888), protocol, {}, host_port);
            for (const Peer& taken :
                 {at("0.0.0.0", 30080), at("10.9.1.1", 30080), at("127.0.0.1", 30080), mapped("10.9.1.1", 30080),
                  at("::", 30080), at("::", 30081), at("fd00:9:1::1", 30081), at("::1", 30081), at("10.9.0.4", 443)}) {
                EXPECT_EQ(Socket::of(taken, protocol).bind(taken), EPERM) << taken;
            }
            for (const Peer& free :
                 {at("0.0.0.0", 30079), at("10.9.0.2", 30080), at("0.0.0.0", 30081), at("10.9.0.4", 444),
                  at("10.9.0.3", 443), at("0.0.0.0", 8888), at("0.0.0.0", 0), at("fd00:9::2", 30081)}) {
                EXPECT_EQ(Socket::of(free, protocol).bind(free), 0) << free;
            }
        }
    });
    config_.bind_protection = 0;
    start();
    netns_.inside([&] {
        lb_service node_port{};
        node_port.flags = LB_F_NODE_PORT;
        put_service(at("0.0.0.0", 30080), IPPROTO_TCP, {}, node_port);
        EXPECT_EQ(Socket(AF_INET, IPPROTO_TCP).bind(at("0.0.0.0", 30080)), 0);
    });
}

TEST_F(SockTest, AFamilyThatIsOffIsLeftAlone) {
    config_.ipv6 = 0;
    start();
    netns_.inside([&] {
        const Peer v4 = at("10.9.0.1", 8080), v6 = at("fd00:9::1", 8080);
        auto servers = serve({v4, v6}, IPPROTO_TCP);
        put_service(at("10.96.0.10", 80), IPPROTO_TCP, {add_backend(v4, IPPROTO_TCP)});
        put_service(at("fd00:96::10", 80), IPPROTO_TCP, {add_backend(v6, IPPROTO_TCP)});
        EXPECT_EQ(connect_and_ask(mapped("10.96.0.10", 80), IPPROTO_TCP, servers), "10.9.0.1");
        EXPECT_EQ(connect_and_ask(at("fd00:96::10", 80), IPPROTO_TCP, servers), std::strerror(EHOSTUNREACH));
    });
}

// Sockets whose backend went are ended; those that reached the same address without a service are not.
TEST_F(SockTest, SocketsOfABackendThatWentAreEnded) {
    start();
    netns_.inside([&] {
        for (const int protocol : kProtocols) {
            for (const Peer& service : {at("10.96.0.10", 80), at("fd00:96::10", 80), mapped("10.96.0.10", 80)}) {
                const bool v6 = service.address.is_v6();
                const Peer backend = v6 ? at("fd00:9::1", 8080) : at("10.9.0.1", 8080);
                const Peer other = v6 ? at("fd00:9::2", 8080) : at("10.9.0.2", 8080);
                auto servers = serve({backend, other}, protocol);
                Peer frontend = service;
                frontend.mapped = false;
                Peer second = frontend;
                second.port = 81;
                put_service(frontend, protocol, {add_backend(backend, protocol)});
                put_service(second, protocol, {add_backend(other, protocol)});
                second.mapped = service.mapped;
                Socket through = Socket::of(service, protocol), elsewhere = Socket::of(service, protocol);
                Socket direct = Socket::of(backend, protocol);
                ASSERT_EQ(through.connect(service), 0);
                ASSERT_EQ(elsewhere.connect(second), 0);
                ASSERT_EQ(direct.connect(backend), 0);
                auto maps = SocketMaps::wrap(raw("cilium_lb_sockets"), raw("cilium_lb4_reverse_sk"),
                                             raw("cilium_lb6_reverse_sk"));
                ASSERT_OK(maps);
                const auto ended =
                    maps->end_connections({{backend.address, backend.port, static_cast<std::uint8_t>(protocol)}});
                if (!ended && ended.error().code == Code::kUnimplemented) GTEST_SKIP() << ended.error().to_string();
                ASSERT_OK(ended);
                EXPECT_EQ(*ended, 1U) << service;
                EXPECT_EQ(through.receive_error(), ECONNABORTED) << service;
                EXPECT_EQ(elsewhere.send(), 0);
                EXPECT_EQ(direct.send(), 0);
            }
        }
    });
}

}  // namespace
}  // namespace axo::test
