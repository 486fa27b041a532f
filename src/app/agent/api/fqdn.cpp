// /fqdn: which addresses pods were given for which names. Observed, not enforced: there are no rules for names.
#include <charconv>

#include "app/agent/api/api.h"
#include "model/fqdn_pattern.h"
#include "model/time.h"

namespace axo {

namespace {

constexpr const char* kNoTime = "0001-01-01T00:00:00Z";  // Go's zero time

WallTime wall_time(std::int64_t ns) {
    return WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(ns)));
}

struct Wanted {
    std::optional<FqdnPattern> pattern;
    std::optional<Prefix> cidr;
    std::string source;
    std::optional<std::uint32_t> endpoint;
};

Result<Wanted> parse_wanted(const HttpRequest& request) {
    Wanted wanted;
    if (const std::string text = request.query_value("matchpattern"); !text.empty()) {
        auto pattern = FqdnPattern::parse(text);
        if (!pattern) return fail(Code::kInvalidArgument, "matchpattern: " + pattern.error().message);
        wanted.pattern = std::move(*pattern);
    }
    if (const std::string text = request.query_value("cidr"); !text.empty()) {
        const auto cidr = Prefix::parse(text);
        if (!cidr) return fail(Code::kInvalidArgument, "cidr: \"" + text + "\": accepted: a CIDR, e.g. 192.0.2.0/24");
        wanted.cidr = *cidr;
    }
    wanted.source = request.query_value("source");
    if (!wanted.source.empty() && wanted.source != "lookup" && wanted.source != "connection")
        return fail(Code::kInvalidArgument, "source: \"" + wanted.source + "\": accepted: lookup, connection");
    return wanted;
}

// Past its time to live an answer is kept for the connections that it has led to.
Json lookup_json(const hubble::DnsNames::Lookup& lookup, bool current, const Json& ips) {
    const WallTime time = wall_time(lookup.time_ns);
    return {{"endpoint-id", lookup.endpoint},
            {"source", current ? "lookup" : "connection"},
            {"fqdn", lookup.name + "."},
            {"lookup-time", format_time_nano(time)},
            {"ttl", current ? lookup.ttl : 0},
            {"expiration-time", current ? format_time_nano(time + std::chrono::seconds(lookup.ttl)) : kNoTime},
            {"ips", ips}};
}

}  // namespace

void AgentApi::list_lookups(const Call& call) const {
    auto wanted = parse_wanted(call.request);
    if (!wanted) return call.fail(400, wanted.error().message);
    if (!call.parameters.empty()) {
        const std::string& text = call.parameters[0];
        std::uint32_t id = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
        if (error != std::errc{} || end != text.data() + text.size())
            return call.fail(400, "id: \"" + text + "\": accepted: an endpoint's number");
        wanted->endpoint = id;
    }
    Json all = Json::array();
    const WallTime now = std::chrono::system_clock::now();
    for (const auto& lookup :
         plane_.hubble_ ? plane_.hubble_->names().dns_lookups() : std::vector<hubble::DnsNames::Lookup>()) {
        if (wanted->endpoint && *wanted->endpoint != lookup.endpoint) continue;
        if (wanted->pattern && !wanted->pattern->matches(lookup.name)) continue;
        const bool current = wall_time(lookup.time_ns) + std::chrono::seconds(lookup.ttl) > now;
        if (!wanted->source.empty() && wanted->source != (current ? "lookup" : "connection")) continue;
        Json ips = Json::array();
        for (const IpAddress& ip : lookup.ips) {
            if (!wanted->cidr || wanted->cidr->contains(ip)) ips.push_back(ip.to_string());
        }
        if (!ips.empty()) all.push_back(lookup_json(lookup, current, ips));
    }
    // So says the API, and its clients show an empty table.
    if (all.empty()) return call.answer(404);
    call.answer(200, all);
}

void AgentApi::forget_lookups(const Call& call) const {
    const auto wanted = parse_wanted(call.request);
    if (!wanted) return call.fail(400, wanted.error().message);
    if (plane_.hubble_) {
        plane_.hubble_->names().forget_dns_names(
            [&](const std::string& name) { return !wanted->pattern || wanted->pattern->matches(name); });
    }
    call.answer(200);
}

void AgentApi::add_fqdn_routes() {
    add("GET", "/v1/fqdn/cache", [this](const Call& call) { list_lookups(call); });
    add("GET", "/v1/fqdn/cache/{}", [this](const Call& call) { list_lookups(call); });
    add("DELETE", "/v1/fqdn/cache", [this](const Call& call) { forget_lookups(call); });
    add("GET", "/v1/fqdn/names", [](const Call& call) {
        call.answer(200, {{"DNSPollNames", Json::array()}, {"FQDNPolicySelectors", Json::array()}});
    });
}

}  // namespace axo
