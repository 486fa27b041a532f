#include "hubble/core/flow_metrics.h"

#include <algorithm>

#include "bpf/api/drop_reason.h"
#include "bpf/api/policy.h"
#include "hubble/core/flow_names.h"

namespace axo::hubble {

namespace {

// A rule is named by the control loop, some time after the first verdict that has it.
constexpr std::chrono::seconds kNaming{5};
constexpr std::size_t kMaxUnnamed = 1024;

std::uint8_t match_type(const FlowRecord& record) {
    const auto info = record.rule ? record.rule->info() : nullptr;
    return info ? info->match_type : std::uint8_t{0};
}

const std::vector<std::string> kContextLabels = {"source_ip",
                                                 "source_pod",
                                                 "source_namespace",
                                                 "source_workload",
                                                 "source_workload_kind",
                                                 "source_app",
                                                 "destination_ip",
                                                 "destination_pod",
                                                 "destination_namespace",
                                                 "destination_workload",
                                                 "destination_workload_kind",
                                                 "destination_app",
                                                 "traffic_direction"};

std::vector<std::string> split(const std::string& text, const std::string& separators) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = std::min(text.find_first_of(separators, begin), text.size());
        if (end > begin) parts.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
}

std::string join(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
    return text;
}

bool has_label(const EndpointRef& end, std::string_view label) {
    return end && std::ranges::find(end->labels->texts, label) != end->labels->texts.end();
}

std::string app_of(const EndpointInfo& info) {
    for (const Label& label : info.labels->labels) {
        const bool names = label.key == "app.kubernetes.io/name" || label.key == "k8s-app" || label.key == "app";
        if (names && label.source == label_source::kK8s && !label.value.empty()) return label.value;
    }
    return {};
}

std::string reserved_of(const EndpointInfo& info) {
    std::string first;
    for (const std::string& label : info.labels->texts) {
        if (label == "reserved:kube-apiserver") return label;
        if (first.empty() && label.starts_with("reserved:")) first = label;
    }
    return first;
}

std::string qualified(const std::string& name_space, const std::string& name) {
    return name_space.empty() ? name : name_space + "/" + name;
}

std::string direction_name(Direction direction) {
    return direction == Direction::kIngress ? "ingress" : direction == Direction::kEgress ? "egress" : "unknown";
}

}  // namespace

std::size_t FlowMetrics::KeyHash::operator()(const Key& key) const noexcept {
    return (std::hash<const void*>{}(key.source) * 31 + std::hash<const void*>{}(key.destination)) * 31 +
           std::hash<std::uint64_t>{}(key.rest);
}

Result<std::unique_ptr<FlowMetrics>> FlowMetrics::parse(const std::string& text) {
    std::unique_ptr<FlowMetrics> all(new FlowMetrics);
    for (const std::string& one : split(text, " \t\n")) TRY(add(one, all->metrics_));
    return all;
}

