#include "features/identity/module.h"

#include <random>

#include "io/store_fixture.h"
#include "model/cilium_identity.h"

namespace axo {
namespace {

// A store that has not listed anything yet, counts what is asked of it, and may be out of reach.
class SlowStore : public ObjectStore {
public:
    explicit SlowStore(ObjectStore& store) : store_(store) {}
    WatchHandler waiting;
    Reachability state;
    int lists = 0, creates = 0;

    Task<Result<Json>> get(const ResourceType& type, ObjectKey key) override { return store_.get(type, key); }
    Task<Result<std::vector<Json>>> list(const ResourceType& type) override {
        ++lists;
        return store_.list(type);
    }
    using ObjectStore::watch;
    std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler, WatchOptions options) override {
        waiting = std::move(handler);
        return store_.watch(type, {}, std::move(options));
    }
    Task<Result<Json>> create(const ResourceType& type, Json object) override {
        ++creates;
        return store_.create(type, std::move(object));
    }
    Task<Result<Json>> update(const ResourceType& type, Json object) override { return store_.update(type, object); }
    Task<Result<Json>> update_status(const ResourceType& type, Json object) override {
        return store_.update_status(type, object);
    }
    Task<Status> remove(const ResourceType& type, ObjectKey key) override { return store_.remove(type, key); }
    [[nodiscard]] Reachability reachability() const override { return state; }
    [[nodiscard]] std::string describe() const override { return store_.describe(); }

private:
    ObjectStore& store_;
};

class IdentityManagerTest : public StoreTest {
protected:
    IdentityManagerTest() {
        manager_.start([] {});
    }
    void ask(const LabelSet& labels) {
        tasks_.spawn(manager_.allocate(labels), [this](Result<IdentityId> id) { answers_.push_back(std::move(id)); });
    }

    SlowStore slow_{*store_};
    IdentityManager manager_{loop_, registry_, slow_, std::mt19937_64(1), [](IdentityId) { return false; }, {}};
    std::vector<Result<IdentityId>> answers_;
    TaskGroup tasks_;
    LabelSet web_ = LabelSet::from_strings({"k8s:app=web"}), other_ = LabelSet::from_strings({"k8s:app=other"});
};

TEST_F(IdentityManagerTest, BeforeTheFirstListingItIsWaitedFor) {
    ask(web_);
    ask(web_);
    ask(other_);
    ask(LabelSet::reserved("health"));
    run_for(std::chrono::milliseconds(20));
    ASSERT_EQ(answers_.size(), 1U) << "a reserved identity needs no listing";
    EXPECT_EQ(answers_[0].value(), identity::kHealth);
    const Json known = CiliumIdentity::make(IdentityId(4711), web_).to_json();
    slow_.waiting.upserted({"", "4711"}, known);
    slow_.waiting.synced();
    ASSERT_TRUE(wait_until([this] { return answers_.size() == 4; }));
    EXPECT_EQ(answers_[1].value(), IdentityId(4711)) << "another agent's number for these labels";
    EXPECT_EQ(answers_[2].value(), IdentityId(4711));
    EXPECT_NE(answers_[3].value(), IdentityId(4711));
    EXPECT_EQ(slow_.creates, 1);
    EXPECT_EQ(slow_.lists, 0) << "the watch lists them";
}

TEST_F(IdentityManagerTest, AStoreOutOfReachIsNotWaitedFor) {
    slow_.state = {false, {}, "connect 192.0.2.1:6443: no route to host"};
    ask(web_);
    run_for(std::chrono::milliseconds(20));
    ASSERT_EQ(answers_.size(), 1U);
    EXPECT_EQ(answers_[0].error().code, Code::kUnavailable);
    EXPECT_NE(answers_[0].error().message.find("192.0.2.1:6443"), std::string::npos);
}

}  // namespace
}  // namespace axo
