#include "app/relay/web_flows.h"

#include <axoneme/flow_counters.pb.h>

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "app/relay/web.h"
#include "app/relay/web_query.h"
#include "hubble/text/explain.h"
#include "hubble/text/proto_json.h"
#include "model/json.h"
#include "model/json_text.h"

namespace axo {
namespace {

constexpr std::chrono::milliseconds kPumpEvery{100};
constexpr std::chrono::seconds kHeartbeat{5};
constexpr std::size_t kFlowsPerLine = 250;
// What waits in the socket's queue. Above that the client gets nothing more for the moment; the query's own bounded
// queue fills, and what does not fit there is lost and told.
constexpr std::size_t kMostPending = 2U << 20;
// Each of many nodes holds a part of the latest flows: how many times its share a node is asked for.
constexpr std::uint64_t kShare = 4;
constexpr std::uint64_t kLeastOfNode = 500;

// The fields that a picture or a table needs; without the long texts that each drop carries, unless they are asked for.
void narrow(flow::Flow& flow, bool full) {
    flow.clear_ethernet();
    flow.clear_event_type();
    flow.clear_node_labels();
    flow.clear_summary();
    axoneme::FlowCounters counters;
    if (!flow.has_extensions() || !flow.extensions().UnpackTo(&counters)) counters.Clear();
    if (full) {
        const auto why = explain_drop(flow);
        if (!why) return;
        if (counters.explanation().empty()) counters.set_explanation(why->sentence);
        if (counters.suggested_policy().empty()) counters.set_suggested_policy(why->policy);
    } else {
        if (counters.explanation().empty() && counters.suggested_policy().empty() && counters.drop_rule().empty())
            return;
        counters.clear_explanation();
        counters.clear_suggested_policy();
        counters.clear_drop_rule();
    }
    flow.mutable_extensions()->PackFrom(counters);
}

}  // namespace

class WebFlows::Stream : public std::enable_shared_from_this<Stream> {
public:
    Stream(std::shared_ptr<HttpResponder> responder, bool follow, bool full, std::uint64_t most_of_node)
        : responder_(std::move(responder)), follow_(follow), full_(full), most_of_node_(most_of_node) {}
    ~Stream() {
        if (query_) query_->cancel();
    }

    void begin(std::shared_ptr<relay_server::FlowQuery> query) {
        query_ = std::move(query);
        responder_->send_head(200, "application/x-ndjson");
    }

    // False when it is over.
    bool pump(relay_server::FlowQuery::Clock::time_point now) {
        if (responder_->client_gone()) return false;
        while (responder_->pending_bytes() < kMostPending) {
            const auto bytes = query_->pop();
            if (!bytes) break;
            observer::GetFlowsResponse response;
            if (response.ParseFromString(*bytes)) take(response);
            if (flows_in_line_ >= kFlowsPerLine && !flush()) return false;
        }
        if (!flush()) return false;
        if (!follow_ && query_->over()) {
            // What a node keeps may reach back further than was asked of it.
            for (const auto& [node, count] : counts_)
                if (most_of_node_ != 0 && count >= most_of_node_) complete_ = false;
            nlohmann::json end{{"complete", complete_}};
            if (!reason_.empty()) end["reason"] = reason_;
            say({{"end", end}});
            responder_->end();
            return false;
        }
        if (now - spoken_ >= kHeartbeat) {
            const auto time = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
            return say({{"heartbeat", to_text(time)}});
        }
        return true;
    }

private:
    void take(observer::GetFlowsResponse& response) {
        if (response.has_flow()) {
            narrow(*response.mutable_flow(), full_);
            line_ += line_.empty() ? "{\"flows\":[" : ",";
            line_ += proto_json(response.flow());
            ++flows_in_line_;
            if (!follow_) ++counts_[response.flow().node_name()];
        } else if (response.has_lost_events()) {
            const flow::LostEvent& lost = response.lost_events();
            say({{"lost",
                  {{"source", flow::LostEventSource_Name(lost.source())},
                   {"count", lost.num_events_lost()},
                   {"node", response.node_name()}}}});
        } else if (response.has_node_status()) {
            const relay::NodeStatusEvent& event = response.node_status();
            nlohmann::json nodes = nlohmann::json::array();
            for (const std::string& name : event.node_names())
                nodes.push_back({{"name", name},
                                 {"state", relay::NodeState_Name(event.state_change())},
                                 {"message", event.message()}});
            if (event.state_change() == relay::NODE_ERROR || event.state_change() == relay::NODE_UNAVAILABLE) {
                complete_ = false;
                if (reason_.empty() && event.node_names_size() != 0)
                    reason_ = "Flows of " + event.node_names(0) + " are missing" +
                              (event.message().empty() ? "" : ": " + event.message());
            }
            say({{"nodes", nodes}});
        }
    }
    bool flush() {
        if (line_.empty()) return true;
        line_ += "]}\n";
        flows_in_line_ = 0;
        spoken_ = relay_server::FlowQuery::Clock::now();
        return responder_->send_chunk(std::exchange(line_, {}));
    }
    bool say(const nlohmann::json& value) {
        if (!flush()) return false;
        spoken_ = relay_server::FlowQuery::Clock::now();
        return responder_->send_chunk(json_text(value) + "\n");
    }

    const std::shared_ptr<HttpResponder> responder_;
    const bool follow_, full_;
    const std::uint64_t most_of_node_;
    std::shared_ptr<relay_server::FlowQuery> query_;
    std::string line_;
    std::size_t flows_in_line_ = 0;
    std::map<std::string, std::uint64_t> counts_;
    bool complete_ = true;
    std::string reason_;
    relay_server::FlowQuery::Clock::time_point spoken_{};
};

WebFlows::WebFlows(EventLoop& loop, relay_server::RelayService& service) : service_(service), gate_(loop) {
    // Lines that are gathered for a tenth of a second cost a tenth of what each flow alone would.
    timer_ = loop.every(kPumpEvery, [this] {
        const auto now = relay_server::FlowQuery::Clock::now();
        std::erase_if(streams_, [&](const std::shared_ptr<Stream>& stream) { return !stream->pump(now); });
    });
}

WebFlows::~WebFlows() = default;

void WebFlows::serve(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    auto wanted = web_flows_request(request);
    if (!wanted) return responder->send(web_error(wanted.error()));
    const std::string full = request.query_value("full");
    if (!full.empty() && full != "true" && full != "false")
        return responder->send(web_error(400, "full: '" + full + "': accepted: true, false"));
    // Agents tell their counters only to who asks for them.
    wanted->mutable_extensions()->PackFrom(axoneme::FlowCounters());
    std::uint64_t most = wanted->number();
    if (const std::size_t nodes = service_.pool().peers().size(); most != 0 && nodes > kShare) {
        most = std::min(most, std::max(kLeastOfNode, kShare * most / nodes));
        wanted->set_number(most);
    }
    const auto stream = std::make_shared<Stream>(responder, wanted->follow(), full == "true", most);
    // The timer asks often enough for who follows; an answer that is waited for goes on as soon as there is more.
    const std::weak_ptr<Stream> weak = stream;
    const bool follow = wanted->follow();
    auto query = service_.query(std::move(*wanted), [this, post = gate_.post(), weak, follow] {
        if (follow) return;
        post([this, weak] {
            const auto kept = weak.lock();
            if (kept && streams_.contains(kept) && !kept->pump(relay_server::FlowQuery::Clock::now()))
                streams_.erase(kept);
        });
    });
    if (!query) return responder->send(web_error(query.error()));
    stream->begin(std::move(*query));
    streams_.insert(stream);
}

}  // namespace axo