Status FlowMetrics::add(const std::string& text, std::vector<Metric>& metrics) {
    struct Known {
        const char* option;
        Kind kind;
        const char* name;
        const char* help;
        std::vector<std::string> labels;
    };
    static const Known kKnown[] = {
        {"drop", Kind::kDrop, "drop_total", "Number of drops", {"reason", "protocol"}},
        {"flow",
         Kind::kFlow,
         "flows_processed_total",
         "Total number of flows processed",
         {"protocol", "type", "subtype", "verdict"}},
        {"flows-to-world",
         Kind::kFlowsToWorld,
         "flows_to_world_total",
         "Total number of flows to reserved:world",
         {"protocol", "verdict"}},
        {"icmp", Kind::kIcmp, "icmp_total", "Number of ICMP messages", {"family", "type"}},
        {"port-distribution",
         Kind::kPortDistribution,
         "port_distribution_total",
         "Numbers of packets distributed by destination port",
         {"protocol", "port"}},
        {"tcp", Kind::kTcp, "tcp_flags_total", "TCP flag occurrences", {"flag", "family"}},
        {"policy",
         Kind::kPolicy,
         "policy_verdicts_total",
         "Total number of Cilium network policy verdicts",
         {"direction", "match", "action"}},
        {"dns",
         Kind::kDnsQueries,
         "dns_queries_total",
         "Number of DNS queries observed",
         {"rcode", "qtypes", "ips_returned"}},
        {"dns",
         Kind::kDnsResponses,
         "dns_responses_total",
         "Number of DNS responses observed",
         {"rcode", "qtypes", "ips_returned"}},
        {"dns",
         Kind::kDnsResponseTypes,
         "dns_response_types_total",
         "Number of records in DNS responses observed",
         {"type", "qtypes"}},
        // Of the rest of layer 7: they stay at nothing as long as there is no proxy that tells.
        {"http", Kind::kLayer7, "http_requests_total", "Count of HTTP requests", {"method", "protocol", "reporter"}},
        {"httpV2",
         Kind::kLayer7,
         "http_requests_total",
         "Count of HTTP requests",
         {"method", "protocol", "status", "reporter"}},
        {"kafka",
         Kind::kLayer7,
         "kafka_requests_total",
         "Count of Kafka requests",
         {"topic", "api_key", "error_code", "reporter"}},
    };
    const std::string name = text.substr(0, text.find(':'));
    std::string names;
    bool known = false;
    for (const Known& one : kKnown) {
        if (one.option != name) {
            if (!names.ends_with(one.option)) names += std::string(names.empty() ? "" : ", ") + one.option;
            continue;
        }
        known = true;
        Metric metric{
            .kind = one.kind, .name = std::string("hubble_") + one.name, .help = one.help, .labels = one.labels};
        if (std::ranges::find(metrics, metric.name, &Metric::name) != metrics.end())
            return fail(Code::kInvalidArgument, "\"" + name + "\" is there twice");
        if (name.size() < text.size()) {
            for (const std::string& option : split(text.substr(name.size() + 1), ";")) TRY(set_option(metric, option));
        }
        set_labels(metric);
        metrics.push_back(std::move(metric));
    }
    if (!known) return fail(Code::kInvalidArgument, "\"" + name + "\" is no Hubble metric; there are " + names);
    return {};
}

// Those of its options, behind its own.
void FlowMetrics::set_labels(Metric& metric) {
    if (metric.port) metric.labels.emplace_back("port");
    if (metric.query) metric.labels.emplace_back("query");
    metric.labels.insert(metric.labels.end(), metric.labels_context.begin(), metric.labels_context.end());
    if (!metric.source.empty() || !metric.source_ingress.empty() || !metric.source_egress.empty())
        metric.labels.emplace_back("source");
    if (!metric.destination.empty() || !metric.destination_ingress.empty() || !metric.destination_egress.empty())
        metric.labels.emplace_back("destination");
    metric.own_labels = is_dns(metric.kind);
    for (const Contexts* contexts : {&metric.source, &metric.destination, &metric.source_ingress, &metric.source_egress,
                                     &metric.destination_ingress, &metric.destination_egress})
        metric.own_labels = metric.own_labels || std::ranges::any_of(*contexts, [](Context context) {
                                return context == Context::kIp || context == Context::kDns;
                            });
    for (const std::string& label : metric.labels_context)
        metric.own_labels = metric.own_labels || label.ends_with("_ip");
}

