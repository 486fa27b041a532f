#include "io/kubernetes/store.h"

#include <gtest/gtest.h>

#include "io/kubernetes/fake_api.h"
#include "io/resources.h"
#include "io/store_fixture.h"

using namespace std::chrono_literals;

namespace axo::kubernetes {
namespace {

const std::string kPods = "/api/v1/pods";
const std::string kNodes = "/apis/cilium.io/v2/ciliumnodes";

Json pod(const std::string& name, const std::string& node = "n1") {
    return {{"apiVersion", "v1"},
            {"kind", "Pod"},
            {"metadata", {{"name", name}, {"namespace", "shop"}}},
            {"spec", {{"nodeName", node}}}};
}

class KubernetesStore : public testing::Test {
protected:
    void SetUp() override { open(); }
    void open(ClientSettings settings = {.qps = 0, .request_timeout = 300ms}, Duration unserved_pause = 20ms) {
        store_.reset();
        Access access;
        access.servers = {parse_server(api_.address()).value()};
        access.origin = "test";
        store_ = SyncStore(loop_, make_store(loop_, access, settings,
                                             {.first_pause = 10ms,
                                              .longest_pause = 40ms,
                                              .unserved_grace = 30ms,
                                              .unserved_pause = unserved_pause,
                                              .page = 2}));
    }
    std::unique_ptr<ObjectStore::Watch> follow(const ResourceType& type, WatchOptions options = {}) {
        return store_->watch(type,
                             {.upserted =
                                  [this](const ObjectKey& key, const Json& object) {
                                      log_.push_back("+" + key.to_string());
                                      objects_[key.to_string()] = object;
                                  },
                              .deleted =
                                  [this](const ObjectKey& key) {
                                      log_.push_back("-" + key.to_string());
                                      objects_.erase(key.to_string());
                                  },
                              .synced = [this] { log_.emplace_back("synced"); },
                              .rejected = {}},
                             std::move(options));
    }
    bool eventually(const std::function<bool()>& condition, Duration limit = 5s) {
        bool held = false;
        const auto deadline = std::chrono::steady_clock::now() + limit;
        const auto poll = loop_.every(1ms, [&] {
            held = condition();
            if (held || std::chrono::steady_clock::now() > deadline) loop_.stop();
        });
        loop_.run();
        return held;
    }
    void settle(Duration time = 30ms) {
        eventually([] { return false; }, time);
    }
    bool said(const std::vector<std::string>& lines) {
        const bool all = eventually([&] { return log_.size() >= lines.size(); });
        settle(10ms);
        EXPECT_EQ(log_, lines);
        log_.clear();
        return all;
    }
    [[nodiscard]] Error error_of_get() { return store_->get(resources::kPod, {"shop", "a"}).error(); }

