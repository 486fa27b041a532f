#include "app/relay/web_query.h"

#include <google/protobuf/util/time_util.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "hubble/match/flow_match.h"
#include "hubble/text/proto_json.h"

namespace axo {
namespace {

using google::protobuf::util::TimeUtil;
constexpr std::uint64_t kMostFlows = 1'000'000;

std::unexpected<Error> wrong(const std::string& name, const std::string& value, const std::string& accepted) {
    return fail(Code::kInvalidArgument, name + ": '" + value + "': " + accepted);
}

Status read_time(const HttpRequest& request, const std::string& name, google::protobuf::Timestamp* time) {
    const std::string text = request.query_value(name);
    if (!TimeUtil::FromString(text, time)) return wrong(name, text, "accepted: a time as in 2026-01-31T12:00:00Z");
    return {};
}

Status read_bool(const HttpRequest& request, const std::string& name, bool& value) {
    const std::string text = request.query_value(name);
    if (text.empty() || text == "false")
        value = false;
    else if (text == "true")
        value = true;
    else
        return wrong(name, text, "accepted: true, false");
    return {};
}

// A parameter given several times arrives as one value, joined by commas: objects in a row, which is a JSON list.
Status read_filters(const HttpRequest& request, const std::string& name, std::vector<flow::FlowFilter>& filters) {
    const std::string text = request.query_value(name);
    if (text.empty()) return {};
    const auto list = nlohmann::json::parse("[" + text + "]", nullptr, false);
    if (list.is_discarded()) return wrong(name, text, "no JSON object of the form of Hubble's FlowFilter");
    for (const auto& item : list) {
        if (!item.is_object()) return wrong(name, item.dump(), "no JSON object of the form of Hubble's FlowFilter");
        if (auto read = parse_proto_json(item.dump(), UnknownFields::kRefuse, filters.emplace_back()); !read)
            return wrong(name, item.dump(), read.error().message);
    }
    return {};
}

std::int64_t to_nanoseconds(const google::protobuf::Timestamp& time) {
    return TimeUtil::TimestampToNanoseconds(time);
}

}  // namespace

std::string to_text(std::int64_t nanoseconds) {
    return TimeUtil::ToString(TimeUtil::NanosecondsToTimestamp(nanoseconds));
}

Result<observer::GetFlowsRequest> web_flows_request(const HttpRequest& request) {
    observer::GetFlowsRequest out;
    if (request.query.contains("since")) TRY(read_time(request, "since", out.mutable_since()));
    if (request.query.contains("until")) TRY(read_time(request, "until", out.mutable_until()));
    if (out.has_since() && out.has_until() && to_nanoseconds(out.until()) <= to_nanoseconds(out.since()))
        return wrong("until", request.query_value("until"), "not after since");
    bool follow = false;
    TRY(read_bool(request, "follow", follow));
    out.set_follow(follow);
    if (follow && out.has_until()) return wrong("follow", "true", "has no end; leave out until");
    if (const std::string last = request.query_value("last"); !last.empty()) {
        std::uint64_t number = 0;
        const auto read = std::from_chars(last.data(), last.data() + last.size(), number);
        if (read.ec != std::errc() || read.ptr != last.data() + last.size() || number == 0 || number > kMostFlows)
            return wrong("last", last, "accepted: 1 to " + std::to_string(kMostFlows));
        out.set_number(number);
    }
    std::vector<flow::FlowFilter> allow, deny;
    TRY(read_filters(request, "filter", allow));
    TRY(read_filters(request, "exclude", deny));
    // Broken expressions are refused here, not by every node.
    if (auto matcher = FlowMatcher::build(allow, deny); !matcher) return forward_error(std::move(matcher).error());
    for (flow::FlowFilter& filter : allow) *out.add_whitelist() = std::move(filter);
    for (flow::FlowFilter& filter : deny) *out.add_blacklist() = std::move(filter);
    return out;
}

Result<std::int64_t> web_step_seconds(const std::string& text) {
    std::int64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit(read.ptr, text.data() + text.size());
    const std::int64_t scale = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
    if (read.ec != std::errc() || scale == 0 || number < 1 || number > 86'400)
        return wrong("step", text, "accepted: seconds, minutes or hours as in 10s, 1m, 1h");
    return number * scale;
}

}  // namespace axo
