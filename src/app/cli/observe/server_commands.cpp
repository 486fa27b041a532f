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

Status table_or_json(const std::string& output) {
    if (output == "json" || output == "table" || output == "wide") return {};
    return fail(Code::kInvalidArgument, "unknown output format: " + output);
}

}  // namespace

Status show_status(const Settings& settings, const std::string& output) {
    PrinterOptions options;
    if (output == "compact")
        options.output = ObserveOutput::kCompact;
    else if (output == "dict")
        options.output = ObserveOutput::kDict;
    else if (output == "json" || output == "JSON" || output == "jsonpb")
        options.output = ObserveOutput::kJson;
    else if (output == "tab" || output == "table")
        options.output = ObserveOutput::kTable;
    else
        return fail(Code::kInvalidArgument, "invalid output format: " + output);
    TRY_ASSIGN(const Connection connection, Connection::open(settings));
    grpc::health::v1::HealthCheckRequest check;
    check.set_service("observer.Observer");
    grpc::health::v1::HealthCheckResponse health;
    grpc::ClientContext health_context;
    connection.prepare(health_context, false);
    const grpc::Status checked =
        grpc::health::v1::Health::NewStub(connection.channel())->Check(&health_context, check, &health);
    if (!checked.ok()) return std::unexpected(connection.error(checked).with_context("failed getting status"));
    const bool healthy = health.status() == grpc::health::v1::HealthCheckResponse::SERVING;
    if (options.output == ObserveOutput::kCompact)
        write_text(
            "Healthcheck (via " + connection.target() + "): " +
            (healthy ? "Ok"
                     : "Unavailable: " + grpc::health::v1::HealthCheckResponse::ServingStatus_Name(health.status())) +
            "\n");
    if (!healthy) return fail(Code::kUnavailable, "not healthy");
    observer::ServerStatusResponse status;
    grpc::ClientContext context;
    connection.prepare(context, false);
    const grpc::Status asked = observer::Observer::NewStub(connection.channel())->ServerStatus(&context, {}, &status);
    if (!asked.ok()) return std::unexpected(connection.error(asked).with_context("failed to get hubble server status"));
    write_text(FlowPrinter(options).print(status));
    return {};
}

Status list_nodes(const Settings& settings, const std::string& output) {
    TRY(table_or_json(output));
    TRY_ASSIGN(const Connection connection, Connection::open(settings));
    observer::GetNodesResponse nodes;
    grpc::ClientContext context;
    connection.prepare(context, false);
    const grpc::Status asked = observer::Observer::NewStub(connection.channel())->GetNodes(&context, {}, &nodes);
    if (!asked.ok()) return forward_error(connection.error(asked));
    std::ranges::sort(*nodes.mutable_nodes(), {}, &observer::Node::name);
    write_text(output == "json" ? json_list(nodes.nodes()) : nodes_table(nodes, output == "wide"));
    return {};
}

Status list_namespaces(const Settings& settings, const std::string& output) {
    TRY(table_or_json(output));
    TRY_ASSIGN(const Connection connection, Connection::open(settings));
    observer::GetNamespacesResponse namespaces;
    grpc::ClientContext context;
    connection.prepare(context, false);
    const grpc::Status asked =
        observer::Observer::NewStub(connection.channel())->GetNamespaces(&context, {}, &namespaces);
    if (!asked.ok()) return forward_error(connection.error(asked));
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
    while (reader->Read(&change)) write_text(peer_line(change));
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
        std::vector<std::string> cells{node.name(), state_text(node.state()), "N/A", "N/A", "N/A"};
        if (const std::uint64_t seconds = (node.uptime_ns() + 500'000'000) / 1'000'000'000; seconds > 0) {
            cells[2] = go_duration(static_cast<std::int64_t>(seconds));
            cells[3] = format("%.2f", static_cast<double>(node.seen_flows()) / static_cast<double>(seconds));
        }
        if (node.max_flows() > 0)
            cells[4] = std::to_string(node.num_flows()) + "/" + std::to_string(node.max_flows()) +
                       format(" (%6.2f%%)",
                              static_cast<double>(node.num_flows()) / static_cast<double>(node.max_flows()) * 100);
        if (wide)
            cells.insert(cells.end(), {node.version().empty() ? "N/A" : node.version(), node.address(),
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
            table.row({ns.namespace_(), ns.cluster()});
        else
            table.row({ns.namespace_()});
    }
    return table.str();
}

std::string peer_line(const peer::ChangeNotification& change) {
    const std::string type = peer::ChangeNotificationType_Name(change.type());
    return type + std::string(type.size() < 12 ? 12 - type.size() : 0, ' ') + " " + change.address() + " " +
           change.name() + (change.has_tls() ? " (TLS.ServerName: " + change.tls().server_name() + ")" : "") + "\n";
}

}  // namespace axo::cli
