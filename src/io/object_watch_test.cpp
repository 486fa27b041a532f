#include "io/object_watch.h"

#include <gtest/gtest.h>

#include "io/resources.h"
#include "model/pod.h"

namespace axo {
namespace {

using Json = nlohmann::json;

// A store whose watches the test drives.
class FakeStore : public ObjectStore {
public:
    Task<Result<Json>> get(const ResourceType&, ObjectKey) override { return unused(); }
    Task<Result<std::vector<Json>>> list(const ResourceType&) override { return unused(); }
    std::unique_ptr<Watch> watch(const ResourceType&, WatchHandler handler, WatchOptions) override {
        handler_ = std::move(handler);
        return nullptr;
    }
    Task<Result<Json>> create(const ResourceType&, Json) override { return unused(); }
    Task<Result<Json>> update(const ResourceType&, Json) override { return unused(); }
    Task<Result<Json>> update_status(const ResourceType&, Json) override { return unused(); }
    Task<Status> remove(const ResourceType&, ObjectKey) override { return unused(); }
    [[nodiscard]] std::string describe() const override { return "fake"; }

    WatchHandler handler_;

private:
    static std::unexpected<Error> unused() { return fail(Code::kInternal, "not part of this test"); }
};

class ObjectWatch : public testing::Test {
protected:
    void SetUp() override {
        watch_ = watch_objects<Pod>(
            store_, resources::kPod,
            {.upserted = [this](const ObjectKey& key, const Pod&) { log_.push_back("+" + key.to_string()); },
             .deleted = [this](const ObjectKey& key) { log_.push_back("-" + key.to_string()); },
             .synced = [this] { log_.emplace_back("synced"); },
             .verdicts = {.rejected = [this](const std::string& where,
                                             const Error&) { log_.push_back("rejected " + where); },
                          .accepted = [this](const std::string& where) { log_.push_back("accepted " + where); }}});
    }
    std::vector<std::string> told() { return std::exchange(log_, {}); }

    const ObjectKey web_{"default", "web"};
    const Json good_ = Json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"web"},
        "spec":{"nodeName":"node1"}})");
    const Json bad_ = Json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"web"},
        "spec":{"nodeName":7}})");
    FakeStore store_;
    std::vector<std::string> log_;
    std::unique_ptr<ObjectStore::Watch> watch_;
};

using Lines = std::vector<std::string>;

TEST_F(ObjectWatch, WhatIsCorrectedIsAcceptedOnce) {
    store_.handler_.upserted(web_, good_);
    store_.handler_.synced();
    EXPECT_EQ(told(), (Lines{"+default/web", "synced"}));
    store_.handler_.upserted(web_, bad_);
    EXPECT_EQ(told(), Lines{"rejected Pod default/web"});
    store_.handler_.upserted(web_, good_);
    EXPECT_EQ(told(), (Lines{"accepted Pod default/web", "+default/web"}));
    store_.handler_.upserted(web_, good_);
    EXPECT_EQ(told(), Lines{"+default/web"});
}

TEST_F(ObjectWatch, WhatIsRemovedIsNoLongerRejected) {
    store_.handler_.upserted(web_, bad_);
    store_.handler_.deleted(web_);
    EXPECT_EQ(told(), (Lines{"rejected Pod default/web", "accepted Pod default/web", "-default/web"}));
}

TEST_F(ObjectWatch, FilesAreTheStoresOwnBusiness) {
    store_.handler_.rejected("/etc/manifests/pods.yaml", {Code::kInvalidArgument, "line 7", 0});
    EXPECT_EQ(told(), Lines{});
    store_.handler_.rejected("Pod default/web", {Code::kInvalidArgument, "its name", 0});
    store_.handler_.upserted(web_, good_);
    EXPECT_EQ(told(), (Lines{"rejected Pod default/web", "accepted Pod default/web", "+default/web"}));
}

}  // namespace
}  // namespace axo
