#include "hubble/text/explain.h"

#include <axoneme/flow_counters.pb.h>
#include <flow/flow.pb.h>

#include <algorithm>

#include "hubble/text/flow_words.h"
#include "model/json.h"
#include "model/yaml.h"

namespace axo {
namespace {

constexpr int kPolicyDenied = 133;
constexpr int kPolicyDeny = 181;

using Policies = google::protobuf::RepeatedPtrField<flow::Policy>;

std::string who(const flow::Endpoint& end, const std::string& ip) {
    if (!end.pod_name().empty()) return end.namespace_() + "/" + end.pod_name();
    if (const std::string_view name = reserved_identity(end.identity()); !name.empty() && end.identity() != 0)
        return std::string(name) + (ip.empty() ? "" : " (" + ip + ")");
    return ip.empty() ? "identity " + std::to_string(end.identity()) : ip;
}

struct Port {
    std::string protocol;  // "TCP" …; empty: none that a policy knows
    std::uint32_t number = 0;
};

Port port_of(const flow::Layer4& l4) {
    switch (l4.protocol_case()) {
        case flow::Layer4::kTCP: return {"TCP", l4.tcp().destination_port()};
        case flow::Layer4::kUDP: return {"UDP", l4.udp().destination_port()};
        case flow::Layer4::kSCTP: return {"SCTP", l4.sctp().destination_port()};
        case flow::Layer4::kICMPv4: return {"ICMPv4", l4.icmpv4().type()};
        case flow::Layer4::kICMPv6: return {"ICMPv6", l4.icmpv6().type()};
        default: return {};
    }
}

std::string port_text(const Port& port) {
    if (port.protocol.starts_with("ICMP")) return port.protocol + " type " + std::to_string(port.number);
    return port.protocol.empty() ? "this protocol" : port.protocol + " port " + std::to_string(port.number);
}

std::string policy_names(const Policies& policies) {
    std::string out;
    for (const flow::Policy& policy : policies) {
        if (!out.empty()) out += ", ";
        out += policy.kind().empty() ? "policy " : policy.kind() + " ";
        if (!policy.namespace_().empty()) out += policy.namespace_() + "/";
        out += policy.name();
    }
    return out;
}

// What selects pods like this one: its own labels, without those that Kubernetes and the platform put on it.
Json pod_labels(const flow::Endpoint& end) {
    Json labels = Json::object();
    for (const std::string& label : end.labels()) {
        if (!label.starts_with("k8s:")) continue;
        const std::string_view text = std::string_view(label).substr(4);
        const std::size_t equal = text.find('=');
        const std::string key(text.substr(0, equal));
        if (key.starts_with("io.kubernetes.") || key.starts_with("io.cilium.") || key == "pod-template-hash" ||
            key == "controller-revision-hash" || key == "statefulset.kubernetes.io/pod-name")
            continue;
        labels[key] = equal == std::string_view::npos ? "" : std::string(text.substr(equal + 1));
    }
    return labels;
}

std::string label_value(const flow::Endpoint& end, std::string_view prefix) {
    for (const std::string& label : end.labels())
        if (label.starts_with(prefix)) return label.substr(prefix.size());
    return {};
}

Json one(Json value) {
    Json list = Json::array();
    list.push_back(std::move(value));
    return list;
}

// The members that say "to this peer" (egress) or "from this peer" (ingress). named: its address has a DNS name, which
// narrows it to that address: toFQDNs, the rule for the name itself, would be refused.
Json peer_rule(const flow::Endpoint& subject, const flow::Endpoint& peer, const std::string& ip, bool egress,
               bool named) {
    const std::string way = egress ? "to" : "from";
    Json rule = Json::object();
    if (!peer.namespace_().empty()) {
        Json labels = pod_labels(peer);
        if (peer.namespace_() != subject.namespace_()) labels["k8s:io.kubernetes.pod.namespace"] = peer.namespace_();
        Json selector = Json::object();
        if (!labels.empty()) selector["matchLabels"] = labels;
        rule[way + "Endpoints"] = one(selector);
        return rule;
    }
    if (named || !label_value(peer, "cidr:").empty() || peer.identity() == 0) {
        if (!ip.empty()) {
            rule[way + "CIDR"] = one(ip + (ip.find(':') == std::string::npos ? "/32" : "/128"));
            return rule;
        }
    }
    const std::string_view reserved = reserved_identity(peer.identity());
    if (!reserved.empty() && reserved != "unknown" && reserved != "unmanaged") {
        const bool world = reserved.starts_with("world");
        rule[way + "Entities"] = one(world ? "world" : std::string(reserved));
        return rule;
    }
    if (!ip.empty()) rule[way + "CIDR"] = one(ip + (ip.find(':') == std::string::npos ? "/32" : "/128"));
    return rule;
}

std::string suggested_policy(const flow::Flow& flow, const Port& port, bool egress) {
    const flow::Endpoint& subject = egress ? flow.source() : flow.destination();
    const flow::Endpoint& peer = egress ? flow.destination() : flow.source();
    if (subject.namespace_().empty() || port.protocol.empty()) return {};
    const Json labels = pod_labels(subject);
    const bool named = egress && flow.destination_names_size() != 0;
    Json rule = peer_rule(subject, peer, egress ? flow.ip().destination() : flow.ip().source(), egress, named);
    if (rule.empty()) return {};
    if (port.protocol.starts_with("ICMP")) {
        Json field = Json::object();
        field["family"] = port.protocol == "ICMPv6" ? "IPv6" : "IPv4";
        field["type"] = port.number;
        Json icmp = Json::object();
        icmp["fields"] = one(field);
        rule["icmps"] = one(icmp);
    } else {
        Json entry = Json::object();
        entry["port"] = std::to_string(port.number);
        entry["protocol"] = port.protocol;
        Json list = Json::object();
        list["ports"] = one(entry);
        rule["toPorts"] = one(list);
    }
    std::string app = subject.workloads_size() != 0 ? subject.workloads(0).name() : subject.pod_name();
    std::string name = "allow-" + app + (egress ? "-to-" : "-from-");
    name += peer.workloads_size() != 0 ? peer.workloads(0).name()
            : !peer.pod_name().empty() ? peer.pod_name()
                                       : std::string(egress ? "destination" : "source");
    name.resize(std::min<std::size_t>(name.size(), 253));
    Json policy = Json::object();
    policy["apiVersion"] = "cilium.io/v2";
    policy["kind"] = "CiliumNetworkPolicy";
    policy["metadata"]["name"] = name;
    policy["metadata"]["namespace"] = subject.namespace_();
    Json selector = Json::object();
    if (!labels.empty()) selector["matchLabels"] = labels;
    policy["spec"]["endpointSelector"] = selector;
    policy["spec"][egress ? "egress" : "ingress"] = one(rule);
    std::string comment;
    if (named && rule.contains("toCIDR"))
        comment = "# " + flow.ip().destination() + " is what " + flow.destination_names(0) + " stood for\n";
    return comment + to_yaml(policy);
}

axoneme::FlowCounters counters_of(const flow::Flow& flow) {
    axoneme::FlowCounters counters;
    if (!flow.has_extensions() || !flow.extensions().UnpackTo(&counters)) counters.Clear();
    return counters;
}

}  // namespace

std::optional<DropExplanation> explain_drop(const flow::Flow& flow) {
    if (flow.verdict() != flow::DROPPED) return std::nullopt;
    int reason = flow.drop_reason_desc();
    const bool verdict_event = flow.event_type().type() == static_cast<int>(MonitorType::kPolicyVerdict);
    if (reason == 0) reason = verdict_event ? kPolicyDenied : flow.event_type().sub_type();
    const axoneme::FlowCounters counters = counters_of(flow);
    const std::string source = who(flow.source(), flow.ip().source());
    const std::string destination = who(flow.destination(), flow.ip().destination());
    if (reason != kPolicyDenied && reason != kPolicyDeny) {
        DropExplanation out{.sentence = drop_reason_text(reason) + ": no policy decided this", .policy = {}};
        if (flow.has_file() && !flow.file().name().empty())
            out.sentence += "; dropped at " + flow.file().name() + ":" + std::to_string(flow.file().line());
        return out;
    }
    // A drop that does not say its direction is told by which end is local.
    const bool egress = flow.traffic_direction() == flow::EGRESS ||
                        (flow.traffic_direction() == flow::TRAFFIC_DIRECTION_UNKNOWN && flow.source().id() != 0);
    const flow::Endpoint& subject = egress ? flow.source() : flow.destination();
    const std::string& subject_name = egress ? source : destination;
    const std::string& peer_name = egress ? destination : source;
    const Port port = port_of(flow.l4());
    const std::string way = egress ? "egress to " + peer_name : "ingress from " + peer_name;
    const Policies& denied_by = egress ? flow.egress_denied_by() : flow.ingress_denied_by();
    DropExplanation out;
    if (reason == kPolicyDeny || !denied_by.empty() || !counters.drop_rule().empty()) {
        const std::string rule = !counters.drop_rule().empty() ? counters.drop_rule() : policy_names(denied_by);
        out.sentence = (rule.empty() ? "a deny rule" : rule) + " denies " + subject_name + " " + way + " at " +
                       port_text(port) +
                       "; a deny rule wins over every allow rule, so it has to be narrowed or removed";
        return out;
    }
    out.sentence = !counters.explanation().empty()
                       ? counters.explanation()
                       : "policies select " + subject_name + " for " + (egress ? "egress" : "ingress") +
                             ", and none of them allows " + way + " at " + port_text(port);
    out.policy =
        !counters.suggested_policy().empty() ? counters.suggested_policy() : suggested_policy(flow, port, egress);
    if (out.policy.empty() && subject.namespace_().empty())
        out.sentence += "; " + subject_name + " is no pod: a CiliumClusterwideNetworkPolicy has to select it";
    return out;
}

}  // namespace axo