Status FlowMetrics::set_option(Metric& metric, const std::string& option) {
    const std::size_t equals = option.find('=');
    const std::string key = lower(option.substr(0, equals));
    const std::string value = equals == std::string::npos ? "" : option.substr(equals + 1);
    static const std::map<std::string, Contexts Metric::*> kContexts = {
        {"sourcecontext", &Metric::source},
        {"destinationcontext", &Metric::destination},
        {"sourceingresscontext", &Metric::source_ingress},
        {"sourceegresscontext", &Metric::source_egress},
        {"destinationingresscontext", &Metric::destination_ingress},
        {"destinationegresscontext", &Metric::destination_egress},
    };
    if (const auto known = kContexts.find(key); known != kContexts.end()) {
        TRY_ASSIGN(metric.*known->second, parse_contexts(metric.name, value));
        return {};
    }
    if (key == "labelscontext") {
        const std::vector<std::string> wanted = split(value, ",");
        for (const std::string& label : wanted) {
            if (std::ranges::find(kContextLabels, label) == kContextLabels.end())
                return fail(Code::kInvalidArgument,
                            metric.name + ": labelsContext=\"" + label + "\": there are " + join(kContextLabels));
        }
        // In Hubble's order.
        for (const std::string& label : kContextLabels) {
            if (std::ranges::find(wanted, label) != wanted.end()) metric.labels_context.push_back(label);
        }
        return {};
    }
    const bool to_world = metric.kind == Kind::kFlowsToWorld, dns = is_dns(metric.kind);
    if (to_world && key == "any-drop")
        metric.any_drop = true;
    else if (to_world && key == "port")
        metric.port = true;
    else if (to_world && key == "syn-only")
        metric.syn_only = true;
    else if (dns && key == "query")
        metric.query = true;
    else if (dns && key == "ignoreaaaa")
        metric.ignore_aaaa = true;
    else if ((!dns && metric.kind != Kind::kLayer7) || (key != "query" && key != "ignoreaaaa" && key != "exemplars"))
        return fail(Code::kInvalidArgument, metric.name + ": \"" + option + "\" is no option of it");
    return {};
}

Result<FlowMetrics::Contexts> FlowMetrics::parse_contexts(const std::string& metric, const std::string& text) {
    static const std::map<std::string, Context> kNames = {
        {"identity", Context::kIdentity},
        {"namespace", Context::kNamespace},
        {"pod", Context::kPod},
        {"pod-name", Context::kPodName},
        {"dns", Context::kDns},
        {"ip", Context::kIp},
        {"reserved-identity", Context::kReservedIdentity},
        {"workload", Context::kWorkload},
        {"workload-name", Context::kWorkloadName},
        {"app", Context::kApp},
    };
    Contexts contexts;
    for (const std::string& one : split(text, "|")) {
        const auto known = kNames.find(lower(one));
        if (known == kNames.end())
            return fail(Code::kInvalidArgument,
                        metric + ": \"" + one +
                            "\" is no context; there are identity, namespace, pod, pod-name, dns, "
                            "ip, reserved-identity, workload, workload-name, app");
        contexts.push_back(known->second);
    }
    if (contexts.empty()) return fail(Code::kInvalidArgument, metric + ": a context must not be empty");
    return contexts;
}

bool FlowMetrics::is_dns(Kind kind) {
    return kind == Kind::kDnsQueries || kind == Kind::kDnsResponses || kind == Kind::kDnsResponseTypes;
}

bool FlowMetrics::applies(const Metric& metric, const FlowRecord& record) {
    if (is_dns(metric.kind)) {
        if (!record.dns || (metric.ignore_aaaa && dns_type_name(record.dns->qtype) == "AAAA")) return false;
        return record.dns->response == (metric.kind != Kind::kDnsQueries);
    }
    // The packets of a message count as those of any flow.
    if (record.dns && metric.kind != Kind::kFlow) return false;
    const bool l4 = record.has_l4();
    switch (metric.kind) {
        case Kind::kDrop: return record.verdict == Verdict::kDropped;
        case Kind::kFlow: return true;
        case Kind::kFlowsToWorld: {
            if (!l4 || !has_label(record.destination, "reserved:world")) return false;
            const bool dropped = record.verdict == Verdict::kDropped, reply = record.reply == Reply::kYes;
            if (dropped && !metric.any_drop && record.drop_reason() != DROP_POLICY) return false;
            // Ports that replies go to say nothing.
            if (!dropped && reply) return false;
            return !metric.syn_only || (record.event.proto == 6 && (record.event.tcp_flags & 0x02) != 0 && !reply);
        }
        case Kind::kIcmp: return l4 && (record.event.proto == 1 || record.event.proto == 58);
        case Kind::kPortDistribution:
            return l4 && record.reply == Reply::kNo && protocol_name(record) != "Unknown L4" &&
                   (record.verdict == Verdict::kForwarded || record.verdict == Verdict::kRedirected);
        case Kind::kTcp:
            return l4 && record.event.proto == 6 && record.verdict == Verdict::kForwarded &&
                   (record.event.tcp_flags & 0x07) != 0;
        case Kind::kPolicy:
            // What the node sends, and what health probes do, nobody's policies are about.
            return record.event.type == EVENT_POLICY_VERDICT && record.event.identity_src != 1 &&
                   record.event.identity_src != 4 && record.event.identity_dst != 4;
        case Kind::kDnsQueries:
        case Kind::kDnsResponses:
        case Kind::kDnsResponseTypes:
        case Kind::kLayer7: return false;
    }
    return false;
}

