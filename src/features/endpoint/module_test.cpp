#include "features/endpoint/module.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace axo {
namespace {

IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}

// The kernel's maps and programs as plain containers.
class FakeDatapath : public EndpointDatapath {
public:
    Status attach(const EndpointRow& endpoint) override {
        if (fail_attach) return fail(Code::kInternal, "no programs today");
        attached.insert(endpoint.id);
        return {};
    }
    Status detach(EndpointId id) override {
        attached.erase(id);
        return {};
    }
    void remove_device(const EndpointRow& endpoint, std::function<void(Status)> done) override {
        removed_devices.push_back(endpoint.interface_name);
        done({});
    }
    Status prune(const std::vector<EndpointId>& known) override {
        pruned = known;
        return {};
    }
    Reconciler<IpAddress, LocalEndpoint>::Operations addresses() override { return operations(lxc, writes); }
    Reconciler<IfIndex, DeviceEndpoint>::Operations devices() override { return operations(dev, writes); }
    void bump(const EndpointRow& endpoint) override { bumped.push_back(endpoint.id); }
    void forget_flows(const std::set<IpAddress>& gone) override { forgotten.insert(gone.begin(), gone.end()); }

    std::map<IpAddress, LocalEndpoint> lxc;
    std::map<IfIndex, DeviceEndpoint> dev;
    std::set<EndpointId> attached;
    std::vector<EndpointId> pruned, bumped;
    std::vector<std::string> removed_devices;
    std::set<IpAddress> forgotten;
    int writes = 0;
    bool fail_attach = false;

private:
    template <class Key, class Value>
    static typename Reconciler<Key, Value>::Operations operations(std::map<Key, Value>& map, int& writes) {
        return {.list = [&map]() -> Result<std::map<Key, Value>> { return map; },
                .put = [&map, &writes](const Key& key, const Value& value) -> Status {
                    map.insert_or_assign(key, value);
                    ++writes;
                    return {};
                },
                .remove = [&map, &writes](const Key& key) -> Status {
                    map.erase(key);
                    ++writes;
                    return {};
                },
                .describe = [](const Key&) { return std::string("object"); },
                .committed = {}};
    }
};

// Goes when everything has gone that may still write into it.
struct StateDirectory {
    StateDirectory() {
        char pattern[] = "/tmp/axo-endpoints-XXXXXX";
        path = ::mkdtemp(pattern);
    }
    ~StateDirectory() { std::filesystem::remove_all(path); }
    StateDirectory(const StateDirectory&) = delete;
    StateDirectory& operator=(const StateDirectory&) = delete;
    std::filesystem::path path;
};

class Endpoints : public testing::Test {
protected:
    void SetUp() override { start(); }
    void TearDown() override { manager_.reset(); }
    void start() {
        manager_ = std::make_unique<EndpointManager>(
            loop_, registry_,
            EndpointSettings{.state_dir = directory_, .identity_grace = std::chrono::milliseconds(20)}, datapath_,
            EndpointServices{
                .identity_of = [this](const LabelSet& labels) -> Task<Result<IdentityId>> {
                    if (store_down_) return fail(Code::kUnavailable, "store is away");
                    return IdentityId(1000 + static_cast<std::uint32_t>(std::hash<std::string>{}(labels.key()) % 1000));
                },
                .identity_known = [this](IdentityId id, const LabelSet& labels) { known_.emplace(id, labels); },
                .claim_addresses = [this](const EndpointRow& row) -> Status {
                    if (refused_ && row.ipv4 == refused_)
                        return fail(Code::kAlreadyExists, "address " + row.ipv4.to_string() + " is somebody's");
                    return {};
                },
                .release_addresses = [this](const EndpointRow& row) { released_.insert(row.ipv4); },
                .policy = [this](const EndpointRow& row) -> Status {
                    policy_[row.id] = row.identity;
                    audits_.push_back(row.policy_audit);
                    return {};
                },
                .row_changed = [this](const EndpointRow& row) { ipcache_[row.ipv4] = row.identity; },
                .row_removed = [this](const EndpointRow& row) { ipcache_.erase(row.ipv4); },
                .pod_labels = [this](const ObjectKey& key) { return info(key); },
                .fetch_pod = [this](const ObjectKey& key) -> Task<std::optional<PodLabels::Info>> {
                    if (slow_) return answer_later(key);
                    return info(key);
                },
            });
    }
    std::optional<PodLabels::Info> info(const ObjectKey& key) const {
        const auto found = pods_.find(key);
        if (found == pods_.end()) return std::nullopt;
        return PodLabels::Info{.identity = found->second, .other = {}, .published = {}};
    }
    Task<std::optional<PodLabels::Info>> answer_later(ObjectKey key) {
        const auto before = info(key);
        CO_AWAIT([[maybe_unused]] const Status answered, answers_.wait());
        co_return before;
    }
    EndpointRow draft(int number = 1) {
        EndpointRow row;
        row.container_id = "container" + std::to_string(number);
        row.container_interface = "eth0";
        row.interface_name = "lxc" + std::to_string(number);
        row.link = IfIndex(static_cast<std::uint32_t>(10 + number));
        row.mac = *MacAddress::parse("02:00:00:00:00:01");
        row.host_mac = *MacAddress::parse("02:00:00:00:00:02");
        row.ipv4 = ip("10.0.0.1").plus(static_cast<std::uint64_t>(number));
        row.k8s_namespace = "default";
        row.k8s_pod = "pod" + std::to_string(number);
        return row;
    }
    Link link(const EndpointRow& row) {
        Link link;
        link.index = row.link;
        link.name = row.interface_name;
        link.mac = row.host_mac;
        return link;
    }
    void run_for(Duration time) {
        const auto timer = loop_.after(time, [this] { loop_.stop(); });
        loop_.run();
    }
    Result<EndpointRow> create(const EndpointRow& row) {
        std::optional<Result<EndpointRow>> outcome;
        manager_->create(row, [&](Result<EndpointRow> made) {
            outcome = std::move(made);
            loop_.post([this] { loop_.stop(); });
        });
        const auto guard = loop_.after(std::chrono::seconds(5), [this] { loop_.stop(); });
        if (!outcome) loop_.run();
        return outcome ? *outcome : fail(Code::kDeadlineExceeded, "no answer");
    }

