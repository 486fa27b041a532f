// GET, PATCH, DELETE /prefilter: the list of sources that XDP drops.
#include "app/agent/api/api.h"
#include "model/json.h"

namespace axo {

namespace {

constexpr int kInvalidCidr = 461;  // of Cilium's API

struct PrefilterSpec {
    std::int64_t revision = 0;
    std::vector<Prefix> deny;
};

Result<PrefilterSpec> parse_prefilter(const std::string& body) {
    const Json json = Json::parse(body, nullptr, false);
    const JsonReader reader(json, "prefilter");
    PrefilterSpec spec{.revision = reader.integer("revision", 0, INT64_MAX), .deny = {}};
    for (const std::string& text : reader.strings("deny")) {
        auto prefix = Prefix::parse(text);
        if (!prefix) return fail(Code::kInvalidArgument, "deny: \"" + text + "\": accepted: a CIDR, e.g. 192.0.2.0/24");
        spec.deny.push_back(*prefix);
    }
    if (spec.deny.empty()) reader.require("deny", "a list of CIDRs, e.g. [\"192.0.2.0/24\"]");
    TRY(reader.status());
    return spec;
}

}  // namespace

Result<Json> AgentApi::prefilter_json() const {
    Json deny = Json::array();
    TRY_ASSIGN(const std::vector<Prefix> prefixes, plane_.prefilter_->list());
    for (const Prefix& prefix : prefixes) deny.push_back(prefix.to_string());
    Json spec{{"revision", plane_.prefilter_->revision()}, {"deny", std::move(deny)}};
    return Json{{"spec", spec}, {"status", {{"realized", spec}}}};
}

void AgentApi::change_prefilter(const Call& call, PrefilterChange change) {
    if (plane_.prefilter_) {
        const auto spec = parse_prefilter(call.request.body);
        if (!spec) return call.fail(kInvalidCidr, spec.error().message);
        if (const Status done = (*plane_.prefilter_.*change)(spec->revision, spec->deny); !done)
            return call.fail(500, done.error().message);
    }
    answer_prefilter(call);
}

void AgentApi::answer_prefilter(const Call& call) const {
    if (!plane_.prefilter_)
        return call.fail(500, "there is no list of sources to drop; it needs enable-xdp-prefilter=true");
    if (const auto json = prefilter_json()) {
        call.answer(200, *json);
    } else {
        call.fail(json.error());
    }
}

void AgentApi::add_prefilter_routes() {
    add("GET", "/v1/prefilter", [this](const Call& call) { answer_prefilter(call); });
    add("PATCH", "/v1/prefilter", [this](const Call& call) { change_prefilter(call, &Prefilter::add); });
    add("DELETE", "/v1/prefilter", [this](const Call& call) { change_prefilter(call, &Prefilter::remove); });
}

}  // namespace axo