// Everything but the ends that decides a series.
std::uint64_t FlowMetrics::rest_of(const Metric& metric, const FlowRecord& record) {
    const flow_event& event = record.event;
    std::uint64_t rest = static_cast<std::uint64_t>(record.direction) << 4 | static_cast<std::uint64_t>(record.verdict);
    rest = rest << 8 | (record.has_l4() ? event.proto : 255);
    switch (metric.kind) {
        case Kind::kDrop: return rest << 16 | record.drop_reason();
        case Kind::kFlow: return rest << 16 | event.type << 8 | event.subtype;
        case Kind::kFlowsToWorld:
        case Kind::kPortDistribution: return rest << 16 | record.destination_port();
        case Kind::kIcmp: return rest << 16 | event.icmp_type << 8 | event.icmp_code;
        case Kind::kTcp: return rest << 16 | (record.is_v6() ? 256 : 0) | event.tcp_flags;
        case Kind::kPolicy: return rest << 8 | match_type(record);
        case Kind::kDnsQueries:
        case Kind::kDnsResponses:
        case Kind::kDnsResponseTypes:
        case Kind::kLayer7: break;
    }
    return rest;
}

std::string FlowMetrics::context_value(const Contexts& contexts, const FlowRecord& record, bool source) {
    const EndpointRef& end = source ? record.source : record.destination;
    if (!end) return {};
    const Workload none, &workload = end->workloads.empty() ? none : end->workloads.front();
    std::string value;
    for (const Context context : contexts) {
        switch (context) {
            case Context::kIdentity: value = join(end->labels->texts); break;
            case Context::kNamespace: value = end->name_space; break;
            case Context::kPod: value = end->pod.empty() ? "" : qualified(end->name_space, end->pod); break;
            case Context::kPodName: value = end->pod; break;
            case Context::kDns: {
                const NamesRef& names = source ? record.source_names : record.destination_names;
                if (names) value = join(*names);
                break;
            }
            case Context::kIp: value = (source ? record.source_ip() : record.destination_ip()).to_string(); break;
            case Context::kReservedIdentity: value = reserved_of(*end); break;
            case Context::kWorkload:
                value = workload.name.empty() ? "" : qualified(end->name_space, workload.name);
                break;
            case Context::kWorkloadName: value = workload.name; break;
            case Context::kApp: value = app_of(*end); break;
        }
        if (!value.empty()) break;
    }
    return value;
}

std::string FlowMetrics::label_value(const std::string& label, const FlowRecord& record) {
    if (label == "traffic_direction") return direction_name(record.direction);
    const bool source = label.starts_with("source_");
    const EndpointRef& end = source ? record.source : record.destination;
    if (!end) return {};
    const std::string what = label.substr(label.find('_') + 1);
    const Workload none, &workload = end->workloads.empty() ? none : end->workloads.front();
    if (what == "ip") return (source ? record.source_ip() : record.destination_ip()).to_string();
    if (what == "pod") return end->pod;
    if (what == "namespace") return end->name_space;
    if (what == "workload") return workload.name;
    if (what == "workload_kind") return workload.kind;
    return app_of(*end);
}

void FlowMetrics::add_context(const Metric& metric, const FlowRecord& record, std::vector<std::string>& values) {
    for (const std::string& label : metric.labels_context) values.push_back(label_value(label, record));
    const auto one = [&](const Contexts& any, const Contexts& ingress, const Contexts& egress, bool source) {
        if (any.empty() && ingress.empty() && egress.empty()) return;
        const Contexts& by_direction = record.direction == Direction::kIngress  ? ingress
                                       : record.direction == Direction::kEgress ? egress
                                                                                : any;
        values.push_back(context_value(by_direction.empty() ? any : by_direction, record, source));
    };
    one(metric.source, metric.source_ingress, metric.source_egress, true);
    one(metric.destination, metric.destination_ingress, metric.destination_egress, false);
}

