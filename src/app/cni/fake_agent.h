// An agent for tests: the REST calls of the plugin over a real socket, with errors on demand.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "io/http.h"
#include "runtime/event_loop.h"

namespace axo::cni {

class FakeAgent {
    template <class Work>
    auto locked(Work&& work) {
        const std::scoped_lock lock(mutex_);
        return work();
    }

public:
    struct Failure {
        int status = 500;    // 0: takes the request and never answers
        bool after = false;  // acts on it first
    };

    // remove_device: what the agent does to the host-side device of an endpoint that it deletes. Thread: the agent's.
    FakeAgent(std::string socket_path, std::function<void(const std::string&)> remove_device)
        : socket_path_(std::move(socket_path)), remove_device_(std::move(remove_device)) {
        start();
    }
    ~FakeAgent() { stop(); }
    FakeAgent(const FakeAgent&) = delete;
    FakeAgent& operator=(const FakeAgent&) = delete;

    void start() {
        loop_ = std::make_unique<EventLoop>();
        server_ = std::make_unique<HttpServer>(
            *loop_, [this](const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
                handle(request, std::move(responder));
            });
        const auto listening = server_->listen_unix(socket_path_);
        EXPECT_TRUE(listening) << listening.error().to_string();
        thread_ = std::thread([this] { loop_->run(); });
    }
    void stop() {
        if (!thread_.joinable()) return;
        loop_->stop();
        thread_.join();
        held_.clear();
        server_.reset();
        loop_.reset();
        ::unlink(socket_path_.c_str());
    }

    // "PUT /v1/endpoint/" is a prefix of method and path; the failure stays until removed.
    void fail(const std::string& call, Failure failure) {
        locked([&] { failures_[call] = failure; });
    }
    void heal() {
        locked([&] { failures_.clear(); });
    }
    void set_status_field(const std::string& key, const nlohmann::json& value) {
        locked([&] { status_[key] = value; });
    }
    void set_mac(const std::string& mac) {
        locked([&] { mac_ = mac; });
    }
    void set_families(bool v4, bool v6) {
        locked([&] { v4_ = v4, v6_ = v6; });
    }

    std::set<std::string> addresses() {
        return locked([&] { return addresses_; });
    }
    std::map<std::string, nlohmann::json> endpoints() {
        return locked([&] { return endpoints_; });
    }
    std::vector<std::string> calls() {
        return locked([&] { return calls_; });
    }

private:
    void handle(const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
        const std::scoped_lock lock(mutex_);
        const std::string call = request.method + " " + request.path;
        calls_.push_back(call);
        for (const auto& [prefix, failure] : failures_) {
            if (!call.starts_with(prefix)) continue;
            if (failure.after) (void)answer(request);
            if (failure.status == 0) {
                held_.push_back(std::move(responder));
                return;
            }
            responder->send({failure.status, "\"injected\"", "application/json", {}});
            return;
        }
        responder->send(answer(request));
    }

    HttpResponse answer(const HttpRequest& request) {
        const std::string call = request.method + " " + request.path;
        if (call == "GET /v1/config") return json_answer(200, {{"status", status_}});
        if (call == "GET /v1/healthz") return json_answer(200, {{"cilium", {{"state", "Ok"}, {"msg", "OK"}}}});
        if (call == "POST /v1/ipam") return allocate();
        if (call.starts_with("DELETE /v1/ipam/"))
            return {addresses_.erase(request.path.substr(9)) != 0 ? 200 : 404, {}, {}, {}};
        if (call.starts_with("PUT /v1/endpoint/")) return create(nlohmann::json::parse(request.body));
        if (call == "GET /v1/endpoint") return list();
        if (call == "DELETE /v1/endpoint")
            return remove_container(nlohmann::json::parse(request.body).value("container-id", ""));
        if (const auto at = request.path.find("cni-attachment-id:"); at != std::string::npos) {
            std::string key = request.path.substr(at + 18);
            if (request.method == "DELETE") return {forget(key) ? 200 : 404, {}, {}, {}};
            if (const auto slash = key.find("/healthz"); slash != std::string::npos) {
                key.resize(slash);
                if (!endpoints_.contains(key)) return {404, {}, {}, {}};
                return json_answer(200, {{"overallHealth", "OK"}});
            }
        }
        return {404, {}, {}, {}};
    }

