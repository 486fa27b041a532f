#include "app/relay/web.h"

#include "app/relay/loop_gate.h"
#include "app/relay/web_files.h"
#include "app/relay/web_flows.h"
#include "app/relay/web_history.h"
#include "hubble/relay/gather.h"
#include "hubble/text/version.h"
#include "io/resources.h"
#include "model/json.h"
#include "model/json_text.h"
#include "runtime/task.h"

namespace axo {
namespace {

using relay_server::Answers;
using relay_server::PeerRef;

constexpr std::chrono::seconds kPatience{3};

HttpResponse json(const Json& value) {
    return {.status = 200, .body = json_text(value)};
}

// What a picture of it needs: not the status, not who wrote which field when.
Json policy_of(const Json& object, const ResourceType& type) {
    Json out{{"apiVersion", type.api_version()}, {"kind", type.kind}};
    for (const char* key : {"name", "namespace", "labels"})
        if (object.contains("metadata") && object["metadata"].contains(key))
            out["metadata"][key] = object["metadata"][key];
    for (const char* key : {"spec", "specs"})
        if (object.contains(key)) out[key] = object[key];
    return out;
}

}  // namespace

HttpResponse web_error(int status, const std::string& message) {
    return {.status = status, .body = json_text({{"error", message}})};
}

HttpResponse web_error(const Error& error) {
    switch (error.code) {
        case Code::kInvalidArgument: return web_error(400, error.message);
        case Code::kNotFound: return web_error(404, error.message);
        case Code::kResourceExhausted: return web_error(429, error.message);
        case Code::kUnavailable: return web_error(503, error.message);
        default: return web_error(500, error.message);
    }
}

struct WebApi::Impl {
    relay_server::RelayService& service;
    ObjectStore* store;
    WebSettings settings;
    WebFlows flows;
    WebHistory history;
    TaskGroup tasks;
    LoopGate gate;

    Impl(EventLoop& loop, relay_server::RelayService& a_service, ObjectStore* a_store, WebSettings a_settings)
        : service(a_service),
          store(a_store),
          settings(std::move(a_settings)),
          flows(loop, a_service),
          history(loop, a_service),
          gate(loop) {}

    // A question to all nodes; done runs on the loop.
    template <class Response>
    void ask(std::function<void(const Answers<Response>&)> done) {
        relay_server::gather<Response>(service.pool().peers(), kPatience,
                                       [post = gate.post(), done = std::move(done)](const Answers<Response>& answers) {
                                           post([done, answers] { done(answers); });
                                       });
    }

    void status(const std::shared_ptr<HttpResponder>& responder) {
        ask<observer::ServerStatusResponse>([this, responder](const Answers<observer::ServerStatusResponse>& answers) {
            Json nodes = Json::array();
            std::uint64_t flows_now = 0, flows_most = 0;
            double rate = 0;
            for (const auto& answer : answers) {
                flows_now += answer.response.num_flows();
                flows_most += answer.response.max_flows();
                rate += answer.response.flows_rate();
                nodes.push_back({{"name", answer.peer->name},
                                 {"state", relay::NodeState_Name(answer.state())},
                                 {"message", answer.ok      ? ""
                                             : answer.asked ? "it does not answer"
                                                            : "no connection to " + answer.peer->address},
                                 {"version", answer.response.version()}});
            }
            responder->send(json({{"version", kHubbleVersion},
                                  {"cluster", settings.cluster_name},
                                  {"nodes", nodes},
                                  {"peer_service_connected", service.pool().service_connected()},
                                  {"num_flows", flows_now},
                                  {"max_flows", flows_most},
                                  {"flows_rate", rate}}));
        });
    }

    void namespaces(const std::shared_ptr<HttpResponder>& responder) {
        ask<observer::GetNamespacesResponse>([responder](const Answers<observer::GetNamespacesResponse>& answers) {
            Json list = Json::array();
            for (const auto& [cluster, name] : relay_server::namespaces_of(answers))
                list.push_back({{"cluster", cluster}, {"namespace", name}});
            responder->send(json({{"namespaces", list}}));
        });
    }

    Task<void> policies(std::shared_ptr<HttpResponder> responder) {
        Json list = Json::array();
        for (const ResourceType* type : {&resources::kCiliumNetworkPolicy, &resources::kCiliumClusterwideNetworkPolicy,
                                         &resources::kNetworkPolicy}) {
            CO_AWAIT(const auto objects, store->list(*type));
            if (!objects) {
                responder->send(web_error(objects.error()));
                co_return;
            }
            for (const Json& object : *objects) list.push_back(policy_of(object, *type));
        }
        Json spaces = Json::array();
        CO_AWAIT(const auto namespaces_there, store->list(resources::kNamespace));
        if (namespaces_there)
            for (const Json& object : *namespaces_there) {
                const Json& metadata = object.contains("metadata") ? object["metadata"] : object;
                spaces.push_back(
                    {{"name", metadata.value("name", "")}, {"labels", metadata.value("labels", Json::object())}});
            }
        responder->send(json({{"policies", list}, {"namespaces", spaces}}));
    }
};

WebApi::WebApi(EventLoop& loop, relay_server::RelayService& service, ObjectStore* store, WebSettings settings)
    : impl_(std::make_unique<Impl>(loop, service, store, std::move(settings))) {}

WebApi::~WebApi() = default;

void WebApi::handle(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    if (request.method != "GET" && request.method != "HEAD") {
        HttpResponse refused = web_error(405, request.method + ": only GET is served here");
        refused.headers["Allow"] = "GET, HEAD";
        return responder->send(std::move(refused));
    }
    const std::string& path = request.path;
    if (!path.starts_with("/api/")) return responder->send(web_file(impl_->settings.root, path));
    if (path == "/api/v1/flows") return impl_->flows.serve(request, responder);
    if (path == "/api/v1/history") return impl_->history.serve(request, responder);
    if (path == "/api/v1/status") return impl_->status(responder);
    if (path == "/api/v1/namespaces") return impl_->namespaces(responder);
    if (path == "/api/v1/policies") {
        if (impl_->store == nullptr)
            return responder->send(web_error(404, "this relay reads no policies; start it with --object-store"));
        return impl_->tasks.spawn(impl_->policies(responder));
    }
    responder->send(web_error(404, path + ": there are /api/v1/flows, history, status, namespaces, policies"));
}

}  // namespace axo