std::vector<std::vector<std::string>> FlowMetrics::values_of(const Metric& metric, const FlowRecord& record) {
    std::vector<std::vector<std::string>> all;
    const auto add = [&](std::vector<std::string> values) {
        add_context(metric, record, values);
        all.push_back(std::move(values));
    };
    const std::string protocol(protocol_name(record)), verdict(verdict_name(record.verdict));
    const std::string port = record.has_ports() ? std::to_string(record.destination_port()) : "";
    switch (metric.kind) {
        case Kind::kDrop: add({std::string(drop_reason_name(record.drop_reason())), protocol}); break;
        case Kind::kFlow: {
            const std::uint8_t type = record.event.type;
            add({protocol,
                 type == EVENT_DROP    ? "Drop"
                 : type == EVENT_TRACE ? "Trace"
                 : type == EVENT_DNS   ? "L7"
                                       : "PolicyVerdict",
                 type == EVENT_TRACE ? std::string(observation_point_name(record.event.subtype))
                 : type == EVENT_DNS ? "DNS"
                                     : "",
                 verdict});
            break;
        }
        case Kind::kFlowsToWorld:
            if (metric.port)
                add({protocol, verdict, port});
            else
                add({protocol, verdict});
            break;
        case Kind::kIcmp: add({record.is_v6() ? "IPv6" : "IPv4", icmp_name(record)}); break;
        case Kind::kPortDistribution: add({protocol, port.empty() ? "0" : port}); break;
        case Kind::kTcp: {
            const std::uint8_t flags = record.event.tcp_flags;
            const std::string family = record.is_v6() ? "IPv6" : "IPv4";
            if ((flags & 0x01) != 0) add({"FIN", family});
            if ((flags & 0x02) != 0) add({(flags & 0x10) != 0 ? "SYN-ACK" : "SYN", family});
            if ((flags & 0x04) != 0) add({"RST", family});
            break;
        }
        case Kind::kPolicy: {
            static const char* const kMatches[] = {"none", "l3-only",  "l3-l4",     "l4-only",
                                                   "all",  "l3-proto", "proto-only"};
            const std::uint8_t match = match_type(record);
            add({direction_name(record.direction), kMatches[match < std::size(kMatches) ? match : 0], lower(verdict)});
            break;
        }
        case Kind::kDnsQueries:
        case Kind::kDnsResponses:
        case Kind::kDnsResponseTypes: {
            const DnsMessage& dns = *record.dns;
            const std::string qtypes = dns_type_name(dns.qtype);
            const auto add_dns = [&](std::vector<std::string> values) {
                if (metric.query) values.push_back(dns.query);
                add(std::move(values));
            };
            if (metric.kind == Kind::kDnsResponseTypes) {
                for (const std::uint16_t type : dns.rrtypes) add_dns({dns_type_name(type), qtypes});
            } else {
                add_dns({dns.response ? dns_rcode_name(dns.rcode) : "", qtypes, std::to_string(dns.ips.size())});
            }
            break;
        }
        case Kind::kLayer7: break;
    }
    return all;
}

FlowMetrics::Series* FlowMetrics::series_of(Metric& metric, std::vector<std::string> values, const FlowRecord& record) {
    const auto known = metric.series.find(values);
    if (known != metric.series.end()) return known->second.get();
    if (metric.series.size() >= kMaxSeries) return nullptr;
    auto series = std::make_shared<Series>();
    const auto names = [&](const EndpointRef& end) {
        return end && !end->pod.empty() && std::ranges::any_of(values, [&](const std::string& value) {
                   return value == end->pod || value == qualified(end->name_space, end->pod);
               });
    };
    if (names(record.source)) series->source_pod = qualified(record.source->name_space, record.source->pod);
    if (names(record.destination))
        series->destination_pod = qualified(record.destination->name_space, record.destination->pod);
    series->values = values;
    return metric.series.emplace(std::move(values), std::move(series)).first->second.get();
}