    StateDirectory state_;  // before the loop: its workers write states until they are joined
    const std::filesystem::path& directory_ = state_.path;
    EventLoop loop_;
    ControllerRegistry registry_;
    FakeDatapath datapath_;
    std::map<ObjectKey, LabelSet> pods_;
    std::map<IdentityId, LabelSet> known_;
    std::map<EndpointId, IdentityId> policy_;
    std::vector<bool> audits_;  // as policy was told of them
    std::map<IpAddress, IdentityId> ipcache_;
    std::set<IpAddress> released_;
    IpAddress refused_;
    bool store_down_ = false;
    bool slow_ = false;  // the store answers when answers_ is settled
    Waiters<Status> answers_;
    std::unique_ptr<EndpointManager> manager_;
};

const LabelSet kWeb{Label{"k8s", "app", "web"}};

TEST_F(Endpoints, CreateAnswersWhenTheDatapathAndTheStateFileAreThere) {
    pods_[{"default", "pod1"}] = kWeb;
    manager_->restore({});
    manager_->set_complete();
    const auto made = create(draft());
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->state, EndpointState::kReady);
    EXPECT_EQ(made->labels, kWeb);
    EXPECT_EQ(datapath_.lxc.at(ip("10.0.0.2")).id, made->id);
    EXPECT_EQ(datapath_.dev.at(IfIndex(11)).identity, made->identity);
    EXPECT_TRUE(datapath_.attached.contains(made->id));
    EXPECT_EQ(ipcache_.at(ip("10.0.0.2")), made->identity);
    EXPECT_TRUE(std::filesystem::exists(endpoint_state_path(directory_, made->id)));
    const auto log = manager_->log(made->id);
    ASSERT_GE(log.size(), 3U);
    EXPECT_EQ(log.front().state, EndpointState::kWaitingForIdentity);
    EXPECT_EQ(log.back().state, EndpointState::kReady);
}

TEST_F(Endpoints, WithoutPodObjectTheEndpointIsInInitUntilItAppears) {
    manager_->restore({});
    const auto made = create(draft());
    ASSERT_TRUE(made);
    EXPECT_EQ(made->identity, identity::kInit);
    pods_[{"default", "pod1"}] = kWeb;
    manager_->pod_changed({"default", "pod1"});
    run_for(std::chrono::milliseconds(5));
    EXPECT_EQ(manager_->find(made->id)->labels, kWeb);
    EXPECT_NE(manager_->find(made->id)->identity, identity::kInit);
    EXPECT_EQ(datapath_.dev.at(IfIndex(11)).identity, manager_->find(made->id)->identity);
}

