// Waiting for a cluster's processes: what kubelet and an operator at the terminal would look at.
#include <poll.h>

#include <sstream>

#include "base/file.h"
#include "io/http.h"
#include "sandbox/cluster.h"

namespace axo::sandbox {
namespace {

// The node's files, seen through a process that lives in it. Its /run, because /var/run is a link that this process
// would follow to its own.
std::filesystem::path files_of(const ProcessId& process) {
    return "/proc/" + std::to_string(process.pid) + "/root";
}

Result<nlohmann::json> ask(const ProcessId& agent, const std::string& path,
                           const std::map<std::string, std::string>& headers) {
    TRY_ASSIGN(HttpClient client, HttpClient::connect("unix://" + (files_of(agent) / "run/cilium/cilium.sock").string(),
                                                      std::chrono::seconds(2)));
    TRY_ASSIGN(const HttpResponse response, client.request("GET", "/v1" + path, {}, headers));
    if (response.status != 200) return fail(Code::kUnavailable, path + " answers " + std::to_string(response.status));
    auto json = nlohmann::json::parse(response.body, nullptr, false);
    if (!json.is_object()) return fail(Code::kInternal, path + " answers something else than a JSON object");
    return json;
}

}  // namespace

Result<bool> Cluster::agent_ready(const std::string& node) const {
    const auto process = running(agent_name(node));
    if (!process) {
        return fail(Code::kFailedPrecondition,
                    agent_name(node) + " has ended:\n" + last_lines_of_log(agent_name(node)));
    }
    if (!std::filesystem::exists(files_of(*process) / "etc/cni/net.d/05-cilium.conflist")) return false;
    auto health = ask(*process, "/healthz", {{"brief", "true"}});
    if (!health || health->value(nlohmann::json::json_pointer("/cilium/state"), "") != "Ok") return false;
    auto nodes = ask(*process, "/cluster/nodes", {});
    if (!nodes) return false;
    const auto known = nodes->find("nodes-added");
    if (known == nodes->end() || !known->is_array()) return false;
    return std::ranges::all_of(spec_.nodes, [&](const NodeSpec& other) {
        // A node whose agent was never started registers nothing that could be known.
        if (!running(agent_name(other.name))) return true;
        return std::ranges::any_of(*known, [&](const nlohmann::json& element) {
            const std::string name = element.is_object() ? element.value("name", "") : "";
            return name == other.name || name.ends_with("/" + other.name);
        });
    });
}

Status Cluster::wait_ready(const std::vector<std::string>& nodes, std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (const auto& node : nodes) {
        for (int pause = 2;; pause = std::min(pause * 2, 50)) {
            TRY_ASSIGN(const bool ready, agent_ready(node));
            if (ready) break;
            if (std::chrono::steady_clock::now() > deadline) {
                return fail(Code::kDeadlineExceeded, agent_name(node) + " is not ready after " +
                                                         std::to_string(limit.count()) + " ms:\n" +
                                                         last_lines_of_log(agent_name(node)));
            }
            ::poll(nullptr, 0, pause);
        }
    }
    return sync_routes();
}

Status Cluster::wait_for_relay(std::uint16_t port, std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;; ::poll(nullptr, 0, 20)) {
        if (!running(kRelay))
            return fail(Code::kFailedPrecondition, "the relay has ended:\n" + last_lines_of_log(kRelay));
        // The socket takes connections before the relay does: an answer is what counts.
        if (auto client = HttpClient::connect("http://127.0.0.1:" + std::to_string(port), std::chrono::seconds(2)))
            if (client->request("GET", "/")) return {};
        if (std::chrono::steady_clock::now() > deadline)
            return fail(Code::kDeadlineExceeded, "the relay answers nothing after " + std::to_string(limit.count()) +
                                                     " ms:\n" + last_lines_of_log(kRelay));
    }
}

std::string Cluster::last_lines_of_log(const std::string& process) const {
    std::istringstream lines(read_file(log_of(process)).value_or(""));
    std::vector<std::string> all;
    for (std::string line; std::getline(lines, line);) all.push_back("  " + line);
    std::string text;
    for (std::size_t i = all.size() > 15 ? all.size() - 15 : 0; i < all.size(); ++i) text += all[i] + "\n";
    return text.empty() ? "  (its log is empty)\n" : text;
}

}  // namespace axo::sandbox
