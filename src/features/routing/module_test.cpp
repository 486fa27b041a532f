#include "features/routing/module.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include <fstream>

#include "kernel/scratch_netns.h"

namespace axo {
namespace {

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}
Prefix prefix(std::string_view text) {
    return Prefix::parse(text).value();
}

// One node "a" in a namespace: cilium_host, and an uplink with 192.168.0.1/24 whose other end is never asked.
class RoutingModuleTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        netns_.emplace("axodp-rt");
        directory_ = ::testing::TempDir() + "axodp-rt-" + std::to_string(::getpid());
        std::filesystem::create_directories(directory_);
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    // Runs the test's body inside, with devices and the nodes table ready.
    void run(const std::function<void()>& body) {
        netns_->inside([&] {
            auto netlink = Netlink::open();
            ASSERT_OK(netlink);
            netlink_ = &*netlink;
            Netlink::VethSpec pair;
            pair.name = "cilium_host";
            pair.peer_name = "cilium_net";
            ASSERT_OK(netlink->add_veth(pair));
            pair.name = "up0";
            pair.peer_name = "up1";
            ASSERT_OK(netlink->add_veth(pair));
            for (const char* name : {"lo", "cilium_host", "cilium_net", "up0", "up1"}) {
                ASSERT_OK(netlink->set_up(netlink->link(name)->index, true));
            }
            const IfIndex host = netlink->link("cilium_host")->index;
            uplink_ = netlink->link("up0")->index;
            ASSERT_OK(netlink->add_address(host, prefix("10.0.0.1/32"), ip("10.0.0.1")));
            ASSERT_OK(netlink->add_address(host, prefix("fd00::1/128"), ip("fd00::1")));
            ASSERT_OK(netlink->add_address(uplink_, prefix("192.168.0.0/24"), ip("192.168.0.1")));
            ASSERT_OK(netlink->add_address(uplink_, prefix("fc00::/64"), ip("fc00::1")));
            settings_ = {.ipv4 = true,
                         .ipv6 = true,
                         .tunnel = true,
                         .route_mtu = 1450,
                         .host_device = host,
                         .router_ipv4 = ip("10.0.0.1"),
                         .router_ipv6 = ip("fd00::1")};
            EventLoop loop;
            ControllerRegistry registry;
            Table<std::string, NodeRow> nodes(loop, "nodes");
            loop_ = &loop;
            registry_ = &registry;
            nodes_ = &nodes;
            add_node("a", "192.168.0.1", "fc00::1", {"10.0.0.0/24", "fd00::/96"}, true);
            add_node("b", "192.168.0.2", "fc00::2", {"10.0.1.0/24", "fd01::/96"});
            nodes.mark_initialized();
            body();
            loop_ = nullptr;
        });
    }

    void add_node(const std::string& name, std::string_view v4, std::string_view v6, std::vector<std::string> cidrs,
                  bool local = false) {
        NodeRow row;
        row.name = name;
        row.local = local;
        row.addresses = {{"InternalIP", ip(v4)}, {"InternalIP", ip(v6)}};
        for (const std::string& cidr : cidrs) row.pod_cidrs.push_back(prefix(cidr));
        nodes_->upsert(name, row);
    }
    std::unique_ptr<RoutingModule> start() {
        auto module = RoutingModule::start(*loop_, *registry_, *nodes_, settings_, directory_ + "/routes.json");
        EXPECT_OK(module);
        return std::move(*module);
    }
    std::optional<Route> find(std::string_view destination) {
        const auto routes = netlink_->routes();
        EXPECT_OK(routes);
        for (const Route& route : *routes) {
            if (route.destination == prefix(destination) && route.table == RT_TABLE_MAIN && route.priority == 0)
                return route;
        }
        return std::nullopt;
    }
    void run_loop(std::chrono::milliseconds time) {
        const auto stop = loop_->after(time, [this] { loop_->stop(); });
        loop_->run();
    }
    void use_native(bool skip) {
        settings_.tunnel = false;
        settings_.auto_direct_node_routes = true;
        settings_.skip_unreachable = skip;
    }

    std::optional<ScratchNetns> netns_;
    std::string directory_;
    Netlink* netlink_ = nullptr;
    EventLoop* loop_ = nullptr;
    ControllerRegistry* registry_ = nullptr;
    Table<std::string, NodeRow>* nodes_ = nullptr;
    RoutingSettings settings_;
    IfIndex uplink_;
};

TEST_F(RoutingModuleTest, TunnelRoutesAreInstalledOnceAndAdoptedByARestart) {
    run([&] {
        {
            const auto module = start();
            ASSERT_OK(module->flush());
            EXPECT_EQ(module->reconciler().counters().added, 6U);
        }
        const auto local = find("10.0.0.0/24");
        ASSERT_TRUE(local);
        EXPECT_EQ(local->gateway, ip("10.0.0.1"));
        EXPECT_EQ(local->source, ip("10.0.0.1"));
        EXPECT_EQ(local->protocol, RTPROT_KERNEL);
        EXPECT_EQ(local->mtu, 0U);
        const auto remote = find("10.0.1.0/24");
        ASSERT_TRUE(remote);
        EXPECT_EQ(remote->link, settings_.host_device);
        EXPECT_EQ(remote->mtu, 1450U);
        EXPECT_TRUE(find("10.0.0.1/32"));
        EXPECT_TRUE(find("fd00::1/128"));
        EXPECT_EQ(find("fd01::/96")->mtu, 1450U);

        const auto restarted = start();
        ASSERT_OK(restarted->flush());
        EXPECT_EQ(restarted->reconciler().counters().unchanged_at_start, 6U);
        EXPECT_EQ(restarted->reconciler().counters().added + restarted->reconciler().counters().updated +
                      restarted->reconciler().counters().removed,
                  0U);
    });
}