TEST_F(Endpoints, CreationWaitsForTheStoreAndMeanwhileOthersGoOn) {
    pods_[{"default", "pod1"}] = kWeb;
    pods_[{"default", "pod2"}] = kWeb;
    manager_->restore({});
    slow_ = true;
    std::optional<Result<EndpointRow>> made;
    manager_->create(draft(), [&](Result<EndpointRow> row) { made = std::move(row); });
    EXPECT_FALSE(made);
    EXPECT_EQ(manager_->table().rows().begin()->second.state, EndpointState::kWaitingForIdentity);
    EXPECT_EQ(create(draft()).error().code, Code::kAlreadyExists);
    run_for(std::chrono::milliseconds(1));  // that answer's stop
    slow_ = false;
    EXPECT_TRUE(create(draft(2)));
    EXPECT_FALSE(made);
    // The pod's labels change while the store is asked: what it said first is not the last word.
    pods_[{"default", "pod1"}] = LabelSet{Label{"k8s", "app", "db"}};
    manager_->pod_changed({"default", "pod1"});
    run_for(std::chrono::milliseconds(5));
    answers_.settle({});
    run_for(std::chrono::milliseconds(60));
    ASSERT_TRUE(made && *made);
    EXPECT_EQ(manager_->find((*made)->id)->labels.to_strings(), std::vector<std::string>{"k8s:app=db"});
    EXPECT_EQ(manager_->find((*made)->id)->state, EndpointState::kReady);
}

TEST_F(Endpoints, OneThatIsDeletedWhileTheStoreIsAskedStaysDeleted) {
    pods_[{"default", "pod1"}] = kWeb;
    manager_->restore({});
    slow_ = true;
    std::vector<Result<EndpointRow>> made;
    const auto done = [&](Result<EndpointRow> row) { made.push_back(std::move(row)); };
    manager_->create(draft(), done);
    const EndpointId id = manager_->table().rows().begin()->first;
    ASSERT_TRUE(manager_->remove(id));
    EXPECT_EQ(manager_->table().size(), 0U);
    // Another one takes its place, even its id, before the first one's answer comes.
    EndpointRow second = draft();
    second.id = id;
    manager_->create(second, done);
    answers_.settle({});
    run_for(std::chrono::milliseconds(50));
    ASSERT_EQ(made.size(), 2U);
    EXPECT_EQ(made[0].error().code, Code::kNotFound);
    EXPECT_TRUE(made[1]);
    EXPECT_EQ(manager_->table().size(), 1U);
    EXPECT_TRUE(datapath_.attached.contains(id));
}

TEST_F(Endpoints, AManagerMayEndWhileTheStoreIsAsked) {
    pods_[{"default", "pod1"}] = kWeb;
    manager_->restore({});
    slow_ = true;
    bool answered = false;
    manager_->create(draft(), [&](const Result<EndpointRow>&) { answered = true; });
    manager_.reset();
    answers_.settle({});
    run_for(std::chrono::milliseconds(5));
    EXPECT_FALSE(answered);
}

TEST_F(Endpoints, IdentityChangesOnlyAfterTheGracePeriod) {
    pods_[{"default", "pod1"}] = kWeb;
    manager_->restore({});
    const auto made = create(draft());
    ASSERT_TRUE(made);
    pods_[{"default", "pod1"}] = LabelSet{Label{"k8s", "app", "api"}};
    manager_->pod_changed({"default", "pod1"});
    run_for(std::chrono::milliseconds(5));
    EXPECT_EQ(manager_->find(made->id)->identity, made->identity);
    run_for(std::chrono::milliseconds(60));
    EXPECT_NE(manager_->find(made->id)->identity, made->identity);
    EXPECT_EQ(ipcache_.at(made->ipv4), manager_->find(made->id)->identity);
    EXPECT_EQ(endpoint_from_state(*read_file(endpoint_state_path(directory_, made->id)))->identity,
              manager_->find(made->id)->identity);
}

TEST_F(Endpoints, StoreThatIsAwayLeavesTheEndpointInInitAndIsRetried) {
    pods_[{"default", "pod1"}] = kWeb;
    store_down_ = true;
    manager_->restore({});
    const auto made = create(draft());
    ASSERT_TRUE(made);
    EXPECT_EQ(made->identity, identity::kInit);
    store_down_ = false;
    for (int i = 0; i < 50 && manager_->find(made->id)->identity == identity::kInit; ++i)
        run_for(std::chrono::milliseconds(100));
    EXPECT_EQ(manager_->find(made->id)->labels, kWeb);
}