void FlowMetrics::count(const FlowRecord& record) {
    const std::lock_guard lock(mutex_);
    for (Metric& metric : metrics_) {
        if (!applies(metric, record)) continue;
        if (metric.kind == Kind::kPolicy && record.rule) {
            const auto now = std::chrono::steady_clock::now();
            count_unnamed(now - kNaming);
            if (!record.rule->info()) {
                if (unnamed_.size() >= kMaxUnnamed) count_unnamed(unnamed_.front().since);
                unnamed_.push_back({now, record});
                continue;
            }
        }
        count(metric, record);
    }
}

void FlowMetrics::count(Metric& metric, const FlowRecord& record) {
    const Key key{record.source.get(), record.destination.get(), rest_of(metric, record)};
    if (!metric.own_labels) {
        const auto known = metric.known.find(key);
        if (known != metric.known.end()) {
            for (Series* series : known->second.series) ++series->count;
            return;
        }
    }
    Known made{record.source, record.destination, {}};
    for (auto& values : values_of(metric, record)) {
        Series* series = series_of(metric, std::move(values), record);
        if (series == nullptr) {
            ++metric.refused;
            continue;
        }
        ++series->count;
        made.series.push_back(series);
    }
    if (metric.own_labels || made.series.empty()) return;
    if (metric.known.size() >= 16384) metric.known.clear();
    metric.known.emplace(key, std::move(made));
}

void FlowMetrics::count_unnamed(std::chrono::steady_clock::time_point until) {
    const auto metric = std::ranges::find(metrics_, Kind::kPolicy, &Metric::kind);
    while (!unnamed_.empty() && (unnamed_.front().record.rule->info() || unnamed_.front().since <= until)) {
        count(*metric, unnamed_.front().record);
        unnamed_.pop_front();
    }
}

void FlowMetrics::count_lost(LostSource source, std::uint64_t count) {
    const std::lock_guard lock(mutex_);
    lost_[source] += count;
}

void FlowMetrics::remove_pod(const std::string& name_space, const std::string& pod) {
    const std::string name = qualified(name_space, pod);
    const std::lock_guard lock(mutex_);
    // Its last verdicts must not make its series anew.
    count_unnamed(std::chrono::steady_clock::now());
    for (Metric& metric : metrics_) {
        metric.known.clear();
        std::erase_if(metric.series, [&](const auto& entry) {
            return entry.second->source_pod == name || entry.second->destination_pod == name;
        });
    }
}

void FlowMetrics::add_to(MetricSet& set) {
    // Texts are made when flows need not wait for it.
    struct Copy {
        std::vector<std::pair<std::shared_ptr<const Series>, std::uint64_t>> series;
        std::uint64_t refused = 0;
    };
    std::vector<Copy> copies(metrics_.size());
    std::map<LostSource, std::uint64_t> lost;
    {
        const std::lock_guard lock(mutex_);
        count_unnamed(std::chrono::steady_clock::now() - kNaming);
        for (std::size_t i = 0; i < metrics_.size(); ++i) {
            copies[i].refused = metrics_[i].refused;
            copies[i].series.reserve(metrics_[i].series.size());
            for (const auto& [values, series] : metrics_[i].series)
                copies[i].series.emplace_back(series, series->count);
        }
        lost = lost_;
    }
    for (std::size_t i = 0; i < metrics_.size(); ++i) {
        const Metric& metric = metrics_[i];
        set.declare(MetricSet::Kind::kCounter, metric.name, metric.help);
        for (const auto& [series, count] : copies[i].series) {
            MetricSet::Labels labels;
            for (std::size_t k = 0; k < metric.labels.size() && k < series->values.size(); ++k)
                labels.emplace_back(metric.labels[k], series->values[k]);
            set.counter(metric.name, metric.help, static_cast<double>(count), std::move(labels));
        }
        set.counter("hubble_metrics_refused_total", "Flows that would have made one series too many",
                    static_cast<double>(copies[i].refused), {{"metric", metric.name}});
    }
    const char* const lost_help = "Number of lost events";
    set.declare(MetricSet::Kind::kCounter, "hubble_lost_events_total", lost_help);
    for (const auto& [source, count] : lost)
        set.counter("hubble_lost_events_total", lost_help, static_cast<double>(count),
                    {{"source", lower(std::string(lost_source_name(source)))}});
}

}  // namespace axo::hubble
