// What a process sees of services: whom it reaches, whom it believes to talk to, what it is told.
#include <netinet/in.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <set>

#include "sock_fixture.h"

namespace axo::test {
namespace {

TEST_F(SockTest, ConnectsToABackendAndBelievesToTalkToTheService) {
    start();
    netns_.inside([&] {
        for (const int protocol : kProtocols) {
            for (const bool v6 : {false, true}) {
                const std::vector<Peer> where = v6 ? std::vector{at("fd00:9::1", 8080), at("fd00:9::2", 8081)}
                                                   : std::vector{at("10.9.0.1", 8080), at("10.9.0.2", 8081)};
                auto servers = serve(where, protocol);
                const Peer service = v6 ? at("fd00:96::10", 80) : at("10.96.0.10", 80);
                put_service(service, protocol, {add_backend(where[0], protocol), add_backend(where[1], protocol)});
                std::map<std::string, int> answers;
                for (int i = 0; i < 40; ++i) ++answers[connect_and_ask(service, protocol, servers)];
                EXPECT_EQ(answers.size(), 2U);
                for (const Server& server : servers) EXPECT_GE(answers[server.address().address.to_string()], 5);
                // Another port of the address, another protocol: no service.
                Peer other = service;
                other.port = 81;
                EXPECT_NE(Socket::of(other, protocol).connect(other), 0);
                if (v6) continue;
                const Peer v4_in_v6 = mapped("10.96.0.10", 80);
                answers.clear();
                for (int i = 0; i < 40; ++i) ++answers[connect_and_ask(v4_in_v6, protocol, servers)];
                EXPECT_EQ(answers.size(), 2U);
            }
        }
        EXPECT_EQ(entries("cilium_lb4_reverse_sk"), 0U) << "one service per socket needs no entry";
        EXPECT_EQ(entries("cilium_lb6_reverse_sk"), 0U);
    });
}

TEST_F(SockTest, DatagramsOfASocketStayWithTheirBackend) {
    start();
    netns_.inside([&] {
        for (const Peer& service : {at("10.96.0.10", 53), at("fd00:96::10", 53), mapped("10.96.0.11", 53)}) {
            const bool v6 = service.address.is_v6();
            const std::vector<Peer> where = v6 ? std::vector{at("fd00:9::1", 5300), at("fd00:9::2", 5300)}
                                               : std::vector{at("10.9.0.1", 5300), at("10.9.0.2", 5300)};
            auto servers = serve(where, IPPROTO_UDP);
            Peer frontend = service;
            frontend.mapped = false;
            put_service(frontend, IPPROTO_UDP,
                        {add_backend(where[0], IPPROTO_UDP), add_backend(where[1], IPPROTO_UDP)});
            std::set<std::string> of_all;
            for (int s = 0; s < 24; ++s) {
                Socket client = Socket::of(service, IPPROTO_UDP);
                std::set<std::string> of_one;
                for (int i = 0; i < 4; ++i) {
                    ASSERT_EQ(client.send_to(service), 0);
                    for (Server& server : servers) server.serve();
                    const auto answer = client.receive();
                    ASSERT_TRUE(answer.has_value());
                    EXPECT_EQ(answer->first, service);
                    of_one.insert(answer->second);
                }
                EXPECT_EQ(of_one.size(), 1U);
                of_all.merge(of_one);
            }
            EXPECT_EQ(of_all.size(), 2U);
        }
    });
}

TEST_F(SockTest, OneSocketTalksToSeveralServicesAndToABackendDirectly) {
    start();
    netns_.inside([&] {
        for (const bool v6 : {false, true}) {
            const char* entries_of = v6 ? "cilium_lb6_reverse_sk" : "cilium_lb4_reverse_sk";
            const auto backends = v6 ? std::vector{at("fd00:9::1", 53), at("fd00:9::2", 53), at("fd00:9::3", 53)}
                                     : std::vector{at("10.9.0.1", 53), at("10.9.0.2", 53), at("10.9.0.3", 53)};
            const auto services = v6 ? std::vector{at("fd00:96::1", 53), at("fd00:96::2", 53)}
                                     : std::vector{at("10.96.0.1", 53), at("10.96.0.2", 53)};
            auto servers = serve(backends, IPPROTO_UDP);
            for (std::size_t i = 0; i < services.size(); ++i)
                put_service(services[i], IPPROTO_UDP, {add_backend(backends[i], IPPROTO_UDP)});
            Socket client = Socket::of(services[0], IPPROTO_UDP);
            for (int round = 0; round < 2; ++round) {
                for (const Peer& to : {services[0], services[1], backends[2]}) {
                    ASSERT_EQ(client.send_to(to), 0);
                    for (Server& server : servers) server.serve();
                    const auto answer = client.receive();
                    ASSERT_TRUE(answer.has_value());
                    EXPECT_EQ(answer->first, to);
                }
            }
            EXPECT_EQ(entries(entries_of), 1U);
            client.close();
            EXPECT_EQ(entries(entries_of), 0U) << "a socket's entries go with it";
        }
    });
}

TEST_F(SockTest, ReconnectedSocketForgetsTheService) {
    start();
    netns_.inside([&] {
        const Peer backend = at("10.9.0.1", 5353), service = at("10.96.0.10", 53), second = at("10.96.0.11", 53);
        Server server(backend, IPPROTO_UDP);
        const auto id = add_backend(backend, IPPROTO_UDP);
        put_service(service, IPPROTO_UDP, {id});
        put_service(second, IPPROTO_UDP, {id});
        Socket client(AF_INET, IPPROTO_UDP);
        ASSERT_EQ(client.connect(service), 0);
        EXPECT_EQ(client.peer(), service);
        ASSERT_EQ(client.connect(second), 0);
        EXPECT_EQ(client.peer(), second) << "the same backend behind another service";
        ASSERT_EQ(client.connect(backend), 0);
        EXPECT_EQ(client.peer(), backend) << "it asked for the backend itself";
        ASSERT_EQ(client.connect(service), 0);
        EXPECT_EQ(client.peer(), service);
    });
}

TEST_F(SockTest, ServiceWithoutBackendsSaysThatNobodyIsThere) {
    start();
    netns_.inside([&] {
        const int expected = has_set_retval() ? EHOSTUNREACH : EPERM;
        for (const Peer& service : {at("10.96.0.10", 80), at("fd00:96::10", 80), mapped("10.96.0.11", 80)}) {
            Peer frontend = service;
            frontend.mapped = false;
            for (const int protocol : kProtocols) {
                put_service(frontend, protocol, {});
                EXPECT_EQ(Socket::of(service, protocol).connect(service), expected) << service;
            }
            EXPECT_EQ(Socket::of(service, IPPROTO_UDP).send_to(service), expected) << service;
        }
        // A table that names a backend that is not there is no reason to connect to nowhere.
        put_service(at("10.96.0.12", 80), IPPROTO_TCP, {4711});
        EXPECT_EQ(Socket(AF_INET, IPPROTO_TCP).connect(at("10.96.0.12", 80)), expected);
    });
}

TEST_F(SockTest, AffinityHoldsForAllPortsAndMovesWithItsPod) {
    start();
    netns_.inside([&] {
        for (const bool v6 : {false, true}) {
            std::vector<Peer> http, dns;
            for (int i = 1; i <= 4; ++i) {
                const std::string address = (v6 ? "fd00:9::" : "10.9.0.") + std::to_string(i);
                http.push_back(at(address.c_str(), 8080));
                dns.push_back(at(address.c_str(), 9090));
            }
            auto http_servers = serve(http, IPPROTO_TCP);
            auto dns_servers = serve(dns, IPPROTO_TCP);
            lb_service sticky{};
            sticky.flags = LB_F_AFFINITY;
            sticky.affinity_timeout = 600;
            sticky.affinity_group = v6 ? 2 : 1;
            const Peer first = v6 ? at("fd00:96::10", 80) : at("10.96.0.10", 80);
            const Peer second = v6 ? at("fd00:96::10", 90) : at("10.96.0.10", 90);
            std::map<std::uint32_t, std::uint32_t> http_ids;  // pod -> backend
            const auto put = [&](const Peer& frontend, const std::vector<Peer>& backends, std::uint32_t port_id) {
                std::vector<std::uint32_t> ids;
                for (const Peer& backend : backends) {
                    ids.push_back(add_backend(backend, IPPROTO_TCP));
                    ASSERT_OK(maps_->put_affinity_match({.pod_id = pod_of(backend), .port_id = port_id}, ids.back()));
                    if (port_id % 2 == 1) http_ids[pod_of(backend)] = ids.back();
                }
                sticky.port_id = port_id;
                put_service(frontend, IPPROTO_TCP, ids, sticky);
            };
            const std::uint32_t http_port = v6 ? 3 : 1;
            put(first, http, http_port);
            put(second, dns, http_port + 1);
            std::set<std::string> answers;
            for (int i = 0; i < 10; ++i) {
                answers.insert(connect_and_ask(first, IPPROTO_TCP, http_servers));
                answers.insert(connect_and_ask(second, IPPROTO_TCP, dns_servers));
            }
            ASSERT_EQ(answers.size(), 1U);
            EXPECT_EQ(entries("cilium_lb_affinity"), v6 ? 2U : 1U);

            // Its pod may not be chosen any more: another one, and that again and again.
            const IpAddress gone = IpAddress::parse(*answers.begin()).value();
            ASSERT_OK(maps_->remove_affinity_match({.pod_id = gone.bytes().back(), .port_id = http_port}));
            std::vector<std::uint32_t> left;
            for (const auto& [pod, id] : http_ids) {
                if (pod != gone.bytes().back()) left.push_back(id);
            }
            sticky.port_id = http_port;
            put_service(first, IPPROTO_TCP, left, sticky);
            std::set<std::string> moved;
            for (int i = 0; i < 10; ++i) moved.insert(connect_and_ask(first, IPPROTO_TCP, http_servers));
            EXPECT_EQ(moved.size(), 1U);
            EXPECT_FALSE(moved.contains(gone.to_string()));
        }
    });
}

TEST_F(SockTest, AffinityEndsWithItsTimeout) {
    start();
    netns_.inside([&] {
        const std::vector<Peer> where{at("10.9.0.1", 8080), at("10.9.0.2", 8080)};
        auto servers = serve(where, IPPROTO_TCP);
        lb_service sticky{};
        sticky.flags = LB_F_AFFINITY;
        sticky.affinity_timeout = 1;
        sticky.affinity_group = 1;
        sticky.port_id = 1;
        std::vector<std::uint32_t> ids;
        for (const Peer& peer : where) {
            ids.push_back(add_backend(peer, IPPROTO_TCP));
            ASSERT_OK(maps_->put_affinity_match({.pod_id = pod_of(peer), .port_id = 1}, ids.back()));
        }
        const Peer service = at("10.96.0.10", 80);
        put_service(service, IPPROTO_TCP, ids, sticky);
        const std::string first = connect_and_ask(service, IPPROTO_TCP, servers);
        // The table leads to the other one now; the client does not notice until its time is over.
        const std::uint32_t other = first == "10.9.0.1" ? ids[1] : ids[0];
        put_service(service, IPPROTO_TCP, {other}, sticky);
        EXPECT_EQ(connect_and_ask(service, IPPROTO_TCP, servers), first);
        ::usleep(1'500'000);
        EXPECT_NE(connect_and_ask(service, IPPROTO_TCP, servers), first);
    });
}

}  // namespace
}  // namespace axo::test
