#include "app/relay/web_history.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/relay/web.h"
#include "app/relay/web_query.h"

namespace axo {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::size_t kMostSeries = 16;
constexpr std::size_t kMostBuckets = 2000;
constexpr std::uint64_t kMostFlows = 1'000'000;  // of a count
constexpr std::chrono::seconds kMostTime{8};
constexpr std::int64_t kCountedAgain = 2;  // buckets at the end that were still growing

std::int64_t now_seconds() {
    return std::chrono::system_clock::now().time_since_epoch() / std::chrono::seconds(1);
}

void count(VerdictCounts& counts, flow::Verdict verdict) {
    switch (verdict) {
        case flow::DROPPED: ++counts.dropped; break;
        case flow::AUDIT: ++counts.audit; break;
        case flow::ERROR: ++counts.error; break;
        default: ++counts.forwarded;
    }
}

}  // namespace

struct WebHistory::Series {
    std::string key;
    std::int64_t step = 10;
    std::int64_t since = 0, until = 0;  // seconds, of what has been counted
    bool complete = true;
    std::map<std::int64_t, VerdictCounts> buckets;
};

struct WebHistory::Count {
    std::shared_ptr<Series> series;
    std::shared_ptr<HttpResponder> responder;
    std::shared_ptr<relay_server::FlowQuery> query;
    std::int64_t since = 0, until = 0;  // counted now
    std::int64_t wanted_since = 0, wanted_until = 0;
    std::uint64_t flows = 0;
    bool complete = true;
    relay_server::FlowQuery::Clock::time_point started = relay_server::FlowQuery::Clock::now();
    std::map<std::int64_t, VerdictCounts> buckets;
    ~Count() {
        if (query) query->cancel();
    }
};

WebHistory::WebHistory(EventLoop& loop, relay_server::RelayService& service) : service_(service) {
    timer_ = loop.every(std::chrono::milliseconds(50), [this] {
        std::erase_if(counts_, [this](const std::shared_ptr<Count>& one) { return !pump(*one); });
    });
}

WebHistory::~WebHistory() = default;

void WebHistory::serve(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    auto wanted = web_flows_request(request);
    if (!wanted) return responder->send(web_error(wanted.error()));
    if (!wanted->has_since())
        return responder->send(web_error(400, "since: needed, a time as in 2026-01-31T12:00:00Z"));
    const std::string step_text = request.query_value("step");
    const auto step = web_step_seconds(step_text.empty() ? "10s" : step_text);
    if (!step) return responder->send(web_error(step.error()));
    const std::int64_t since = wanted->since().seconds() / *step * *step;
    const std::int64_t until = wanted->has_until() ? wanted->until().seconds() : now_seconds() + 1;
    if ((until - since) / *step > static_cast<std::int64_t>(kMostBuckets))
        return responder->send(web_error(400, "step: '" + step_text + "': more than " + std::to_string(kMostBuckets) +
                                                  " of them between since and until"));

    observer::GetFlowsRequest filters;
    *filters.mutable_whitelist() = wanted->whitelist();
    *filters.mutable_blacklist() = wanted->blacklist();
    const std::string key = std::to_string(*step) + " " + filters.SerializeAsString();
    auto known = std::ranges::find(series_, key, [](const std::shared_ptr<Series>& each) { return each->key; });
    if (known == series_.end()) {
        auto made = std::make_shared<Series>();
        made->key = key;
        made->step = *step;
        series_.push_front(std::move(made));
        if (series_.size() > kMostSeries) series_.pop_back();
    } else {
        series_.splice(series_.begin(), series_, known);
    }
    const std::shared_ptr<Series> series = series_.front();

    auto counting = std::make_shared<Count>();
    counting->series = series;
    counting->responder = responder;
    counting->wanted_since = since;
    counting->wanted_until = until;
    counting->since = since;
    counting->until = until;
    // What was counted before and has ended stays counted, if it joins what is wanted now.
    if (series->since <= since && series->until > since)
        counting->since = std::max(since, (series->until / *step - kCountedAgain) * *step);
    wanted->mutable_since()->set_seconds(counting->since);
    wanted->mutable_since()->set_nanos(0);
    wanted->mutable_until()->set_seconds(until);
    wanted->mutable_until()->set_nanos(0);
    wanted->set_follow(false);
    wanted->set_number(kMostFlows);
    // Of each flow only what is counted is sent.
    wanted->mutable_field_mask()->add_paths("time");
    wanted->mutable_field_mask()->add_paths("verdict");
    auto query = service_.query(std::move(*wanted), [] {});
    if (!query) return responder->send(web_error(query.error()));
    counting->query = std::move(*query);
    counts_.insert(std::move(counting));
}

// False when it is over.
bool WebHistory::pump(Count& one) {
    if (one.responder->client_gone()) return false;
    const std::int64_t step = one.series->step;
    // A slice at a time: streams of flows share the loop.
    for (int taken = 0; taken < 20'000; ++taken) {
        const auto bytes = one.query->pop();
        if (!bytes) break;
        observer::GetFlowsResponse response;
        if (!response.ParseFromString(*bytes)) continue;
        if (response.has_flow()) {
            const auto& time = response.has_time() ? response.time() : response.flow().time();
            count(one.buckets[time.seconds() / step * step], response.flow().verdict());
            if (++one.flows >= kMostFlows) one.complete = false;
        } else if (response.has_lost_events() || response.node_status().state_change() == relay::NODE_ERROR ||
                   response.node_status().state_change() == relay::NODE_UNAVAILABLE) {
            one.complete = false;
        }
    }
    const bool late = relay_server::FlowQuery::Clock::now() - one.started > kMostTime;
    if (!one.query->over() && !late && one.flows < kMostFlows) return true;
    if (late) one.complete = false;
    finish(one);
    return false;
}

void WebHistory::finish(Count& one) {
    Series& series = *one.series;
    const bool joins = series.since <= one.since && series.until >= one.since;
    if (!joins) {
        series.buckets.clear();
        series.since = one.since;
        series.complete = true;
    }
    series.buckets.erase(series.buckets.lower_bound(one.since), series.buckets.end());
    series.buckets.merge(one.buckets);
    series.until = std::min(one.until, now_seconds());
    // What is too old for anybody to have asked for lately.
    const auto first = series.buckets.lower_bound(one.wanted_since - (one.wanted_until - one.wanted_since));
    if (first != series.buckets.begin()) series.since = first == series.buckets.end() ? one.wanted_since : first->first;
    series.buckets.erase(series.buckets.begin(), first);
    series.complete = series.complete && one.complete;
    answer(series, one.wanted_since, one.wanted_until, *one.responder);
    if (!one.complete) series.until = 0;  // counted anew the next time
}

void WebHistory::answer(const Series& series, std::int64_t since, std::int64_t until, HttpResponder& responder) const {
    nlohmann::json buckets = nlohmann::json::array();
    for (auto bucket = series.buckets.lower_bound(since); bucket != series.buckets.end() && bucket->first < until;
         ++bucket)
        buckets.push_back({{"time", to_text(bucket->first * kSecond)},
                           {"forwarded", bucket->second.forwarded},
                           {"dropped", bucket->second.dropped},
                           {"audit", bucket->second.audit},
                           {"error", bucket->second.error}});
    responder.send(
        {.status = 200,
         .body = nlohmann::json{{"step_seconds", series.step}, {"complete", series.complete}, {"buckets", buckets}}
                     .dump()});
}

}  // namespace axo
