#include "io/event_recorder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "io/resources.h"
#include "io/store_fixture.h"
#include "model/time.h"

namespace axo {
namespace {

using Json = nlohmann::json;

class EventRecorderTest : public testing::Test {
protected:
    void SetUp() override {
        if (::mkdtemp(root.data()) == nullptr) throw std::runtime_error("mkdtemp");
        store = SyncStore(loop, open_object_store("dir:" + root, loop));
    }
    void TearDown() override {
        store.reset();
        std::filesystem::remove_all(root);
    }
    std::vector<Json> events() { return *store->list(resources::kEvent); }

    std::string root = "/tmp/axo-events-XXXXXX";
    EventLoop loop;
    SyncStore store;
    EventTarget node{"cilium.io/v2", "CiliumNode", {"", "n1"}, "u-1"};
};

TEST_F(EventRecorderTest, WritesTheFieldsOfAnEvent) {
    EventRecorder recorder(loop, *store, "cilium-operator", "host1");
    recorder.record(node, EventType::kWarning, "PoolExhausted", "no free pod CIDR in pool 10.0.0.0/16");
    ASSERT_EQ(events().size(), 1U);
    const Json event = events()[0];
    EXPECT_EQ(event["metadata"]["namespace"], "default");
    EXPECT_TRUE(event["metadata"]["name"].get<std::string>().starts_with("n1."));
    EXPECT_EQ(event["involvedObject"],
              (Json{{"apiVersion", "cilium.io/v2"}, {"kind", "CiliumNode"}, {"name", "n1"}, {"uid", "u-1"}}));
    EXPECT_EQ(event["type"], "Warning");
    EXPECT_EQ(event["reason"], "PoolExhausted");
    EXPECT_EQ(event["message"], "no free pod CIDR in pool 10.0.0.0/16");
    EXPECT_EQ(event["source"], (Json{{"component", "cilium-operator"}, {"host", "host1"}}));
    EXPECT_EQ(event["count"], 1);
    EXPECT_TRUE(parse_time(event["firstTimestamp"].get<std::string>()));
}

TEST_F(EventRecorderTest, EqualEventsAreCountedAcrossRecorders) {
    {
        EventRecorder recorder(loop, *store, "agent", "");
        for (int i = 0; i < 5; ++i) recorder.record(node, EventType::kNormal, "Same", "text");
        recorder.record(node, EventType::kNormal, "Same", "other text");
        recorder.record(node, EventType::kWarning, "Same", "text");
        recorder.record({"v1", "Pod", {"shop", "a"}, ""}, EventType::kNormal, "Same", "text");
        ASSERT_EQ(events().size(), 4U);
    }
    EventRecorder again(loop, *store, "agent", "");
    again.record(node, EventType::kNormal, "Same", "text");
    std::int64_t most = 0;
    for (const Json& event : events()) most = std::max(most, event["count"].get<std::int64_t>());
    EXPECT_EQ(events().size(), 4U);
    EXPECT_EQ(most, 6);
}

TEST_F(EventRecorderTest, TakesTheModelsMetadata) {
    EventRecorder recorder(loop, *store, "agent");
    ObjectMeta meta;
    meta.name = "a";
    meta.name_space = "shop";
    recorder.normal(resources::kPod, meta, "Fine", "text");
    recorder.warning(resources::kPod, meta, "Bad", "text");
    ASSERT_EQ(events().size(), 2U);
    EXPECT_EQ(events()[0]["metadata"]["namespace"], "shop");
    EXPECT_EQ(events()[0]["involvedObject"]["kind"], "Pod");
    EXPECT_NE(events()[0]["type"], events()[1]["type"]);
}

TEST_F(EventRecorderTest, LongAndOddTextIsCutNotRefused) {
    EventRecorder recorder(loop, *store, "agent", "");
    std::string message;
    while (message.size() < 3000) message += "ü";
    EventTarget target = node;
    target.key.name =
        std::string(60, 'a') + "." + std::string(60, 'b') + "." + std::string(60, 'c') + "." + std::string(60, 'd');
    recorder.record(target, EventType::kNormal, "Long", message);
    ASSERT_EQ(events().size(), 1U);
    EXPECT_EQ(events()[0]["message"].get<std::string>().size(), 1024U);
}

TEST_F(EventRecorderTest, AStoreThatCannotWriteIsNoReasonToStop) {
    EventRecorder recorder(loop, *store, "agent", "");
    std::filesystem::remove_all(root);
    recorder.record(node, EventType::kNormal, "Lost", "text");
    EXPECT_TRUE(events().empty());
}

TEST_F(EventRecorderTest, TheTargetOfAnObject) {
    const auto target = EventTarget::of(
        {{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", {{"name", "a"}, {"namespace", "shop"}, {"uid", "u"}}}});
    EXPECT_EQ(target.kind, "Pod");
    EXPECT_EQ(target.key.to_string(), "shop/a");
    EXPECT_EQ(target.uid, "u");
    EXPECT_EQ(EventTarget::of(Json("x")).kind, "");
}

}  // namespace
}  // namespace axo