    EventLoop loop_;
    FakeApi api_{loop_};
    SyncStore store_;
    std::vector<std::string> log_;
    std::map<std::string, Json> objects_;
};

using Lines = std::vector<std::string>;

TEST_F(KubernetesStore, ListsInPagesAndFollows) {
    for (const char* name : {"a", "b", "c", "d", "e"}) api_.put(kPods, pod(name));
    const auto watch = follow(resources::kPod);
    said({"+shop/a", "+shop/b", "+shop/c", "+shop/d", "+shop/e", "synced"});
    EXPECT_EQ(api_.count("GET", "continue="), 2U);
    EXPECT_EQ(objects_["shop/a"]["kind"], "Pod");
    EXPECT_EQ(objects_["shop/a"]["apiVersion"], "v1");
    EXPECT_FALSE(objects_["shop/a"]["metadata"].contains("managedFields"));
    api_.put(kPods, pod("f"));
    api_.put(kPods, pod("a", "n2"));
    api_.erase(kPods, "shop", "b");
    said({"+shop/f", "+shop/a", "-shop/b"});
    EXPECT_EQ(objects_["shop/a"]["spec"]["nodeName"], "n2");
}

TEST_F(KubernetesStore, AWatchGoesOnAfterADisconnectWithoutAList) {
    api_.put(kPods, pod("a"));
    const auto watch = follow(resources::kPod);
    said({"+shop/a", "synced"});
    ASSERT_TRUE(eventually([&] { return api_.count("GET", "watch=1") == 1; }));
    const std::size_t lists = api_.count("GET", "limit=");
    api_.down();
    settle();
    EXPECT_FALSE((*store_).reachable());
    EXPECT_NE((*store_).reachability().error.find("connecting"), std::string::npos);
    api_.put(kPods, pod("b"));
    api_.erase(kPods, "shop", "a");
    api_.up();
    said({"+shop/b", "-shop/a"});
    EXPECT_EQ(api_.count("GET", "limit="), lists);
    EXPECT_TRUE((*store_).reachable());
}

TEST_F(KubernetesStore, AnExpiredWatchListsAgainAndTellsTheDifferenceOnly) {
    for (const char* name : {"a", "b", "c"}) api_.put(kPods, pod(name));
    const auto watch = follow(resources::kPod);
    said({"+shop/a", "+shop/b", "+shop/c", "synced"});
    api_.down();
    settle();
    api_.put(kPods, pod("b", "n2"));
    api_.erase(kPods, "shop", "a");
    api_.put(kPods, pod("d"));
    api_.compact();
    api_.up();
    ASSERT_TRUE(eventually([&] { return log_.size() >= 3; }));
    settle();
    std::ranges::sort(log_);
    EXPECT_EQ(log_, (Lines{"+shop/b", "+shop/d", "-shop/a"}));
}

TEST_F(KubernetesStore, AnExpiredContinuationDeletesNothing) {
    for (const char* name : {"a", "b", "c", "d", "e"}) api_.put(kPods, pod(name));
    int pages = 0;
    api_.answer = [&](const FakeApi::Asked& request) -> std::string {
        if (request.target.find("continue=") == std::string::npos || ++pages != 2) return "";
        return FakeApi::http(410, FakeApi::status_body(410, "Expired", "continue is too old"));
    };
    const auto watch = follow(resources::kPod);
    ASSERT_TRUE(eventually([&] { return std::ranges::count(log_, "synced") == 1; }));
    EXPECT_EQ(objects_.size(), 5U);
    EXPECT_EQ(std::ranges::count_if(log_, [](const std::string& line) { return line.starts_with("-"); }), 0);
}

TEST_F(KubernetesStore, BookmarksMoveTheRevisionOn) {
    const auto watch = follow(resources::kPod);
    said({"synced"});
    ASSERT_TRUE(eventually([&] { return api_.count("GET", "watch=1") == 1; }));
    settle();
    api_.bookmark(kPods);
    settle();
    api_.compact();
    api_.disconnect();
    ASSERT_TRUE(eventually([&] { return api_.count("GET", "watch=1") == 2; }));
    api_.put(kPods, pod("a"));
    said({"+shop/a"});
    EXPECT_EQ(api_.count("GET", "limit="), 1U);
}

TEST_F(KubernetesStore, TheServerSelects) {
    api_.put(kPods, pod("a"));
    api_.put(kPods, pod("b", "n2"));
    const auto watch = follow(resources::kPod, {.fields = {{"spec.nodeName", "n1"}}});
    said({"+shop/a", "synced"});
    api_.put(kPods, pod("c", "n2"));
    api_.put(kPods, pod("d"));
    said({"+shop/d"});
}

TEST_F(KubernetesStore, WatchesOfTheSameShareAStreamAndLateOnesAreToldEverything) {
    api_.put(kPods, pod("a"));
    const auto first = follow(resources::kPod);
    std::vector<std::string> other;
    ObjectStore::WatchHandler handler{
        .upserted = [&](const ObjectKey& key, const Json&) { other.push_back("+" + key.to_string()); },
        .deleted = [&](const ObjectKey& key) { other.push_back("-" + key.to_string()); },
        .synced = [&] { other.emplace_back("synced"); },
        .rejected = {}};
    const auto second = store_->watch(resources::kPod, handler);
    said({"+shop/a", "synced"});
    EXPECT_EQ(other, (Lines{"+shop/a", "synced"}));
    EXPECT_EQ(api_.count("GET", "limit="), 1U);
    ASSERT_TRUE(eventually([&] { return api_.count("GET", "watch=1") == 1; }));
    other.clear();
    auto third = store_->watch(resources::kPod, handler);
    ASSERT_TRUE(eventually([&] { return other.size() >= 2; }));
    settle();
    EXPECT_EQ(other, (Lines{"+shop/a", "synced"}));
    EXPECT_TRUE(log_.empty());
    third.reset();
    other.clear();
    api_.put(kPods, pod("b"));
    said({"+shop/b"});
    EXPECT_EQ(other, Lines{"+shop/b"});
}

// Kubernetes since 1.31 answers 429 while it fills a cache.
TEST_F(KubernetesStore, ALateOneIsToldEverythingAlsoWhenItsListFailsAtFirst) {
    api_.put(kPods, pod("a"));
    const auto first = follow(resources::kPod);
    said({"+shop/a", "synced"});
    ASSERT_TRUE(eventually([&] { return api_.count("GET", "watch=1") == 1; }));
    int refusals = 0;
    api_.answer = [&](const FakeApi::Asked& request) -> std::string {
        if (request.target.find("limit=") == std::string::npos || ++refusals > 3) return "";
        return FakeApi::http(500, FakeApi::status_body(500, "InternalError", "storage is (re)initializing"));
    };
    std::vector<std::string> other;
    const auto second =
        store_->watch(resources::kPod,
                      {.upserted = [&](const ObjectKey& key, const Json&) { other.push_back("+" + key.to_string()); },
                       .deleted = [&](const ObjectKey& key) { other.push_back("-" + key.to_string()); },
                       .synced = [&] { other.emplace_back("synced"); },
                       .rejected = {}});
    EXPECT_TRUE(eventually([&] { return other.size() >= 2; }));
    EXPECT_EQ(other, (Lines{"+shop/a", "synced"}));
    EXPECT_TRUE(log_.empty());
}

TEST_F(KubernetesStore, AWatchOrTheStoreMayEndInACallback) {
    api_.put(kPods, pod("a"));
    api_.put(kPods, pod("b"));
    int told = 0;
    std::unique_ptr<ObjectStore::Watch> watch;
    watch = store_->watch(resources::kPod, {.upserted =
                                                [&](const ObjectKey&, const Json&) {
                                                    ++told;
                                                    watch.reset();
                                                },
                                            .deleted = {},
                                            .synced = [&] { told += 100; },
                                            .rejected = {}});
    ASSERT_TRUE(eventually([&] { return told > 0; }));
    settle();
    EXPECT_EQ(told, 1);
    told = 0;
    watch = store_->watch(resources::kPod, {.upserted =
                                                [&](const ObjectKey&, const Json&) {
                                                    ++told;
                                                    store_.reset();
                                                },
                                            .deleted = {},
                                            .synced = [&] { told += 100; },
                                            .rejected = {}});
    ASSERT_TRUE(eventually([&] { return told > 0; }));
    settle();
    EXPECT_EQ(told, 1);
}

TEST_F(KubernetesStore, CreateGetUpdateRemove) {
    const auto created = store_->create(resources::kPod, pod("a"));
    ASSERT_TRUE(created) << created.error().message;
    EXPECT_EQ(store_->create(resources::kPod, pod("a")).error().code, Code::kAlreadyExists);
    Json next = *created;
    next["spec"]["nodeName"] = "n2";
    next["spec"]["unknownToUs"] = {{"kept", true}};
    const auto updated = store_->update(resources::kPod, next);
    ASSERT_TRUE(updated) << updated.error().message;
    EXPECT_EQ(store_->update(resources::kPod, next).error().code, Code::kAborted);
    EXPECT_EQ(store_->update(resources::kPod, pod("a")).error().code, Code::kInvalidArgument);
    EXPECT_EQ((*store_->get(resources::kPod, {"shop", "a"}))["spec"]["unknownToUs"]["kept"], true);
    EXPECT_EQ(store_->list(resources::kPod)->size(), 1U);
    EXPECT_TRUE(store_->remove(resources::kPod, {"shop", "a"}));
    EXPECT_TRUE(store_->remove(resources::kPod, {"shop", "a"}));
    EXPECT_EQ(error_of_get().code, Code::kNotFound);
}

TEST_F(KubernetesStore, AnObjectThatIsNotThereIsNoReasonToAskForTheKind) {
    api_.resources["/apis/cilium.io/v2"] = {"ciliumnodes"};
    EXPECT_EQ(store_->get(resources::kCiliumNode, {"", "n1"}).error().code, Code::kNotFound);
    EXPECT_EQ(api_.count("GET", "/apis/cilium.io/v2"), 1U) << "the object, and not what the server has";
}

TEST_F(KubernetesStore, StatusGoesToItsSubresourceWhereThereIsOne) {
    const Json node = {{"metadata", {{"name", "n1"}}}, {"spec", {{"a", 1}}}, {"status", {{"s", 1}}}};
    auto created = store_->create(resources::kCiliumNode, node);
    ASSERT_TRUE(created) << created.error().message;
    EXPECT_EQ((*created)["status"]["s"], 1);
    EXPECT_EQ(api_.object(kNodes, "", "n1")["status"]["s"], 1);
    Json status = *created;
    status["status"]["s"] = 2;
    status["spec"]["a"] = 7;
    ASSERT_TRUE(store_->update_status(resources::kCiliumNode, status));
    EXPECT_EQ(store_->update_status(resources::kCiliumNode, status).error().code, Code::kAborted);
    EXPECT_EQ(api_.object(kNodes, "", "n1")["spec"]["a"], 1);
    EXPECT_EQ(api_.object(kNodes, "", "n1")["status"]["s"], 2);
    const Json blind = {{"metadata", {{"name", "n1"}}}, {"status", {{"s", 3}}}};
    ASSERT_TRUE(store_->update_status(resources::kCiliumNode, blind));
    EXPECT_EQ(api_.object(kNodes, "", "n1")["status"]["s"], 3);

    const std::string endpoints = "/apis/cilium.io/v2/ciliumendpoints";
    const Json endpoint = {{"metadata", {{"name", "a"}, {"namespace", "shop"}}}, {"status", {{"id", 1}}}};
    created = store_->create(resources::kCiliumEndpoint, endpoint);
    ASSERT_TRUE(created);
    status = *created;
    status["status"]["id"] = 2;
    ASSERT_TRUE(store_->update_status(resources::kCiliumEndpoint, status));
    EXPECT_EQ(api_.object(endpoints, "shop", "a")["status"]["id"], 2);
    EXPECT_EQ(store_->update_status(resources::kCiliumEndpoint, status).error().code, Code::kAborted);
}

TEST_F(KubernetesStore, ErrorsSayWhatToDo) {
    api_.answer = [&](const FakeApi::Asked& request) -> std::string {
        if (request.target.find("/pods") == std::string::npos) return "";
        return FakeApi::http(403, FakeApi::status_body(403, "Forbidden", "User \"x\" cannot get resource \"pods\""));
    };
    EXPECT_EQ(error_of_get().code, Code::kPermissionDenied);
    EXPECT_NE(error_of_get().message.find("{apiGroups: [\"\"], resources: [\"pods\"], verbs: [\"get\"]}"),
              std::string::npos)
        << error_of_get().message;
    const auto watch = follow(resources::kPod);
    ASSERT_TRUE(eventually([&] { return !store_->rejected().empty(); }));
    EXPECT_EQ(store_->rejected()[0].where, "watch of pods");
    EXPECT_NE(store_->rejected()[0].message.find("verbs: [\"list\"]"), std::string::npos);
    EXPECT_TRUE(log_.empty());
    // The rule has been added.
    api_.answer = nullptr;
    said({"synced"});
    EXPECT_TRUE(store_->rejected().empty());

    api_.answer = [&](const FakeApi::Asked&) {
        const Json details = {{"causes", {{{"field", "spec.x"}, {"message", "must be y"}}}}};
        return FakeApi::http(422, FakeApi::status_body(422, "Invalid", "is invalid", details));
    };
    const auto refused = store_->create(resources::kPod, pod("a"));
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_NE(refused.error().message.find("spec.x: must be y"), std::string::npos) << refused.error().message;
}

TEST_F(KubernetesStore, AServerWithoutTimeIsWaitedFor) {
    api_.put(kPods, pod("a"));
    int refusals = 0;
    api_.answer = [&](const FakeApi::Asked& request) -> std::string {
        if (request.target.find("/pods") == std::string::npos || ++refusals > 2) return "";
        return FakeApi::http(429, FakeApi::status_body(429, "TooManyRequests", "later"), "Retry-After: 0\r\n");
    };
    EXPECT_TRUE(store_->get(resources::kPod, {"shop", "a"}));
    EXPECT_EQ(refusals, 3);
    api_.answer = [](const FakeApi::Asked&) { return FakeApi::http(429, "no", "Retry-After: 60\r\n"); };
    EXPECT_EQ(error_of_get().code, Code::kUnavailable);  // not for a minute
}

TEST_F(KubernetesStore, AServerThatFallsApart) {
    api_.put(kPods, pod("a"));
    api_.answer = [](const FakeApi::Asked&) { return FakeApi::http(500, "<html>oops</html>"); };
    EXPECT_EQ(error_of_get().code, Code::kUnavailable);
    EXPECT_NE(error_of_get().message.find("500: <html>oops"), std::string::npos);
    api_.answer = [](const FakeApi::Asked&) { return FakeApi::http(200, R"({"metadata": {"na)"); };
    EXPECT_EQ(error_of_get().code, Code::kUnavailable);
    // Announces more than it sends, and hangs up; answers nothing; hangs up at once; no HTTP.
    api_.answer = [](const FakeApi::Asked&) { return "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"a\""; };
    EXPECT_EQ(error_of_get().code, Code::kDeadlineExceeded);
    api_.answer = [](const FakeApi::Asked&) { return "?"; };
    EXPECT_EQ(error_of_get().code, Code::kDeadlineExceeded);
    EXPECT_FALSE((*store_).reachable());
    api_.answer = [](const FakeApi::Asked&) { return "-"; };
    EXPECT_EQ(error_of_get().code, Code::kUnavailable);
    api_.answer = [](const FakeApi::Asked&) { return "SSH-2.0-x\r\n\r\n"; };
    EXPECT_EQ(error_of_get().code, Code::kUnavailable);
    api_.answer = nullptr;
    EXPECT_TRUE(store_->get(resources::kPod, {"shop", "a"}));
    EXPECT_TRUE((*store_).reachable());
}

TEST_F(KubernetesStore, HalfALinkOfAWatchLosesNothing) {
    api_.put(kPods, pod("a"));
    int watches = 0;
    api_.answer = [&](const FakeApi::Asked& request) -> std::string {
        if (request.target.find("watch=1") == std::string::npos || ++watches > 2) return "";
        const std::string half = R"({"type":"ADDED","object":{"metadata":{"na)";
        return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(half.size()) + "\r\n\r\n" + half;
    };
    const auto watch = follow(resources::kPod);
    ASSERT_TRUE(eventually([&] { return watches > 2; }));
    api_.put(kPods, pod("b"));
    said({"+shop/a", "synced", "+shop/b"});
}

TEST_F(KubernetesStore, AListThatBreaksOffCountsForNothing) {
    api_.put(kPods, pod("a"));
    api_.put(kPods, pod("b"));
    const auto watch = follow(resources::kPod);
    said({"+shop/a", "+shop/b", "synced"});
    api_.down();
    settle();
    api_.compact();
    api_.put(kPods, pod("a", "n2"));
    api_.compact();
    int lists = 0;
    api_.answer = [&](const FakeApi::Asked& request) -> std::string {
        if (request.target.find("limit=") == std::string::npos || ++lists > 2) return "";
        return FakeApi::http(200, R"({"kind":"PodList","metadata":{"resourceVersion":"9"},"items":[)");
    };
    api_.up();
    ASSERT_TRUE(eventually([&] { return lists > 2; }));
    said({"+shop/a"});
}

TEST_F(KubernetesStore, KindsThatAreNotServedCountAsEmptyUntilTheyAre) {
    const auto watch = follow(resources::kCiliumNetworkPolicy);
    said({"synced"});
    const auto info = (*store_).server();
    ASSERT_EQ(info->apis.size(), 1U);
    EXPECT_EQ(info->apis[0].name, "cilium/v2::CiliumNetworkPolicy");
    EXPECT_EQ(info->apis[0].state, "not served");
    EXPECT_TRUE(store_->rejected().empty());
    api_.resources["/apis/cilium.io/v2"].push_back("ciliumnetworkpolicies");
    api_.put("/apis/cilium.io/v2/ciliumnetworkpolicies", {{"metadata", {{"name", "p"}, {"namespace", "shop"}}}});
    said({"+shop/p"});
    // An API server that is only just starting does not know its kinds either.
    api_.resources["/apis/cilium.io/v2"].pop_back();
    api_.disconnect();
    settle(100ms);
    EXPECT_TRUE(log_.empty());
}

// An installation: agents are there before the operator has registered the kinds.
TEST_F(KubernetesStore, AKindThatHasJustComeIsSoonFound) {
    open({.qps = 0, .request_timeout = 300ms}, 10s);
    const auto watch = follow(resources::kCiliumNetworkPolicy);
    said({"synced"});
    settle(100ms);
    api_.resources["/apis/cilium.io/v2"].push_back("ciliumnetworkpolicies");
    api_.put("/apis/cilium.io/v2/ciliumnetworkpolicies", {{"metadata", {{"name", "p"}, {"namespace", "shop"}}}});
    said({"+shop/p"});
}

TEST_F(KubernetesStore, OlderVersionsAreFoundByAsking) {
    api_.resources.erase("/apis/discovery.k8s.io/v1");
    api_.resources["/apis/discovery.k8s.io/v1beta1"] = {"endpointslices"};
    api_.put("/apis/discovery.k8s.io/v1beta1/endpointslices", {{"metadata", {{"name", "s"}, {"namespace", "shop"}}}});
    const auto watch = follow(resources::kEndpointSlice);
    said({"+shop/s", "synced"});
    EXPECT_EQ(objects_["shop/s"]["apiVersion"], "discovery.k8s.io/v1beta1");
}

TEST_F(KubernetesStore, SaysWhatTheServerIs) {
    ASSERT_TRUE(eventually([&] { return !(*store_).server()->version.empty(); }));
    EXPECT_EQ((*store_).server()->version, "1.33 (v1.33.1) [linux/amd64]");
    EXPECT_TRUE((*store_).server()->concerns.empty());
    api_.answer = [](const FakeApi::Asked&) {
        return FakeApi::http(404, "{}", "Date: Mon, 01 Jan 2001 00:00:00 GMT\r\n");
    };
    (void)error_of_get();
    ASSERT_EQ((*store_).server()->concerns.size(), 1U);
    EXPECT_NE((*store_).server()->concerns[0].find("behind this machine's"), std::string::npos);
}

TEST_F(KubernetesStore, WhatRequestsCostIsTold) {
    EXPECT_EQ(store_->get(resources::kPod, {"shop", "none"}).error().code, Code::kNotFound);
    MetricSet set("cilium_");
    (*store_).add_metrics(set);
    const std::string text = set.text();
    EXPECT_NE(
        text.find(
            R"(cilium_k8s_client_api_latency_time_seconds_count{path="/api/v1/namespaces/{namespace}/pods/{name}",method="GET"} 1)"),
        std::string::npos)
        << text;
    EXPECT_NE(text.find("cilium_k8s_client_rate_limiter_duration_seconds_count{"), std::string::npos) << text;
    EXPECT_NE(text.find(R"(method="GET",return_code="404"} 1)"), std::string::npos) << text;
}

TEST_F(KubernetesStore, EventsAreCountedByKindAndWhatBecameOfThem) {
    api_.put(kPods, pod("a"));
    api_.put(kPods, pod("b"));
    const auto watch = follow(resources::kPod);
    said({"+shop/a", "+shop/b", "synced"});
    api_.put(kPods, pod("a", "n2"));
    api_.erase(kPods, "shop", "b");
    said({"+shop/a", "-shop/b"});
    const auto stumbling = (*store_).watch(
        resources::kPod, {.upserted = [](const ObjectKey&, const Json& object) { (void)object.at("no such member"); }});
    settle();
    api_.put(kPods, pod("c"));
    said({"+shop/c"});
    MetricSet set("cilium_");
    (*store_).add_metrics(set);
    for (const char* line :
         {R"({scope="Pod",action="create",outcome="success"} 2)",
          R"({scope="Pod",action="update",outcome="success"} 1)",
          R"({scope="Pod",action="delete",outcome="success"} 1)", R"({scope="Pod",action="create",outcome="fail"} 1)"})
        EXPECT_NE(set.text().find(std::string("cilium_kubernetes_events_total") + line), std::string::npos)
            << line << "\n"
            << set.text();
}

TEST(KubernetesClient, ATemplateNamesNoObject) {
    EXPECT_EQ(path_template("/api/v1/pods?limit=500"), "/api/v1/pods");
    EXPECT_EQ(path_template("/api/v1/namespaces"), "/api/v1/namespaces");
    EXPECT_EQ(path_template("/api/v1/namespaces/a"), "/api/v1/namespaces/{name}");
    EXPECT_EQ(path_template("/api/v1/namespaces/a/status"), "/api/v1/namespaces/{name}/status");
    EXPECT_EQ(path_template("/api/v1/namespaces/a/pods"), "/api/v1/namespaces/{namespace}/pods");
    EXPECT_EQ(path_template("/apis/cilium.io/v2/ciliumnodes/n/status?x=1"),
              "/apis/cilium.io/v2/ciliumnodes/{name}/status");
    EXPECT_EQ(path_template("/apis/cilium.io/v2/namespaces/a/ciliumendpoints/p"),
              "/apis/cilium.io/v2/namespaces/{namespace}/ciliumendpoints/{name}");
    EXPECT_EQ(path_template("/version"), "/version");
    EXPECT_EQ(path_template("/apis"), "/apis");
}

TEST_F(KubernetesStore, LeasesPassWhoeverWaits) {
    open({.qps = 20, .burst = 2, .request_timeout = 2s});
    api_.put(kPods, pod("a"));
    std::vector<std::string> order;
    TaskGroup tasks;
    for (int i = 0; i < 6; ++i) {
        tasks.spawn((*store_).get(resources::kPod, {"shop", "a"}),
                    [&](const Result<Json>&) { order.emplace_back("pod"); });
    }
    tasks.spawn((*store_).get(resources::kLease, {"kube-system", "l"}),
                [&](const Result<Json>&) { order.emplace_back("lease"); });
    ASSERT_TRUE(eventually([&] { return order.size() == 7; }));
    EXPECT_LT(std::ranges::find(order, "lease") - order.begin(), 3);
}

TEST_F(KubernetesStore, TheNextServerIsAskedWhenOneIsAway) {
    FakeApi other(loop_);
    other.put(kPods, pod("a"));
    Access access;
    access.servers = {parse_server(api_.address()).value(), parse_server(other.address()).value()};
    api_.down();
    const SyncStore store(loop_, make_store(loop_, access, {.qps = 0}));
    EXPECT_TRUE(store->get(resources::kPod, {"shop", "a"}));
    EXPECT_TRUE((*store).reachable());
    EXPECT_EQ((*store).server()->address, other.address());
    api_.up();
    EXPECT_TRUE(store->get(resources::kPod, {"shop", "a"}));  // it is stuck to
    other.down();
    EXPECT_EQ(store->get(resources::kPod, {"shop", "a"}).error().code, Code::kNotFound);
}

TEST_F(KubernetesStore, TokensAreReadAgain) {
    char directory[] = "/tmp/axo-token-XXXXXX";
    ASSERT_NE(::mkdtemp(directory), nullptr);
    const std::string file = std::string(directory) + "/token";
    ASSERT_TRUE(write_atomic(file, "old\n"));
    Access access;
    access.servers = {parse_server(api_.address()).value()};
    access.token.file = file;
    api_.put(kPods, pod("a"));
    const SyncStore store(loop_, make_store(loop_, access, {.qps = 0}));
    EXPECT_TRUE(store->get(resources::kPod, {"shop", "a"}));
    EXPECT_EQ(api_.asked.back().authorization, "Bearer old");
    ASSERT_TRUE(write_atomic(file, "new\n"));
    api_.answer = [](const FakeApi::Asked& request) -> std::string {
        return request.authorization == "Bearer new" ? "" : FakeApi::http(401, "{}");
    };
    EXPECT_TRUE(store->get(resources::kPod, {"shop", "a"}));
    std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace axo::kubernetes