TEST_F(Endpoints, ConflictsNameTheOther) {
    manager_->restore({});
    const auto first = create(draft(1));
    ASSERT_TRUE(first);
    EndpointRow same_container = draft(1);
    EXPECT_EQ(create(same_container).error().code, Code::kAlreadyExists);
    EndpointRow same_address = draft(2);
    same_address.ipv4 = first->ipv4;
    const auto refused = create(same_address);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("address 10.0.0.2 is already in use by endpoint " + first->id.to_string()),
              std::string::npos)
        << refused.error().message;
    refused_ = ip("10.0.0.4");
    EXPECT_EQ(create(draft(3)).error().code, Code::kAlreadyExists);
    EXPECT_EQ(manager_->table().size(), 1U);
}

TEST_F(Endpoints, FailedCreateLeavesNothing) {
    manager_->restore({});
    manager_->set_complete();
    datapath_.fail_attach = true;
    EXPECT_FALSE(create(draft()));
    EXPECT_TRUE(datapath_.lxc.empty());
    EXPECT_TRUE(datapath_.dev.empty());
    EXPECT_TRUE(ipcache_.empty());
    EXPECT_EQ(manager_->table().size(), 0U);
    run_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(read_endpoint_states(directory_).endpoints.empty());
}

TEST_F(Endpoints, DeleteTakesEverythingDown) {
    manager_->restore({});
    manager_->set_complete();
    const auto made = create(draft());
    ASSERT_TRUE(made);
    EXPECT_EQ(manager_->remove_container("container1"), 1U);
    EXPECT_EQ(manager_->remove_container("container1"), 0U);
    run_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(datapath_.lxc.empty());
    EXPECT_TRUE(datapath_.dev.empty());
    EXPECT_TRUE(datapath_.attached.empty());
    EXPECT_EQ(datapath_.forgotten, std::set<IpAddress>{made->ipv4});
    EXPECT_TRUE(released_.contains(made->ipv4));
    EXPECT_TRUE(read_endpoint_states(directory_).endpoints.empty());
    EXPECT_EQ(datapath_.removed_devices, std::vector<std::string>{made->interface_name});
    EXPECT_EQ(manager_->remove(made->id).error().code, Code::kNotFound);
}

TEST_F(Endpoints, RestartFindsEverythingAsItWasAndWritesNothing) {
    pods_[{"default", "pod1"}] = kWeb;
    manager_->restore({});
    manager_->set_complete();
    const auto made = create(draft());
    ASSERT_TRUE(made);
    run_for(std::chrono::milliseconds(20));
    datapath_.writes = 0;

    start();
    manager_->restore({link(*made)});
    manager_->set_complete();
    run_for(std::chrono::milliseconds(20));
    ASSERT_NE(manager_->find(made->id), nullptr);
    EXPECT_EQ(*manager_->find(made->id), *made);
    EXPECT_EQ(datapath_.writes, 0);
    EXPECT_EQ(manager_->addresses().counters().unchanged_at_start, 1U);
    EXPECT_EQ(manager_->addresses().counters().added, 0U);
    EXPECT_EQ(known_.at(made->identity), kWeb);
    EXPECT_EQ(datapath_.pruned, std::vector<EndpointId>{made->id});
}

TEST_F(Endpoints, RestartCleansUpAfterEndpointsWhoseDeviceIsGone) {
    manager_->restore({});
    manager_->set_complete();
    const auto made = create(draft());
    ASSERT_TRUE(made);
    start();
    Link other = link(*made);
    other.mac = *MacAddress::parse("02:00:00:00:00:99");
    manager_->restore({other});
    manager_->set_complete();
    run_for(std::chrono::milliseconds(50));
    EXPECT_EQ(manager_->table().size(), 0U);
    EXPECT_TRUE(datapath_.lxc.empty());
    EXPECT_TRUE(read_endpoint_states(directory_).endpoints.empty());
}

TEST_F(Endpoints, TornStateFileCostsOnlyItself) {
    manager_->restore({});
    const auto one = create(draft(1));
    const auto two = create(draft(2));
    ASSERT_TRUE(one && two);
    const auto path = endpoint_state_path(directory_, one->id);
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
    start();
    manager_->restore({link(*one), link(*two)});
    EXPECT_EQ(manager_->find(one->id), nullptr);
    EXPECT_NE(manager_->find(two->id), nullptr);
    ASSERT_EQ(manager_->rejected_state().size(), 1U);
    EXPECT_EQ(manager_->rejected_state().begin()->first, path.string());
    EXPECT_NE(manager_->rejected_state().begin()->second.find("not valid JSON"), std::string::npos);
}

