#include "app/cni/agent.h"

#include <thread>

#include "base/log.h"

namespace axo::cni {
namespace {

using nlohmann::json;

// The agent's error bodies are a JSON string, or plain text.
std::string error_text(const HttpResponse& response) {
    const json body = json::parse(response.body, nullptr, false);
    std::string text = body.is_string() ? body.get<std::string>() : response.body.substr(0, 500);
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    return text;
}

bool succeeded(int status) {
    return status >= 200 && status < 300;
}

std::string percent_encoded(std::string_view text) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
            c == '.' || c == '~') {
            out += c;
        } else {
            out += '%';
            out += kDigits[byte >> 4];
            out += kDigits[byte & 15];
        }
    }
    return out;
}

// Container id and interface name were checked; ":" is allowed in a path segment as it is.
std::string endpoint_target(const Attachment& attachment) {
    return "/v1/endpoint/cni-attachment-id:" + percent_encoded(attachment.container_id) + ":" +
           percent_encoded(attachment.ifname);
}

}  // namespace

Outcome<Agent> Agent::connect(const std::string& socket_path, std::chrono::milliseconds patience,
                              std::chrono::milliseconds call_timeout) {
    const auto deadline = Clock::now() + patience;
    auto pause = std::chrono::milliseconds(20);
    while (true) {
        auto client = HttpClient::connect("unix://" + socket_path, call_timeout);
        if (client) return Agent(std::move(*client), socket_path, call_timeout);
        if (Clock::now() + pause >= deadline) {
            return refuse(ErrorCode::kAgentUnreachable,
                          "cannot talk to the agent at " + socket_path + ": " + client.error().message,
                          "is the agent running on this node?");
        }
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, std::chrono::milliseconds(500));
    }
}

std::expected<HttpResponse, CallError> Agent::call(const std::string& method, const std::string& target,
                                                   const std::string& body,
                                                   const std::map<std::string, std::string>& headers) {
    const std::string what = method + " " + target;
    auto response = client_.request(method, target, body, headers);
    if (!response) {
        return std::unexpected(
            CallError{{ErrorCode::kAgentUnreachable,
                       "cannot talk to the agent: " + what + ": " + response.error().message, "socket " + socket_path_},
                      0});
    }
    if (succeeded(response->status)) return std::move(*response);
    CallError refused{{ErrorCode::kInternal, "the agent answered " + std::to_string(response->status) + " to " + what,
                       error_text(*response)},
                      response->status};
    if (response->status == 429 || response->status == 503) refused.error.code = ErrorCode::kTryAgainLater;
    return std::unexpected(std::move(refused));
}

Outcome<AgentConfig> Agent::config() {
    auto response = call("GET", "/v1/config");
    if (!response) return std::unexpected(std::move(response.error().error));
    return parse_agent_config(response->body);
}

Outcome<Lease> Agent::allocate(const std::string& owner) {
    auto response = call("POST", "/v1/ipam?owner=" + percent_encoded(owner), {}, {{"expiration", "true"}});
    if (!response) {
        CniError error = std::move(response.error().error);
        // An exhausted pool: pods that go free addresses.
        if (response.error().status == 502) {
            error.code = ErrorCode::kTryAgainLater;
            error.message = "no address for the pod: " + (error.details.empty() ? error.message : error.details);
            error.details = "owner " + owner;
        }
        return std::unexpected(std::move(error));
    }
    return parse_lease(response->body);
}

void Agent::release(const FamilyLease& lease, const std::string& owner) {
    if (!lease.address) return;
    // The owner lets the agent refuse when the address belongs to somebody else by now.
    std::string target = "/v1/ipam/" + percent_encoded(lease.address.to_string()) + "?owner=" + percent_encoded(owner);
    if (!lease.pool.empty()) target += "&pool=" + percent_encoded(lease.pool);
    if (auto response = call("DELETE", target); !response && response.error().status != 404) {
        Logger("cilium-cni")
            .warn("Failed to release an address", {{"ipAddr", lease.address.to_string()},
                                                   {"error", response.error().error.message},
                                                   {"details", response.error().error.details}});
    }
}

std::expected<MacAddress, CallError> Agent::create_endpoint(const PodEndpoint& endpoint) {
    auto response =
        call("PUT", "/v1/endpoint/cilium-local:0", endpoint_request(endpoint), {{"content-type", "application/json"}});
    if (!response) return std::unexpected(std::move(response.error()));
    const json body = json::parse(response->body, nullptr, false);
    if (!body.is_object()) return MacAddress();
    const auto pointer = json::json_pointer("/status/networking/mac");
    if (!body.contains(pointer) || !body.at(pointer).is_string()) return MacAddress();
    const auto mac = MacAddress::parse(body.at(pointer).get<std::string>());
    if (!mac || mac->is_zero() || *mac == endpoint.mac) return MacAddress();
    return *mac;
}

std::expected<bool, CallError> Agent::removal(std::expected<HttpResponse, CallError> answer) {
    if (answer) {
        if (answer->status == 206) {
            Logger("cilium-cni")
                .warn("Errors encountered while deleting the endpoint; it is gone", {{"errors", answer->body}});
            return false;
        }
        return true;
    }
    if (answer.error().status == 404) return false;
    return std::unexpected(std::move(answer.error()));
}

std::expected<bool, CallError> Agent::remove_endpoint(const Attachment& attachment) {
    return removal(call("DELETE", endpoint_target(attachment)));
}

std::expected<bool, CallError> Agent::remove_container(const std::string& container_id) {
    return removal(
        call("DELETE", "/v1/endpoint", removal_request(container_id), {{"content-type", "application/json"}}));
}

Outcome<std::string> Agent::endpoint_health(const Attachment& attachment) {
    auto response = call("GET", endpoint_target(attachment) + "/healthz");
    if (!response) {
        if (response.error().status == 404) {
            return refuse(ErrorCode::kAgentUnreachable, "the agent has no endpoint for " + attachment.key(),
                          response.error().error.details);
        }
        return std::unexpected(std::move(response.error().error));
    }
    const json body = json::parse(response->body, nullptr, false);
    return body.is_object() ? body.value("overallHealth", std::string()) : std::string();
}

Outcome<std::vector<KnownEndpoint>> Agent::endpoints() {
    auto response = call("GET", "/v1/endpoint");
    if (!response) {
        if (response.error().status == 404) return std::vector<KnownEndpoint>{};
        return std::unexpected(std::move(response.error().error));
    }
    return parse_endpoints(response->body);
}

Outcome<std::string> Agent::health() {
    auto response = call("GET", "/v1/healthz", {}, {{"brief", "true"}});
    if (!response) return std::unexpected(std::move(response.error().error));
    const json body = json::parse(response->body, nullptr, false);
    if (!body.is_object() || !body.contains("cilium") || !body["cilium"].is_object())
        return "the agent's health answer is not understood";
    const json& cilium = body["cilium"];
    const auto state = cilium.find("state");
    if (state != cilium.end() && state->is_string() && *state == "Ok") return std::string();
    const auto message = cilium.find("msg");
    return "the agent is not healthy: " +
           (message != cilium.end() && message->is_string() ? message->get<std::string>() : cilium.dump());
}

}  // namespace axo::cni
