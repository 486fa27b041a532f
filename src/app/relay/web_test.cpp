// The web API over a relay whose nodes are made up: lines, counts, refusals, files.
#include <axoneme/flow_counters.pb.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/relay/loop_gate.h"
#include "app/relay/web.h"
#include "app/relay/web_files.h"
#include "app/relay/web_query.h"
#include "base/file.h"
#include "hubble/relay/relay_fixture.h"

namespace axo {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

constexpr std::int64_t kSecond = 1'000'000'000;

flow::Flow some_flow(const std::string& uuid, flow::Verdict verdict, const std::string& node) {
    flow::Flow flow;
    flow.set_uuid(uuid);
    flow.set_verdict(verdict);
    flow.set_node_name(node);
    flow.set_summary("said by old servers");
    flow.mutable_ethernet()->set_source("0a:00:00:00:00:01");
    flow.mutable_ip()->set_source("10.0.0.1");
    flow.mutable_l4()->mutable_tcp()->set_destination_port(80);
    axoneme::FlowCounters counters;
    counters.set_bytes(1234567890123);
    counters.set_explanation("no rule allows TCP/80 from app=web");
    counters.set_suggested_policy("apiVersion: cilium.io/v2\n");
    flow.mutable_extensions()->PackFrom(counters);
    return flow;
}

class WebTest : public relay_server::RelayFixture {
protected:
    void SetUp() override {
        RelayFixture::SetUp();
        settings_.sort_buffer_wait = 100ms;
        for (const char* name : {"n1", "n2"}) node(name);
        ASSERT_NO_FATAL_FAILURE(serve(2));

        root_ = folder_ + "/ui";
        std::filesystem::create_directories(root_ + "/assets");
        ASSERT_TRUE(write_atomic(root_ + "/index.html", "<!doctype html>"));
        ASSERT_TRUE(write_atomic(root_ + "/assets/page-abc.js", "1"));
        ASSERT_TRUE(write_atomic(root_ + "/.built", "digest"));
        ASSERT_TRUE(write_atomic(folder_ + "/secret.html", "no"));
        store_folder_ = folder_ + "/store";
        std::filesystem::create_directories(store_folder_);
        ASSERT_TRUE(write_atomic(
            store_folder_ + "/policy.yaml",
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: web, namespace: shop, annotations: {a: "
            "b}}\nspec: {endpointSelector: {matchLabels: {app: web}}, ingress: [{}]}\n"));
        auto store = open_object_store("dir:" + store_folder_, loop_);
        ASSERT_TRUE(store) << store.error().message;
        store_ = std::move(*store);
        api_ = std::make_unique<WebApi>(loop_, *relay_, store_.get(), WebSettings{root_, "kind"});
        server_ = std::make_unique<HttpServer>(
            loop_, [this](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
                api_->handle(request, responder);
            });
        ASSERT_TRUE(server_->listen_unix(folder_ + "/web.sock"));
        thread_ = std::thread([this] { loop_.run(); });
    }
    void TearDown() override {
        loop_.stop();
        if (thread_.joinable()) thread_.join();
        server_.reset();
        api_.reset();
        store_.reset();
        RelayFixture::TearDown();
    }
    HttpResponse get(const std::string& target, const std::string& method = "GET") {
        auto client = HttpClient::connect("unix://" + folder_ + "/web.sock", 20s);
        if (!client) return {.status = 0, .body = client.error().message};
        auto answer = client->request(method, target);
        return answer ? *answer : HttpResponse{.status = 0, .body = answer.error().message};
    }
    Json json(const std::string& target) {
        const HttpResponse answer = get(target);
        EXPECT_EQ(answer.status, 200) << answer.body;
        return Json::parse(answer.body, nullptr, false);
    }
    // All flows of a stream that has an end, and its last line.
    std::pair<std::vector<Json>, Json> flows(const std::string& query) {
        std::pair<std::vector<Json>, Json> out;
        const HttpResponse answer = get("/api/v1/flows" + query);
        EXPECT_EQ(answer.status, 200) << answer.body;
        std::istringstream lines(answer.body);
        for (std::string line; std::getline(lines, line);) {
            out.second = Json::parse(line, nullptr, false);
            EXPECT_FALSE(out.second.is_discarded()) << line;
            if (out.second.contains("flows"))
                for (const Json& flow : out.second["flows"]) out.first.push_back(flow);
        }
        return out;
    }

    std::string root_, store_folder_;
    EventLoop loop_;
    std::unique_ptr<ObjectStore> store_;
    std::unique_ptr<WebApi> api_;
    std::unique_ptr<HttpServer> server_;
    std::thread thread_;
};

TEST_F(WebTest, FlowsOfAllNodesComeInOrderAsLines) {
    for (int at = 0; at < 700; ++at)
        nodes_[at % 2]->add((1000 + at) * kSecond,
                            some_flow("u" + std::to_string(at), flow::FORWARDED, at % 2 ? "n2" : "n1"));
    const auto [list, end] = flows("?last=1000&filter={\"verdict\":[\"FORWARDED\"]}&filter={\"source_port\":[\"1\"]}");
    ASSERT_EQ(list.size(), 700U);
    EXPECT_EQ(end, Json::parse(R"({"end":{"complete":true}})"));
    EXPECT_EQ(list[0]["uuid"], "u0");
    EXPECT_EQ(list[0]["time"], "1970-01-01T00:16:40Z");
    EXPECT_EQ(list[0]["l4"]["TCP"]["destination_port"], 80);
    EXPECT_EQ(list[0]["extensions"]["bytes"], "1234567890123");
    // What no picture needs is not sent; the long texts are when they are asked for.
    for (const char* left_out : {"ethernet", "Summary", "event_type"})
        EXPECT_FALSE(list[0].contains(left_out)) << left_out;
    EXPECT_FALSE(list[0]["extensions"].contains("explanation"));
    const observer::GetFlowsRequest asked = nodes_[0]->requests().back();
    EXPECT_EQ(asked.whitelist_size(), 2);
    EXPECT_EQ(asked.whitelist(1).source_port(0), "1");
    EXPECT_EQ(asked.number(), 1000U);
    // Agents tell their counters only to who asks for them.
    EXPECT_TRUE(asked.extensions().Is<axoneme::FlowCounters>());

    nodes_[0]->add(9000 * kSecond, some_flow("drop", flow::DROPPED, "n1"));
    const auto [full, full_end] = flows("?full=true&since=1970-01-01T00:00:00Z&until=1970-01-02T00:00:00.5Z");
    EXPECT_EQ(full.back()["extensions"]["explanation"], "no rule allows TCP/80 from app=web");
    EXPECT_EQ(full.back()["extensions"]["suggested_policy"], "apiVersion: cilium.io/v2\n");
    EXPECT_EQ(nodes_[0]->requests().back().until().nanos(), 500'000'000);
}

TEST_F(WebTest, WhatIsMissingIsSaid) {
    for (int at = 0; at < 20; ++at)
        nodes_[0]->add(at * kSecond, some_flow("u" + std::to_string(at), flow::FORWARDED, "n1"));
    // The node holds as many as were asked for: there may be more.
    EXPECT_EQ(flows("?last=20").second["end"]["complete"], false);
    nodes_[1]->stop();
    ASSERT_TRUE(eventually([&] { return pool_->states()["READY"] == 1; }));
    const auto [list, end] = flows("?last=1000");
    EXPECT_EQ(list.size(), 20U);
    EXPECT_EQ(end["end"]["complete"], false);
    EXPECT_NE(end["end"]["reason"].get<std::string>().find("n2"), std::string::npos) << end;
    bool down = false;
    const Json status = json("/api/v1/status");
    for (const Json& node : status["nodes"])
        if (node["name"] == "n2") down = node["state"] != "NODE_CONNECTED";
    EXPECT_TRUE(down) << status;
    EXPECT_EQ(status["peer_service_connected"], true);
}

TEST_F(WebTest, FollowingGoesOnUntilTheClientLeaves) {
    auto client = HttpClient::connect("unix://" + folder_ + "/web.sock", 20s);
    ASSERT_TRUE(client);
    int seen = 0, heartbeats = 0;
    std::string rest;
    std::thread later([&] {
        std::this_thread::sleep_for(300ms);
        for (int at = 0; at < 40; ++at) nodes_[at % 2]->add(at * kSecond, some_flow("u", flow::FORWARDED, "n1"));
    });
    const auto done = client->stream("GET", "/api/v1/flows?follow=true", [&](std::string_view bytes) {
        rest += bytes;
        for (std::size_t end = 0; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1)) {
            const Json line = Json::parse(rest.substr(0, end), nullptr, false);
            EXPECT_FALSE(line.is_discarded());
            if (line.contains("flows")) seen += static_cast<int>(line["flows"].size());
            if (line.contains("heartbeat")) ++heartbeats;
        }
        return seen < 40;
    });
    later.join();
    EXPECT_TRUE(done) << done.error().message;
    EXPECT_EQ(seen, 40);
    client.value() = std::move(*HttpClient::connect("unix://" + folder_ + "/web.sock", 20s));
    // Its query ends with it.
    EXPECT_TRUE(eventually([&] { return relay_->counts().requests == 0; }));
}

TEST_F(WebTest, HistoryIsCountedOnce) {
    const std::int64_t now = std::chrono::system_clock::now().time_since_epoch() / 1s;
    const std::int64_t start = (now - 600) / 10 * 10;
    for (int at = 0; at < 100; ++at)
        nodes_[at % 2]->add((start + at) * kSecond, some_flow("u", at % 10 ? flow::REDIRECTED : flow::DROPPED, "n1"));
    nodes_[0]->add((start + 5) * kSecond, some_flow("a", flow::AUDIT, "n1"));
    const std::string target = "/api/v1/history?step=10s&since=" + to_text(start * kSecond);
    const Json first = json(target);
    EXPECT_EQ(first["step_seconds"], 10);
    EXPECT_EQ(first["complete"], true);
    ASSERT_EQ(first["buckets"].size(), 10U);
    EXPECT_EQ(first["buckets"][0],
              (Json{{"time", to_text(start * kSecond)}, {"forwarded", 9}, {"dropped", 1}, {"audit", 1}, {"error", 0}}));
    const observer::GetFlowsRequest asked = nodes_[0]->requests().back();
    EXPECT_EQ(asked.since().seconds(), start);
    EXPECT_EQ(asked.field_mask().paths_size(), 2);
    (void)json(target);
    // The second time only what may have changed is asked of the nodes.
    EXPECT_GT(nodes_[0]->requests().back().since().seconds(), now - 60);
    // Other filters are other counts.
    (void)json(target + "&filter={\"verdict\":[\"DROPPED\"]}");
    EXPECT_EQ(nodes_[0]->requests().back().since().seconds(), start);
}

TEST_F(WebTest, RefusesWhatItCannotDo) {
    const auto refused = [&](const std::string& target, int status, const std::string& words) {
        const HttpResponse answer = get(target);
        EXPECT_EQ(answer.status, status) << target;
        EXPECT_NE(answer.body.find(words), std::string::npos) << target << ": " << answer.body;
        EXPECT_TRUE(Json::parse(answer.body, nullptr, false).contains("error")) << target;
    };
    refused("/api/v1/flows?last=0", 400, "last: '0'");
    refused("/api/v1/flows?since=yesterday", 400, "since: 'yesterday'");
    refused("/api/v1/flows?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", 400, "not after since");
    refused("/api/v1/flows?follow=maybe", 400, "follow: 'maybe'");
    refused("/api/v1/flows?follow=true&until=2026-01-01T00:00:00Z", 400, "leave out until");
    refused("/api/v1/flows?filter=5", 400, "FlowFilter");
    refused("/api/v1/flows?filter={\"nothing\":[]}", 400, "nothing");
    refused("/api/v1/flows?filter={\"http_path\":[\"(\"]}", 400, "http_path");
    refused("/api/v1/flows?exclude={\"source_ip\":[\"300.1.1.1\"]}", 400, "source_ip");
    refused("/api/v1/flows?full=1", 400, "full: '1'");
    refused("/api/v1/history", 400, "since: needed");
    refused("/api/v1/history?since=2026-01-01T00:00:00Z&step=0s", 400, "step: '0s'");
    refused("/api/v1/history?since=2020-01-01T00:00:00Z&until=2026-01-01T00:00:00Z&step=1s", 400, "more than");
    refused("/api/v1/nothing", 404, "/api/v1/flows");
    EXPECT_EQ(get("/api/v1/flows", "POST").status, 405);
    EXPECT_EQ(relay_->counts().requests, 0U);
}

TEST_F(WebTest, PoliciesAndNamespaces) {
    const Json answer = json("/api/v1/policies");
    ASSERT_EQ(answer["policies"].size(), 1U) << answer;
    EXPECT_EQ(answer["policies"][0]["metadata"], (Json{{"name", "web"}, {"namespace", "shop"}}));
    EXPECT_EQ(answer["policies"][0]["spec"]["endpointSelector"]["matchLabels"]["app"], "web");
    const Json spaces = json("/api/v1/namespaces")["namespaces"];
    ASSERT_EQ(spaces.size(), 3U) << spaces;
    EXPECT_EQ(spaces[2]["namespace"], "shared");
}

TEST(LoopGate, NothingComesThroughWhenItIsClosed) {
    LoopGate::Post post;
    int came = 0;
    {
        EventLoop loop;
        LoopGate open(loop);
        auto closed = std::make_unique<LoopGate>(loop);
        closed->post()([&] { came += 100; });
        post = closed->post();
        closed.reset();
        post([&] { came += 10; });
        open.post()([&] {
            ++came;
            loop.stop();
        });
        loop.run();
    }
    post([&] { came += 10; });
    EXPECT_EQ(came, 1);
}

TEST_F(WebTest, FilesOfThePageAndNoOthers) {
    const HttpResponse page = get("/");
    EXPECT_EQ(page.status, 200);
    EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
    EXPECT_NE(page.headers.at("content-security-policy").find("default-src 'self'"), std::string::npos);
    EXPECT_NE(get("/assets/page-abc.js").headers.at("cache-control").find("immutable"), std::string::npos);
    for (const char* target : {"/../secret.html", "/%2e%2e/secret.html", "/assets/../../secret.html", "/.built",
                               "/assets", "//etc/passwd", "/none.html"})
        EXPECT_EQ(get(target).status, 404) << target;
    // Paths of other files of this machine do not become absolute.
    for (const std::string& target :
         {"/" + folder_ + "/secret.html", "//" + folder_ + "/secret.html", "/%2F" + folder_.substr(1) + "/secret.html",
          "/%2f%2f" + folder_ + "/secret.html"})
        EXPECT_EQ(get(target).status, 404) << target;
    std::filesystem::remove(root_ + "/index.html");
    const HttpResponse missing = get("/");
    EXPECT_EQ(missing.status, 404);
    EXPECT_NE(missing.body.find("--web-root"), std::string::npos);
}

}  // namespace
}  // namespace axo
