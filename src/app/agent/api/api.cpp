#include "app/agent/api/api.h"
#include "model/json_text.h"

#include "io/listen_socket.h"

namespace axo {

namespace {

int http_status(Code code) {
    switch (code) {
        case Code::kInvalidArgument:
        case Code::kOutOfRange: return 400;
        case Code::kPermissionDenied: return 403;
        case Code::kNotFound: return 404;
        case Code::kAlreadyExists: return 409;
        case Code::kUnavailable: return 503;
        case Code::kUnimplemented: return 501;
        default: return 500;
    }
}

std::vector<std::string> split_path(const std::string& path) {
    std::vector<std::string> segments;
    std::size_t start = 0;
    while (start < path.size()) {
        const std::size_t slash = std::min(path.find('/', start), path.size());
        if (slash > start) segments.push_back(path.substr(start, slash - start));
        start = slash + 1;
    }
    return segments;
}

}  // namespace

void AgentApi::Call::answer(int status, const Json& body) const {
    HttpResponse response;
    response.status = status;
    response.body = json_text(body) + "\n";
    responder->send(std::move(response));
}

void AgentApi::Call::answer(int status) const {
    HttpResponse response;
    response.status = status;
    responder->send(std::move(response));
}

void AgentApi::Call::fail(int status, const std::string& message) const {
    answer(status, Json(message));
}

void AgentApi::Call::fail(const Error& error) const {
    fail(http_status(error.code), error.message);
}

AgentApi::AgentApi(ControlPlane& plane)
    : plane_(plane),
      server_(plane.loop_, [this](const HttpRequest& request,
                                  const std::shared_ptr<HttpResponder>& responder) { dispatch(request, responder); }),
      loopback_(plane.loop_, [this](const HttpRequest& request,
                                    const std::shared_ptr<HttpResponder>& responder) { healthz(request, responder); }),
      health_(plane.loop_, [this](const HttpRequest& request,
                                  const std::shared_ptr<HttpResponder>& responder) { dispatch(request, responder); }),
      metrics_server_(plane.loop_, [this](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
          serve_metrics(request, responder);
      }) {
    add_status_routes();
    add_endpoint_routes();
    add_ipam_routes();
    add_table_routes();
    add_health_routes();
    add_policy_routes();
    add_service_routes();
    add_prefilter_routes();
    add_metrics_routes();
    add_fqdn_routes();
}

Status AgentApi::listen() {
    const std::string socket = plane_.config_.socket_path;
    TRY(server_.listen_unix(socket, 0660));
    // Members of the group may use the CLI without being root.
    if (auto given = give_to_group(socket, "cilium"); !given)
        plane_.log_.warn("The API socket is root's alone", {given.error()});
    const std::uint16_t port = plane_.config_.agent_health_port;
    TRY(loopback_.listen_tcp(IpAddress::v4({127, 0, 0, 1}), port));
    // A machine without IPv6 has no ::1.
    if (auto v6 = loopback_.listen_tcp(IpAddress::parse("::1").value(), port); !v6)
        plane_.log_.debug("No /healthz on ::1", {v6.error()});
    // Who watches learns that the address is taken by what is missing; traffic is not to suffer for it.
    if (plane_.config_.metrics) {
        if (auto listening = listen_at(metrics_server_, *plane_.config_.metrics); !listening)
            plane_.log_.error("Metrics are not served (prometheus-serve-addr)", {listening.error()});
    }
    TRY(health_.listen_unix((plane_.config_.state_dir / "health.sock").string(), 0660));
    return {};
}

void AgentApi::add(const std::string& method, const std::string& pattern, Handler handler, bool needs_datapath) {
    routes_.push_back({method, split_path(pattern), std::move(handler), needs_datapath});
}

void AgentApi::dispatch(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    const std::vector<std::string> segments = split_path(request.path);
    bool path_known = false;
    for (const Route& route : routes_) {
        if (route.segments.size() != segments.size()) continue;
        Call call{request, responder, {}};
        bool match = true;
        for (std::size_t i = 0; match && i < segments.size(); ++i) {
            if (route.segments[i] == "{}") {
                call.parameters.push_back(segments[i]);
            } else {
                match = route.segments[i] == segments[i];
            }
        }
        if (!match) continue;
        path_known = true;
        if (route.method != request.method) continue;
        // As Cilium does: "/v1/endpoint" for all of its paths.
        call.responder = times_->timed(responder, "/" + segments[0] + (segments.size() > 1 ? "/" + segments[1] : ""),
                                       request.method);
        if (route.needs_datapath && !plane_.monitor_) {
            call.fail(503, "the agent is not ready: waiting for " + plane_.waiting_for_);
            return;
        }
        route.handler(call);
        return;
    }
    const Call call{request, responder, {}};
    call.fail(path_known ? 405 : 404, path_known ? request.method + " is not supported on " + request.path
                                                 : "path " + request.path + " was not found");
}

void AgentApi::healthz(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    HttpResponse response;
    if (request.path != "/healthz") {
        response.status = 404;
    } else {
        // What runs goes on without an API server, and no restart would bring it back.
        const Json status = brief_status(false);
        const bool ok = status["cilium"]["state"] == "Ok";
        response.status = ok ? 200 : 500;
        response.body = json_text(status) + "\n";
    }
    responder->send(std::move(response));
}

}  // namespace axo