    static HttpResponse json_answer(int status, const nlohmann::json& body) {
        return {status, body.dump(), "application/json", {}};
    }

    HttpResponse allocate() {
        ++next_;
        nlohmann::json address = nlohmann::json::object();
        nlohmann::json host = nlohmann::json::object();
        if (v4_) {
            address["ipv4"] = "10.9.0." + std::to_string(next_);
            host["ipv4"] = {{"enabled", true}, {"ip", "10.9.0.1"}};
            addresses_.insert(address["ipv4"]);
        }
        if (v6_) {
            address["ipv6"] = "fd09::" + std::to_string(next_);
            host["ipv6"] = {{"enabled", true}, {"ip", "fd09::1"}};
            addresses_.insert(address["ipv6"]);
        }
        return json_answer(201, {{"address", address}, {"host-addressing", host}});
    }

    HttpResponse create(const nlohmann::json& request) {
        const std::string key =
            request["container-id"].get<std::string>() + ":" + request["container-interface-name"].get<std::string>();
        if (endpoints_.contains(key)) return json_answer(409, "endpoint exists");
        endpoints_[key] = request;
        return json_answer(
            201, {{"id", next_},
                  {"status", {{"networking", {{"mac", mac_.empty() ? request["mac"].get<std::string>() : mac_}}}}}});
    }

    bool forget(const std::string& key) {
        const auto it = endpoints_.find(key);
        if (it == endpoints_.end()) return false;
        for (const auto& family : {"ipv4", "ipv6"}) addresses_.erase(it->second["addressing"].value(family, ""));
        const std::string interface = it->second["interface-name"];
        endpoints_.erase(it);
        remove_device_(interface);
        return true;
    }

    HttpResponse remove_container(const std::string& id) {
        std::vector<std::string> keys;
        for (const auto& [key, endpoint] : endpoints_) {
            if (endpoint["container-id"] == id) keys.push_back(key);
        }
        for (const std::string& key : keys) forget(key);
        return {keys.empty() ? 404 : 200, {}, {}, {}};
    }

    HttpResponse list() {
        nlohmann::json all = nlohmann::json::array();
        all.push_back({{"id", 1}, {"status", {{"external-identifiers", nlohmann::json::object()}}}});
        for (const auto& [key, endpoint] : endpoints_) {
            all.push_back(
                {{"id", 2},
                 {"status",
                  {{"external-identifiers", {{"cni-attachment-id", key}, {"container-id", endpoint["container-id"]}}},
                   {"networking", {{"interface-name", endpoint["interface-name"]}}}}}});
        }
        return json_answer(200, all);
    }

    std::string socket_path_;
    std::function<void(const std::string&)> remove_device_;
    std::unique_ptr<EventLoop> loop_;
    std::unique_ptr<HttpServer> server_;
    std::thread thread_;
    std::mutex mutex_;
    std::map<std::string, Failure> failures_;
    nlohmann::json status_ = {
        {"deviceMTU", 1500}, {"routeMTU", 1450}, {"ipam-mode", "cluster-pool"}, {"datapathMode", "veth"}};
    std::string mac_;
    bool v4_ = true;
    bool v6_ = true;
    int next_ = 9;
    std::set<std::string> addresses_;
    std::map<std::string, nlohmann::json> endpoints_;
    std::vector<std::string> calls_;
    std::vector<std::shared_ptr<HttpResponder>> held_;
};

}  // namespace axo::cni
