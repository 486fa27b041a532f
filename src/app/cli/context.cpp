#include "app/cli/context.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace axo::cli {

std::string Context::address() const {
    std::string where = host;
    if (where.empty()) {
        const char* socket = std::getenv("CILIUM_SOCK");
        where = socket != nullptr && *socket != '\0' ? socket : "/var/run/cilium/cilium.sock";
    }
    if (where.starts_with("tcp://")) return "http://" + where.substr(6);
    return where.find("://") == std::string::npos ? "unix://" + where : where;
}

std::string Context::health_address() const {
    const std::string agent = address();
    if (!agent.starts_with("unix://")) return agent;
    return agent.substr(0, agent.rfind('/') + 1) + "health.sock";
}

Error connection_advice(const std::string& address, const Error& error) {
    Error advice = error;
    if (error.sys_errno == EACCES || error.code == Code::kPermissionDenied) {
        advice.message =
            "no permission for the agent's socket " + address + ": run as root, or as a member of group cilium";
        return advice;
    }
    if (error.code == Code::kInvalidArgument) return advice;
    if (error.code == Code::kDeadlineExceeded) {
        advice.message = "the agent at " + address + " takes connections but does not answer: " + error.message;
        return advice;
    }
    advice.message = "cannot reach the agent at " + address + ": " + error.message +
                     "; is axoneme-agent running on this node? (-H or CILIUM_SOCK name another socket)";
    return advice;
}

Error answer_error(const std::string& method, const std::string& target, const HttpResponse& response) {
    const Json body = Json::parse(response.body, nullptr, false);
    std::string words = body.is_string() ? body.get<std::string>() : response.body.substr(0, 1000);
    while (!words.empty() && words.back() == '\n') words.pop_back();
    if (words.empty()) {
        switch (response.status) {
            case 404: words = "not found"; break;
            case 429: words = "the agent is busy, try again"; break;
            case 501: words = "not supported by this agent"; break;
            case 503: words = "the agent is starting or shutting down, try again"; break;
            default: words = "no reason given";
        }
    }
    const Code code = response.status == 404                             ? Code::kNotFound
                      : response.status == 429 || response.status == 503 ? Code::kUnavailable
                                                                         : Code::kInternal;
    return {code, method + " " + target + ": " + std::to_string(response.status) + ": " + words, 0};
}

Error map_advice(const Context& context, Error error) {
    if (error.code == Code::kNotFound)
        error.message += "; has an agent run here with --bpf-root=" + context.bpf_root + "?";
    if (error.code == Code::kPermissionDenied) error.message += "; reading BPF maps takes root";
    return error;
}

std::string url_encode(std::string_view text) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           std::string_view("-_.~:").find(c) != std::string_view::npos;
        if (plain) {
            out += c;
        } else {
            out += '%';
            out += kDigits[byte >> 4];
            out += kDigits[byte & 15];
        }
    }
    return out;
}

Result<HttpClient> Context::connect(Duration timeout) const {
    const std::string where = address();
    auto client = HttpClient::connect(where, timeout);
    if (!client) return forward_error(connection_advice(where, client.error()));
    return client;
}

Result<HttpResponse> Context::call(const std::string& method, const std::string& target,
                                   const std::string& body) const {
    TRY_ASSIGN(HttpClient client, connect());
    auto response = client.request(method, "/v1" + target, body);
    if (!response) return forward_error(connection_advice(address(), response.error()));
    if (response->status < 200 || response->status > 299) return forward_error(answer_error(method, target, *response));
    return response;
}

Result<Json> Context::get(const std::string& target, const std::map<std::string, std::string>& headers) const {
    TRY_ASSIGN(HttpClient client, connect());
    auto response = client.request("GET", "/v1" + target, {}, headers);
    if (!response) return forward_error(connection_advice(address(), response.error()));
    if (response->status < 200 || response->status > 299) return forward_error(answer_error("GET", target, *response));
    Json body = Json::parse(response->body, nullptr, false);
    if (body.is_discarded())
        return fail(Code::kDataLoss, "GET " + target + ": the answer is not JSON: " + response->body.substr(0, 200));
    return body;
}

void print(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
}

Status print_as(const std::string& output_option, const Json& value, const std::function<std::string()>& as_text) {
    TRY_ASSIGN(const OutputFormat format, OutputFormat::parse(output_option));
    if (format.is_text()) {
        print(as_text());
        return {};
    }
    TRY_ASSIGN(const std::string out, format.print(value));
    print(out);
    return {};
}

}  // namespace axo::cli
