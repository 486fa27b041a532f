#include "app/cli/observe/server_commands.h"

#include <health/health.grpc.pb.h>
#include <observer/observer.grpc.pb.h>
#include <peer/peer.grpc.pb.h>

#include <algorithm>
#include <array>

#include "app/cli/observe/connection.h"
#include "app/cli/observe/printer.h"
#include "app/cli/observe/write_text.h"
#include "app/cli/output/format.h"
#include "app/cli/output/tab_writer.h"
#include "base/duration.h"
#include "hubble/text/proto_json.h"

namespace axo::cli {
namespace {

const char* state_text(relay::NodeState state) {
    switch (state) {
        case relay::NODE_CONNECTED: return "Connected";
        case relay::NODE_UNAVAILABLE: return "Unavailable";
        case relay::NODE_GONE: return "Gone";
        case relay::NODE_ERROR: return "Error";
        default: return "Unknown";
    }
}

template <class... Args>
std::string format(const char* text, Args... args) {
    std::array<char, 128> buffer{};
    std::snprintf(buffer.data(), buffer.size(), text, args...);
    return buffer.data();
}

// Messages as one JSON list, indented as Hubble's is.
template <class List>
std::string json_list(const List& list) {
    Json all = Json::array();
    for (const auto& message : list) all.push_back(Json::parse(proto_json(message)));
    return all.dump(2) + "\n";
}

// One question of a service; doing: what failed, for the error.
template <class Service, class Request, class Response>
Status ask(const Connection& connection,
           grpc::Status (Service::Stub::*question)(grpc::ClientContext*, const Request&, Response*),
           const std::type_identity_t<Request>& request, Response& response, std::string_view doing = {}) {
    const auto stub = Service::NewStub(connection.channel());
    grpc::ClientContext context;
    connection.prepare(context, false);
    const grpc::Status asked = ((*stub).*question)(&context, request, &response);
    if (asked.ok()) return {};
    Error error = connection.error(asked);
    return std::unexpected(doing.empty() ? std::move(error) : std::move(error).with_context(doing));
}

Status table_or_json(const std::string& output) {
    if (output == "json" || output == "table" || output == "wide") return {};
    return fail(Code::kInvalidArgument, "unknown output format: " + output);
}

}  // namespace

Status show_status(const Settings& settings, const std::string& output) {
    PrinterOptions options;
    TRY_ASSIGN(options.output, parse_observe_output(output));
    TRY_ASSIGN(const Connection connection, Connection::open(settings));
    grpc::health::v1::HealthCheckRequest check;
    check.set_service("observer.Observer");
    grpc::health::v1::HealthCheckResponse health;
    TRY(ask<grpc::health::v1::Health>(connection, &grpc::health::v1::Health::Stub::Check, check, health,
                                      "failed getting status"));
    const bool healthy = health.status() == grpc::health::v1::HealthCheckResponse::SERVING;
    if (options.output == ObserveOutput::kCompact)
        write_text(
            "Healthcheck (via " + connection.target() + "): " +
            (healthy ? "Ok"
                     : "Unavailable: " + grpc::health::v1::HealthCheckResponse::ServingStatus_Name(health.status())) +
            "\n");
    if (!healthy) return fail(Code::kUnavailable, "not healthy");
    observer::ServerStatusResponse status;
    TRY(ask<observer::Observer>(connection, &observer::Observer::Stub::ServerStatus, {}, status,
                                "failed to get hubble server status"));
    write_text(FlowPrinter(options).print(status));
    return {};
}

Status list_nodes(const Settings& settings, const std::string& output) {
    TRY(table_or_json(output));
    TRY_ASSIGN(const Connection connection, Connection::open(settings));
    observer::GetNodesResponse nodes;
    TRY(ask<observer::Observer>(connection, &observer::Observer::Stub::GetNodes, {}, nodes));
    std::ranges::sort(*nodes.mutable_nodes(), {}, &observer::Node::name);
    write_text(output == "json" ? json_list(nodes.nodes()) : nodes_table(nodes, output == "wide"));
    return {};
}

Status list_namespaces(const Settings& settings, const std::string& output) {
    TRY(table_or_json(output));
    TRY_ASSIGN(const Connection connection, Connection::open(settings));
    observer::GetNamespacesResponse namespaces;
    TRY(ask<observer::Observer>(connection, &observer::Observer::Stub::GetNamespaces, {}, namespaces));
    write_text(output == "json" ? json_list(namespaces.namespaces()) : namespaces_table(namespaces, output == "wide"));
    return {};
}

Status watch_peers(const Settings& settings) {
    TRY_ASSIGN(const Connection connection, Connection::open(settings));
    const auto stub = peer::Peer::NewStub(connection.channel());
    grpc::ClientContext context;
    connection.prepare(context, true);
    const CancelOnInterrupt interrupt(context);
    const auto reader = stub->Notify(&context, {});
    peer::ChangeNotification change;
    while (reader->Read(&change)) {
        if (write_text(peer_line(change))) continue;
        context.TryCancel();
        break;
    }
    const grpc::Status status = reader->Finish();
    if (status.ok() || status.error_code() == grpc::StatusCode::CANCELLED) return {};
    return forward_error(connection.error(status));
}

std::string nodes_table(const observer::GetNodesResponse& nodes, bool wide) {
    TabWriter table;
    std::vector<std::string> head{"NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS"};
    if (wide) head.insert(head.end(), {"VERSION", "ADDRESS", "TLS"});
    table.row(head);
    for (const observer::Node& node : nodes.nodes()) {
        std::vector<std::string> cells{safe(node.name()), state_text(node.state()), "N/A", "N/A", "N/A"};
        if (const std::uint64_t seconds = (node.uptime_ns() + 500'000'000) / 1'000'000'000; seconds > 0) {
            cells[2] = duration_text(std::chrono::seconds(seconds));
            cells[3] = format("%.2f", static_cast<double>(node.seen_flows()) / static_cast<double>(seconds));
        }
        if (node.max_flows() > 0)
            cells[4] = std::to_string(node.num_flows()) + "/" + std::to_string(node.max_flows()) +
                       format(" (%6.2f%%)",
                              static_cast<double>(node.num_flows()) / static_cast<double>(node.max_flows()) * 100);
        if (wide)
            cells.insert(cells.end(), {node.version().empty() ? "N/A" : safe(node.version()), safe(node.address()),
                                       !node.has_tls()        ? "N/A"
                                       : node.tls().enabled() ? "Enabled"
                                                              : "Disabled"});
        table.row(cells);
    }
    return table.str();
}

std::string namespaces_table(const observer::GetNamespacesResponse& namespaces, bool wide) {
    TabWriter table;
    table.row(wide ? std::vector<std::string>{"NAMESPACE", "CLUSTER"} : std::vector<std::string>{"NAMESPACE"});
    for (const observer::Namespace& ns : namespaces.namespaces()) {
        if (wide && !ns.cluster().empty())
            table.row({safe(ns.namespace_()), safe(ns.cluster())});
        else
            table.row({safe(ns.namespace_())});
    }
    return table.str();
}

std::string peer_line(const peer::ChangeNotification& change) {
    const std::string type = peer::ChangeNotificationType_Name(change.type());
    return type + std::string(type.size() < 12 ? 12 - type.size() : 0, ' ') + " " + safe(change.address()) + " " +
           safe(change.name()) +
           (change.has_tls() ? " (TLS.ServerName: " + safe(change.tls().server_name()) + ")" : "") + "\n";
}

}  // namespace axo::cli