TEST_F(RoutingModuleTest, WhatSomebodyRemovesComesBackAndForeignRoutesStay) {
    run([&] {
        Route foreign;
        foreign.destination = prefix("172.16.0.0/16");
        foreign.gateway = ip("192.168.0.77");
        foreign.link = uplink_;
        foreign.protocol = RTPROT_KERNEL;  // even with our mark: nobody here ever wanted it
        ASSERT_OK(netlink_->put_route(foreign));
        const auto module = start();
        ASSERT_OK(module->flush());
        ASSERT_OK(netlink_->remove_route(*find("10.0.1.0/24")));
        ASSERT_FALSE(find("10.0.1.0/24"));
        run_loop(std::chrono::milliseconds(400));
        EXPECT_TRUE(find("10.0.1.0/24"));
        EXPECT_TRUE(find("172.16.0.0/16"));
    });
}

TEST_F(RoutingModuleTest, ANodeThatGoesTakesItsRouteAlong) {
    run([&] {
        use_native(false);
        {
            const auto module = start();
            ASSERT_OK(module->flush());
            EXPECT_EQ(find("10.0.1.0/24")->gateway, ip("192.168.0.2"));
            EXPECT_EQ(find("10.0.1.0/24")->link, uplink_);
            EXPECT_EQ(find("fd01::/96")->gateway, ip("fc00::2"));
        }
        // Gone while the agent was down; before all nodes are known nothing is removed.
        nodes_->erase("b");
        Table<std::string, NodeRow> unknown(*loop_, "nodes");
        unknown.upsert("a", *nodes_->find("a"));
        auto early = RoutingModule::start(*loop_, *registry_, unknown, settings_, directory_ + "/routes.json");
        ASSERT_OK(early);
        ASSERT_OK((*early)->flush());
        EXPECT_TRUE(find("10.0.1.0/24"));
        unknown.mark_initialized();
        ASSERT_OK((*early)->flush());
        EXPECT_FALSE(find("10.0.1.0/24"));
        EXPECT_FALSE(find("fd01::/96"));
        EXPECT_TRUE(find("10.0.0.0/24"));
    });
}

TEST_F(RoutingModuleTest, ANodeBehindAGatewayIsNamedAndTheOthersWork) {
    run([&] {
        Route behind;
        behind.destination = prefix("192.168.9.0/24");
        behind.gateway = ip("192.168.0.254");
        behind.link = uplink_;
        behind.protocol = RTPROT_STATIC;
        ASSERT_OK(netlink_->put_route(behind));
        add_node("c", "192.168.9.3", "fc00::3", {"10.0.2.0/24"});
        use_native(false);
        const auto module = start();
        const auto outcome = module->flush();
        ASSERT_FALSE(outcome);
        EXPECT_NE(outcome.error().message.find("node c"), std::string::npos);
        EXPECT_NE(outcome.error().message.find("must share the same L2 network"), std::string::npos);
        EXPECT_TRUE(find("10.0.1.0/24"));
        EXPECT_FALSE(find("10.0.2.0/24"));
        use_native(true);
        module->set_settings(settings_);
        ASSERT_OK(module->flush());
        EXPECT_TRUE(module->skipped_nodes().contains("c"));
        EXPECT_FALSE(find("10.0.2.0/24"));
    });
}

TEST_F(RoutingModuleTest, AForeignRouteInThePlaceIsReportedNotReplaced) {
    run([&] {
        Route foreign;
        foreign.destination = prefix("10.0.1.0/24");
        foreign.gateway = ip("192.168.0.77");
        foreign.link = uplink_;
        foreign.protocol = RTPROT_STATIC;
        ASSERT_OK(netlink_->put_route(foreign));
        const auto module = start();
        const auto outcome = module->flush();
        ASSERT_FALSE(outcome);
        EXPECT_NE(outcome.error().message.find("10.0.1.0/24 via 192.168.0.77"), std::string::npos)
            << outcome.error().message;
        EXPECT_EQ(find("10.0.1.0/24")->protocol, RTPROT_STATIC);
        EXPECT_TRUE(find("fd01::/96"));
        // Once it is gone, ours takes the place.
        ASSERT_OK(netlink_->remove_route(*find("10.0.1.0/24")));
        run_loop(std::chrono::milliseconds(400));
        EXPECT_EQ(find("10.0.1.0/24")->link, settings_.host_device);
    });
}

TEST_F(RoutingModuleTest, RemoveEverythingLeavesForeignRoutes) {
    run([&] {
        use_native(false);
        Route foreign;
        foreign.destination = prefix("172.16.0.0/16");
        foreign.gateway = ip("192.168.0.77");
        foreign.link = uplink_;
        ASSERT_OK(netlink_->put_route(foreign));
        ASSERT_OK(start()->flush());
        ASSERT_TRUE(find("10.0.1.0/24"));
        ASSERT_OK(RoutingModule::remove_everything(directory_ + "/routes.json", settings_.host_device));
        EXPECT_FALSE(find("10.0.1.0/24"));
        EXPECT_FALSE(find("10.0.0.0/24"));
        EXPECT_TRUE(find("172.16.0.0/16"));
    });
}

TEST_F(RoutingModuleTest, ACorruptStateFileCostsOnlyItself) {
    run([&] {
        std::ofstream(directory_ + "/routes.json") << "{\"direct-routes\": [\"10.0.";
        const auto module = start();
        ASSERT_OK(module->flush());
        EXPECT_TRUE(find("10.0.1.0/24"));
    });
}

}  // namespace
}  // namespace axo