TEST_F(Endpoints, PolicyAuditIsToldAtOnceAndSurvivesARestart) {
    pods_[{"default", "pod1"}] = kWeb;
    manager_->restore({});
    manager_->set_complete();
    const auto made = create(draft());
    ASSERT_TRUE(made);
    run_for(std::chrono::milliseconds(20));
    audits_.clear();
    ASSERT_TRUE(manager_->set_policy_audit(made->id, true));
    EXPECT_EQ(audits_, std::vector<bool>{true});
    EXPECT_TRUE(manager_->find(made->id)->policy_audit);
    ASSERT_TRUE(manager_->set_policy_audit(made->id, true));
    EXPECT_EQ(audits_.size(), 1U) << "nothing to tell";
    EXPECT_EQ(manager_->set_policy_audit(EndpointId(60000), true).error().code, Code::kNotFound);

    run_for(std::chrono::milliseconds(50));
    start();
    audits_.clear();
    manager_->restore({link(*made)});
    manager_->set_complete();
    run_for(std::chrono::milliseconds(20));
    ASSERT_NE(manager_->find(made->id), nullptr);
    EXPECT_TRUE(manager_->find(made->id)->policy_audit);
    ASSERT_FALSE(audits_.empty());
    for (const bool audit : audits_) EXPECT_TRUE(audit) << "not enforced for a moment";
    ASSERT_TRUE(manager_->set_policy_audit(made->id, false));
    EXPECT_FALSE(audits_.back());
}

TEST_F(Endpoints, HostAddressesFollowTheNode) {
    manager_->restore({});
    manager_->set_host_addresses({ip("192.168.0.1"), ip("127.0.0.1"), ip("fe80::1")});
    manager_->set_complete();
    run_for(std::chrono::milliseconds(5));
    ASSERT_EQ(datapath_.lxc.size(), 1U);
    EXPECT_TRUE(datapath_.lxc.at(ip("192.168.0.1")).host);
    manager_->set_host_addresses({ip("192.168.0.2")});
    run_for(std::chrono::milliseconds(5));
    EXPECT_EQ(datapath_.lxc.size(), 1U);
    EXPECT_TRUE(datapath_.lxc.contains(ip("192.168.0.2")));
}

TEST_F(Endpoints, References) {
    manager_->restore({});
    const auto made = create(draft());
    ASSERT_TRUE(made);
    for (const std::string& reference :
         {made->id.to_string(), "cilium-local:" + made->id.to_string(),
          std::string("cni-attachment-id:container1:eth0"), std::string("container-id:container1"),
          std::string("cep-name:default/pod1"), std::string("pod-name:default:pod1"), std::string("ipv4:10.0.0.2")}) {
        EXPECT_EQ(manager_->resolve(reference).value_or(EndpointId{}), made->id) << reference;
    }
    EXPECT_EQ(manager_->resolve("container-id:other").error().code, Code::kNotFound);
    EXPECT_EQ(manager_->resolve("70000").error().code, Code::kInvalidArgument);
    EXPECT_EQ(manager_->resolve("color:red").error().code, Code::kInvalidArgument);
}

TEST(EndpointState, SurvivesARoundTrip) {
    EndpointRow row;
    row.id = EndpointId(77);
    row.state = EndpointState::kRestoring;
    row.container_id = "abc";
    row.container_netns = "/var/run/netns/x";
    row.interface_name = "lxc1";
    row.link = IfIndex(9);
    row.mac = *MacAddress::parse("02:00:00:00:00:01");
    row.ipv6 = ip("fd00::5");
    row.netns_cookie = 18446744073709551615ULL;
    row.identity = IdentityId(4711);
    row.labels = kWeb;
    row.skip_source_check = true;
    const auto back = endpoint_from_state(endpoint_to_state(row));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, row);
}

TEST(EndpointState, BadFieldsAreNamed) {
    EXPECT_FALSE(endpoint_from_state("{}"));
    EXPECT_FALSE(endpoint_from_state(""));
    EXPECT_FALSE(endpoint_from_state("[1]"));
    EndpointRow row;
    row.id = EndpointId(77);
    Json json = Json::parse(endpoint_to_state(row));
    json["ipv4"] = "10.0.0";
    const auto refused = endpoint_from_state(json.dump());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("ipv4"), std::string::npos);
}

}  // namespace
}  // namespace axo
