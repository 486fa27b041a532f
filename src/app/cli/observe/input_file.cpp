#include "app/cli/observe/input_file.h"

#include <deque>
#include <tuple>

#include "hubble/match/flow_match.h"
#include "hubble/text/proto_json.h"

namespace axo::cli {
namespace {

constexpr std::uint64_t kMostLast = 1'000'000;

auto moment(const google::protobuf::Timestamp& time) {
    return std::tuple(time.seconds(), time.nanos());
}

// An exporter's line has no time of its own.
const google::protobuf::Timestamp& time_of(const observer::GetFlowsResponse& response) {
    return response.has_time() || !response.has_flow() ? response.time() : response.flow().time();
}

}  // namespace

Status read_flows(std::istream& in, const observer::GetFlowsRequest& request,
                  const std::function<bool(const observer::GetFlowsResponse&)>& take,
                  const std::function<void(const std::string&)>& warn) {
    TRY_ASSIGN(const FlowMatcher matcher, FlowMatcher::build({request.whitelist().begin(), request.whitelist().end()},
                                                             {request.blacklist().begin(), request.blacklist().end()}));
    const std::uint64_t number = request.number() == UINT64_MAX ? 0 : request.number();
    if (!request.first() && number > kMostLast)
        return fail(Code::kInvalidArgument, "--last must be <= 1_000_000, got " + std::to_string(number));
    std::deque<observer::GetFlowsResponse> latest;
    std::uint64_t taken = 0, line_number = 0;
    bool told_unknown = false;
    for (std::string line; std::getline(in, line);) {
        ++line_number;
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        observer::GetFlowsResponse response;
        Status read = parse_proto_json(line, UnknownFields::kRefuse, response);
        if (!read) {
            const std::string first_error = read.error().message;
            read = parse_proto_json(line, UnknownFields::kSkip, response);
            if (read && !std::exchange(told_unknown, true))
                warn("line " + std::to_string(line_number) + ": unknown fields are left out: " + first_error);
        }
        if (!read) {
            warn("line " + std::to_string(line_number) + ": not a flow: " + read.error().message);
            continue;
        }
        if (request.has_since() && moment(time_of(response)) < moment(request.since())) continue;
        if (request.has_until() && moment(time_of(response)) > moment(request.until())) continue;
        // Lost events and node states pass every filter, as they do from a server.
        if (response.has_flow() && !matcher.matches(response.flow())) continue;
        if (number != 0 && !request.first()) {
            latest.push_back(std::move(response));
            if (latest.size() > number) latest.pop_front();
            continue;
        }
        if (!take(response)) return {};
        if (number != 0 && ++taken == number) return {};
    }
    if (in.bad()) return fail(Code::kDataLoss, "reading stopped at line " + std::to_string(line_number));
    for (const observer::GetFlowsResponse& response : latest)
        if (!take(response)) return {};
    return {};
}

}  // namespace axo::cli
