#include "datapath/flow_collector.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace axo {
namespace {

TEST(FlowCollector, CollectsAtOnceWhenATableIsFull) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    auto created = FlowMaps::create_private(100);
    ASSERT_TRUE(created) << created.error().to_string();
    const auto maps = std::make_shared<FlowMaps>(std::move(*created));
    const std::uint32_t now = FlowMaps::now_tick();
    const auto add = [&](std::uint16_t port, std::uint32_t expires) {
        FlowRow row;
        row.source = IpAddress::v4({10, 0, 0, 1});
        row.destination = IpAddress::v4({10, 0, 0, 2});
        row.source_port = port;
        row.protocol = 17;
        flow value{};
        value.expires = expires;
        ASSERT_TRUE(maps->v4().put(FlowMaps::encode_key4(row), value));
    };
    for (std::uint16_t port = 0; port < 60; ++port) add(port, now - 10);
    for (std::uint16_t port = 60; port < 100; ++port) add(port, now + 1000);

    EventLoop loop;
    ControllerRegistry registry;
    FlowCollector collector(loop, registry, maps, 100);
    // As the ring's reader does it: from another thread, once per refused packet.
    const auto stop = loop.after(std::chrono::seconds(2), [&loop] { loop.stop(); });
    const auto poll = loop.every(std::chrono::milliseconds(10), [&] {
        if (maps->v4().raw().count().value_or(0) == 40) loop.stop();
    });
    for (int packet = 0; packet < 1000; ++packet) collector.hurry();
    const auto before = std::chrono::steady_clock::now();
    loop.run();
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(2));
    EXPECT_EQ(*maps->v4().raw().count(), 40U);
    const auto controllers = registry.all();
    ASSERT_EQ(controllers.size(), 1U);
    EXPECT_EQ(controllers[0].name, "ct-map-gc");
    EXPECT_EQ(controllers[0].failure_count, 0U);
}

}  // namespace
}  // namespace axo
