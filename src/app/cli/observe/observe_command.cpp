#include "app/cli/observe/observe_command.h"

#include <axoneme/flow_counters.pb.h>
#include <google/protobuf/util/field_mask_util.h>
#include <google/protobuf/util/time_util.h>
#include <observer/observer.grpc.pb.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>

#include "app/cli/observe/connection.h"
#include "app/cli/observe/input_file.h"
#include "app/cli/observe/write_text.h"

namespace axo::cli {
namespace {

constexpr std::uint64_t kUsualCount = 20;
constexpr const char* kVisibleFields[] = {"time",
                                          "source.identity",
                                          "source.namespace",
                                          "source.pod_name",
                                          "destination.identity",
                                          "destination.namespace",
                                          "destination.pod_name",
                                          "source_service",
                                          "destination_service",
                                          "l4",
                                          "IP",
                                          "ethernet",
                                          "l7",
                                          "Type",
                                          "node_name",
                                          "is_reply",
                                          "event_type",
                                          "verdict",
                                          "Summary"};
constexpr const char* kTimeFormats =
    "\n  StampMilli:             Jan _2 15:04:05.000\n  YearMonthDay:           2006-01-02\n"
    "  YearMonthDayHour:       2006-01-02T15Z\n  YearMonthDayHourMinute: 2006-01-02T15:04Z\n"
    "  RFC3339:                2006-01-02T15:04:05Z\n  RFC3339Milli:           2006-01-02T15:04:05.999Z\n"
    "  RFC3339Micro:           2006-01-02T15:04:05.999999Z\n  RFC3339Nano:            2006-01-02T15:04:05.999999999Z\n"
    "  RFC1123Z:               Mon, 02 Jan 2006 15:04:05 -0700";

google::protobuf::Timestamp timestamp(WallTime time) {
    return google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
        std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

// Writes what the printer made; false when nobody reads any more.
bool emit(const FlowPrinter::Text& text, bool at_once) {
    if (!text.err.empty()) std::fwrite(text.err.data(), 1, text.err.size(), stderr);
    if (text.out.empty()) return true;
    return std::fwrite(text.out.data(), 1, text.out.size(), stdout) == text.out.size() &&
           (!at_once || std::fflush(stdout) == 0);
}

// Opens a stream and prints it to its end; what the user cancels is no error.
template <class Request, class Response>
Status print_stream(const Settings& settings,
                    std::unique_ptr<grpc::ClientReader<Response>> (observer::Observer::Stub::*question)(
                        grpc::ClientContext*, const Request&),
                    const Request& request, FlowPrinter& printer) {
    TRY_ASSIGN(const Connection connection, Connection::open(settings));
    const auto stub = observer::Observer::NewStub(connection.channel());
    grpc::ClientContext context;
    connection.prepare(context, true);
    const CancelOnInterrupt interrupt(context);
    const auto reader = ((*stub).*question)(&context, request);
    Response response;
    while (reader->Read(&response)) {
        if (emit(printer.print(response), request.follow())) continue;
        context.TryCancel();
        break;
    }
    const grpc::Status status = reader->Finish();
    write_text(printer.finish());
    if (status.ok() || status.error_code() == grpc::StatusCode::CANCELLED) return {};
    return forward_error(connection.error(status));
}

}  // namespace

ObserveCommand::ObserveCommand(Settings& settings) : settings_(settings) {
    selectors_.boolean("all", 0, all_, "Get all flows of Hubble's buffer: many; use it with filters");
    selectors_.number("last", last_,
                      "Get the last N flows of Hubble's buffer (default 20); of the relay: of each node");
    selectors_.number("first", first_, "Get the first N flows of Hubble's buffer; of the relay: of each node");
    selectors_.boolean("follow", 'f', follow_, "Go on with the flows to come");
    const std::string moment = ", relative (3s, 4m, 1h43m) or one of:";
    selectors_.text("since", 0, since_, "Show flows since a time" + moment + kTimeFormats);
    selectors_.text("until", 0, until_, "Show flows until a time" + moment + kTimeFormats);
    raw_filters_.texts("allowlist", allow_list_, "Show flows that this FlowFilter (JSON) matches", false);
    raw_filters_.texts("denylist", deny_list_, "Leave out flows that this FlowFilter (JSON) matches", false);
    formatting_.text(
        "output", 'o', output_,
        "Output, one of:\n  compact:  one line a flow\n  dict:     KEY: VALUE lines\n  jsonpb:   JSON of the "
        "response, one a line\n  json:     the same\n  table:    aligned columns");
    formatting_.boolean("print-node-name", 0, node_name_, "Print the node");
    formatting_.boolean("print-policy-names", 0, policy_names_, "Print which policies decided");
    formatting_.text("time-format", 0, time_format_,
                     std::string("Format of times, except in JSON. One of:") + kTimeFormats);
    flow_format_.boolean("numeric", 0, numeric_, "Print numbers instead of names");
    flow_format_.boolean("ip-translation", 0, translate_, "Print names of pods, services and DNS instead of addresses");
    flow_format_.text("color", 0, colour_, "Colour compact and dict output: auto, always or never");
    flow_format_.boolean("explain", 0, explain_,
                         "Behind each drop print why it was dropped, and a policy that would allow it (compact, dict)");
    other_.boolean("silent-errors", 's', silent_, "Keep errors and warnings silent");
    other_.boolean("print-raw-filters", 0, print_raw_, "Print the filters and end");
    other_.text("input-file", 0, input_file_, "Read flows from this file instead of a server; '-' is standard input");
    other_.texts("field-mask", field_mask_, "Get only these fields of flows (JSON output)", true);
    other_.boolean("use-default-field-masks", 0, default_masks_,
                   "Get only the fields that compact, dict and table show");
}

std::vector<const FlagSet*> ObserveCommand::flag_sets(const std::string& what) const {
    std::vector<const FlagSet*> sets{&selectors_};
    if (what == "flows") sets.insert(sets.end(), {&filters_.set(), &raw_filters_});
    sets.push_back(&formatting_);
    if (what == "flows") sets.push_back(&flow_format_);
    sets.insert(sets.end(), {&settings_.server_flags(), &other_, &settings_.global_flags()});
    return sets;
}

Result<ObserveCommand::Window> ObserveCommand::window(WallTime now) const {
    Window out;
    if (!since_.empty()) {
        auto since = parse_moment(since_, now);
        if (!since) return std::unexpected(std::move(since.error()).with_context("failed to parse the since time"));
        out.since = timestamp(*since);
    }
    // With --follow there is no end.
    if (!until_.empty() && !follow_) {
        auto until = parse_moment(until_, now);
        if (!until) return std::unexpected(std::move(until.error()).with_context("failed to parse the until time"));
        out.until = timestamp(*until);
    }
    return out;
}

Result<observer::GetFlowsRequest> ObserveCommand::flows_request(WallTime now) const {
    TRY(filters_.check());
    const bool first = first_ > 0, last = last_ > 0;
    const auto both = [](const char* a, const char* b) {
        return fail(Code::kInvalidArgument, std::string("cannot set both --") + a + " and --" + b);
    };
    if (first && last) return both("first", "last");
    if (first && all_) return both("first", "all");
    if (first && follow_) return both("first", "follow");
    if (last && all_) return both("last", "all");
    TRY_ASSIGN(const Window times, window(now));
    observer::GetFlowsRequest request;
    std::uint64_t number = first ? first_ : last_;
    if (!times.since && !times.until && !first) {
        if (all_)
            number = UINT64_MAX;
        else if (last_ == 0 && !follow_ && input_file_.empty())
            number = kUsualCount;
    }
    request.set_number(number);
    request.set_first(first);
    request.set_follow(follow_);
    if (times.since) *request.mutable_since() = *times.since;
    if (times.until) *request.mutable_until() = *times.until;
    for (flow::FlowFilter& filter : filters_.allow()) *request.add_whitelist() = std::move(filter);
    for (flow::FlowFilter& filter : filters_.deny()) *request.add_blacklist() = std::move(filter);
    // Those of the environment and the config file count when the flag is not given.
    TRY_ASSIGN(const auto allow,
               parse_raw_filters("allowlist", allow_list_.empty() ? settings_.list("allowlist") : allow_list_));
    TRY_ASSIGN(const auto deny,
               parse_raw_filters("denylist", deny_list_.empty() ? settings_.list("denylist") : deny_list_));
    for (const flow::FlowFilter& filter : allow) *request.add_whitelist() = filter;
    for (const flow::FlowFilter& filter : deny) *request.add_blacklist() = filter;

    // What else an agent of ours knows of a drop; it tells only who asks, and others do not look at it.
    if (explain_) request.mutable_extensions()->PackFrom(axoneme::FlowCounters());

    const bool json = parse_observe_output(output_).value_or(ObserveOutput::kCompact) == ObserveOutput::kJson;
    std::vector<std::string> mask = field_mask_;
    if (!json && !mask.empty())
        return fail(Code::kInvalidArgument, output_ + " output format is not compatible with custom field mask");
    if (!json && default_masks_) mask.assign(std::begin(kVisibleFields), std::end(kVisibleFields));
    for (const std::string& path : mask) {
        if (!google::protobuf::util::FieldMaskUtil::IsValidPath<flow::Flow>(path))
            return fail(Code::kInvalidArgument, "failed to construct field mask: invalid path \"" + path +
                                                    "\": a flow has fields such as source.pod_name and l4");
        // Where Hubble 1.19 has it, and where servers before it look.
        request.mutable_field_mask()->add_paths(path);
        request.mutable_experimental()->mutable_field_mask()->add_paths(path);
    }
    return request;
}

Result<PrinterOptions> ObserveCommand::printer_options(bool terminal) const {
    PrinterOptions options;
    const char* compat = std::getenv("HUBBLE_COMPAT");
    const bool legacy =
        compat != nullptr && std::string_view(compat).find("legacy-json-output") != std::string_view::npos;
    TRY_ASSIGN(options.output, parse_observe_output(output_));
    if (options.output == ObserveOutput::kJson && legacy && output_ != "jsonpb")
        options.output = ObserveOutput::kJsonLegacy;
    if (options.output == ObserveOutput::kTable && follow_)
        return fail(Code::kInvalidArgument, "table output format is not compatible with follow mode");
    if (colour_ == "always")
        options.colour = true;
    else if (colour_ == "auto")
        options.colour = terminal && std::getenv("NO_COLOR") == nullptr;
    else if (colour_ != "never")
        return fail(Code::kInvalidArgument, "--color: expected auto, always or never, got " + colour_);
    if (explain_ && options.output != ObserveOutput::kCompact && options.output != ObserveOutput::kDict)
        return fail(Code::kInvalidArgument, "--explain goes with the output formats compact and dict");
    options.time = time_layout(time_format_);
    options.translate_ips = translate_ && !numeric_;
    options.node_name = node_name_;
    options.policy_names = policy_names_;
    options.debug = settings_.flag("debug");
    options.silent_errors = silent_;
    options.explain = explain_;
    return options;
}

Status ObserveCommand::flows() {
    TRY_ASSIGN(const PrinterOptions options, printer_options(::isatty(STDOUT_FILENO) == 1));
    TRY_ASSIGN(const observer::GetFlowsRequest request, flows_request(std::chrono::system_clock::now()));
    if (print_raw_) {
        write_text(raw_filters_yaml({request.whitelist().begin(), request.whitelist().end()},
                                    {request.blacklist().begin(), request.blacklist().end()}));
        return {};
    }
    FlowPrinter printer(options);
    if (!input_file_.empty()) {
        if (settings_.flag("port-forward"))
            return fail(Code::kInvalidArgument, "cannot use --input-file and --port-forward together");
        std::ifstream file;
        if (input_file_ != "-") {
            file.open(input_file_);
            if (!file) return fail_errno("open " + input_file_);
        }
        TRY(read_flows(
            input_file_ == "-" ? std::cin : file, request,
            [&](const observer::GetFlowsResponse& response) { return emit(printer.print(response), false); },
            [&](const std::string& warning) {
                if (!silent_) std::fprintf(stderr, "Warning: %s: %s\n", input_file_.c_str(), warning.c_str());
            }));
        write_text(printer.finish());
        return {};
    }
    return print_stream(settings_, &observer::Observer::Stub::GetFlows, request, printer);
}

template <class Request>
Result<Request> ObserveCommand::events_request() const {
    TRY_ASSIGN(const Window times, window(std::chrono::system_clock::now()));
    Request request;
    request.set_number(last_);
    if (!times.since && !times.until) {
        if (all_)
            request.set_number(UINT64_MAX);
        else if (last_ == 0)
            request.set_number(kUsualCount);
    }
    request.set_follow(follow_);
    if (times.since) *request.mutable_since() = *times.since;
    if (times.until) *request.mutable_until() = *times.until;
    return request;
}

Status ObserveCommand::agent_events() {
    TRY_ASSIGN(const PrinterOptions options, printer_options(false));
    TRY_ASSIGN(const auto request, events_request<observer::GetAgentEventsRequest>());
    FlowPrinter printer(options);
    return print_stream(settings_, &observer::Observer::Stub::GetAgentEvents, request, printer);
}

Status ObserveCommand::debug_events() {
    TRY_ASSIGN(const PrinterOptions options, printer_options(false));
    TRY_ASSIGN(const auto request, events_request<observer::GetDebugEventsRequest>());
    FlowPrinter printer(options);
    return print_stream(settings_, &observer::Observer::Stub::GetDebugEvents, request, printer);
}

Status ObserveCommand::run(const std::string& what) {
    if (what == "agent-events") return agent_events();
    if (what == "debug-events") return debug_events();
    return flows();
}

}  // namespace axo::cli
