// Filters against another reading of what they mean: over the message that a client would see, by the plainest code.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <random>

#include "bpf/api/drop_reason.h"
#include "bpf/api/policy.h"
#include "hubble/core/decode.h"
#include "hubble/server/filter.h"

namespace axo::hubble {
namespace {

using ::flow::Flow;
using ::flow::FlowFilter;
using Random = std::mt19937;

template <class T>
T pick(Random& random, const std::vector<T>& from) {
    return from[std::uniform_int_distribution<std::size_t>(0, from.size() - 1)(random)];
}
bool chance(Random& random, int percent) {
    return std::uniform_int_distribution<int>(0, 99)(random) < percent;
}

const std::vector<std::string> kNamespaces{"", "default", "shop", "shop-2"};
const std::vector<std::string> kPods{"", "web-1", "web-2", "api"};
const std::vector<std::string> kAddresses{"10.0.0.1", "10.0.0.2", "10.1.0.1", "192.168.7.9"};
const std::vector<std::string> kAddresses6{"fd00::1", "fd00::2", "fd00:1::1"};

EndpointRef random_end(Random& random) {
    auto info = std::make_shared<EndpointInfo>();
    info->identity = pick<std::uint32_t>(random, {2, 300, 301});
    info->cluster = pick<std::string>(random, {"", "east", "west"});
    info->name_space = pick(random, kNamespaces);
    info->pod = info->name_space.empty() ? "" : pick(random, kPods);
    if (chance(random, 50)) info->workloads.push_back({pick<std::string>(random, {"web", "api"}), "Deployment"});
    std::vector<std::string> labels;
    if (chance(random, 60)) labels.push_back("k8s:app=" + pick<std::string>(random, {"web", "api"}));
    if (chance(random, 30)) labels.push_back("reserved:world");
    info->labels = make_labels(std::move(labels));
    return info;
}

ServiceRef random_service(Random& random) {
    if (chance(random, 60)) return nullptr;
    return std::make_shared<ServiceName>(
        ServiceName{pick<std::string>(random, {"default", "shop"}), pick(random, kPods)});
}

FlowRecord random_record(Random& random) {
    FlowRecord record;
    flow_event& event = record.event;
    event.type = pick<std::uint8_t>(random, {EVENT_DROP, EVENT_TRACE, EVENT_POLICY_VERDICT});
    event.subtype = event.type == EVENT_DROP    ? pick<std::uint8_t>(random, {DROP_POLICY, DROP_POLICY_DENY, 132})
                    : event.type == EVENT_TRACE ? pick<std::uint8_t>(random, {0, 3, 4, 11})
                                                : pick<std::uint8_t>(random, {POLICY_ALLOW, POLICY_DENY});
    event.reason = pick<std::uint8_t>(random, {0, 1, 2, 5});
    event.flags = pick<std::uint8_t>(random, {0, EVENT_F_INGRESS, EVENT_F_AUDITED});
    event.ethertype = chance(random, 5) ? 0x0806 : 0x0800;
    event.proto = pick<std::uint8_t>(random, {1, 6, 6, 17, 58, 132, 2, 112});
    event.tcp_flags = static_cast<std::uint8_t>(random());
    event.sport = htons(pick<std::uint16_t>(random, {80, 443, 40000}));
    event.dport = htons(pick<std::uint16_t>(random, {80, 443, 40000}));
    event.endpoint_src = pick<std::uint16_t>(random, {0, 7});
    event.endpoint_dst = pick<std::uint16_t>(random, {0, 9});
    event.ifindex = pick<std::uint32_t>(random, {0, 3, 4});
    if (chance(random, 10)) event.flags |= EVENT_F_NO_L4;
    const bool v6 = chance(random, 30);
    if (v6) event.flags |= EVENT_F_IPV6;
    for (axo_addr* address : {&event.saddr, &event.daddr}) {
        const auto ip = IpAddress::parse(pick(random, v6 ? kAddresses6 : kAddresses)).value();
        std::memcpy(address, ip.bytes().data(), ip.bytes().size());
    }
    if (chance(random, 20)) {
        event.type = EVENT_DNS;
        event.subtype = 0;
        auto dns = std::make_shared<DnsMessage>();
        dns->response = chance(random, 50);
        dns->query = pick<std::string>(random, {"api.example.com.", "web.shop.svc.cluster.local."});
        dns->qtype = pick<std::uint16_t>(random, {1, 28});
        record.dns = std::move(dns);
    }
    for (NamesRef* names : {&record.source_names, &record.destination_names}) {
        if (chance(random, 20))
            *names = std::make_shared<const std::vector<std::string>>(
                pick<std::vector<std::string>>(random, {{"api.example.com", "example.net"}, {"web"}}));
    }
    record.sequence = random() % 8;
    record.source = random_end(random);
    record.destination = random_end(random);
    record.source_service = random_service(random);
    record.destination_service = random_service(random);
    if (event.ifindex == 3) record.interface = std::make_shared<const std::string>("eth0");
    decode(record);
    return record;
}

void random_side(Random& random, FlowFilter& f) {
    if (chance(random, 12))
        f.add_source_ip(pick<std::string>(random, {"10.0.0.0/24", "10.0.0.1", "fd00::/64", "0.0.0.0/0"}));
    if (chance(random, 12)) f.add_destination_ip(pick<std::string>(random, {"10.1.0.0/16", "fd00::2", "192.168.7.9"}));
    if (chance(random, 12))
        f.add_source_pod(pick<std::string>(random, {"shop/", "shop/web", "web", "/api", "default/web-1"}));
    if (chance(random, 12)) f.add_destination_pod(pick<std::string>(random, {"shop/", "shop-2/w", "/web"}));
    if (chance(random, 12)) f.add_source_label(pick<std::string>(random, {"app=web", "app", "!app", "reserved:world"}));
    if (chance(random, 12))
        f.add_destination_label(pick<std::string>(random, {"k8s:app in (web, api)", "app notin (web)"}));
    if (chance(random, 8)) f.add_source_service(pick<std::string>(random, {"default/web", "shop/"}));
    if (chance(random, 8)) f.add_destination_service(pick<std::string>(random, {"default/", "shop/web-1"}));
    if (chance(random, 8)) f.add_source_workload()->set_name("web");
    if (chance(random, 8)) f.add_destination_workload()->set_kind(pick<std::string>(random, {"Deployment", "Job"}));
    if (chance(random, 8)) f.add_source_cluster_name(pick<std::string>(random, {"east", "west"}));
    if (chance(random, 8)) f.add_destination_cluster_name("east");
    if (chance(random, 8)) f.add_source_identity(pick<std::uint32_t>(random, {2, 300}));
    if (chance(random, 8)) f.add_destination_identity(301);
    if (chance(random, 10)) f.add_source_port(pick<std::string>(random, {"80", "443"}));
    if (chance(random, 10)) f.add_destination_port("80");
}

FlowFilter random_filter(Random& random) {
    FlowFilter f;
    random_side(random, f);
    if (chance(random, 12))
        f.add_verdict(pick<::flow::Verdict>(random, {::flow::FORWARDED, ::flow::DROPPED, ::flow::AUDIT}));
    if (chance(random, 12))
        f.add_traffic_direction(pick<::flow::TrafficDirection>(random, {::flow::INGRESS, ::flow::EGRESS}));
    if (chance(random, 8))
        f.add_drop_reason_desc(pick<::flow::DropReason>(random, {::flow::POLICY_DENIED, ::flow::POLICY_DENY}));
    if (chance(random, 8)) f.add_ip_version(pick<::flow::IPVersion>(random, {::flow::IPv4, ::flow::IPv6}));
    if (chance(random, 10)) f.add_reply(chance(random, 50));
    if (chance(random, 5)) f.add_encrypted(chance(random, 50));
    if (chance(random, 10))
        f.add_protocol(pick<std::string>(random, {"tcp", "UDP", "icmp", "ICMPv6", "sctp", "vrrp", "igmp", "dns"}));
    if (chance(random, 10)) {
        auto& type = *f.add_event_type();
        type.set_type(pick<int>(random, {0, 1, 4, 5, 129}));
        type.set_match_sub_type(chance(random, 50));
        type.set_sub_type(pick<int>(random, {0, 3, 133}));
    }
    if (chance(random, 10)) {
        auto& flags = *f.add_tcp_flags();
        flags.set_syn(chance(random, 50));
        flags.set_ack(chance(random, 50));
        flags.set_ns(chance(random, 10));
    }
    if (chance(random, 8)) f.add_interface()->set_name("eth0");
    if (chance(random, 5)) f.add_interface()->set_index(4);
    if (chance(random, 5)) f.add_uuid(flow_uuid(random() % 8));
    if (chance(random, 8)) f.add_node_name(pick<std::string>(random, {"n*", "east/n1", "west/", "*/node", "n1"}));
    if (chance(random, 5)) f.add_node_labels(pick<std::string>(random, {"zone=a", "zone!=a"}));
    if (chance(random, 2)) f.add_http_path("/.*");
    if (chance(random, 5)) f.add_source_fqdn(pick<std::string>(random, {"*.example.com", "web.", "nobody"}));
    if (chance(random, 5))
        f.add_destination_fqdn(pick<std::string>(random, {"*.example.com", "EXAMPLE.net", "nobody"}));
    if (chance(random, 5)) f.add_dns_query(pick<std::string>(random, {"^api\\.", "svc", "nothing"}));
    // One more value of some fields: any of them does.
    if (chance(random, 30)) random_side(random, f);
    return f;
}

// The other reading.
template <class Values, class Fits>
bool any(const Values& values, Fits fits) {
    return values.empty() || std::any_of(values.begin(), values.end(), fits);
}

bool in_cidr(const std::string& text, const std::string& ip) {
    if (ip.empty()) return false;
    const auto slash = text.find('/');
    if (slash == std::string::npos) return text == ip;
    const int family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
    if ((ip.find(':') == std::string::npos ? AF_INET : AF_INET6) != family) return false;
    unsigned char net[16] = {}, address[16] = {};
    inet_pton(family, text.substr(0, slash).c_str(), net);
    inet_pton(family, ip.c_str(), address);
    const int length = std::stoi(text.substr(slash + 1));
    for (int bit = 0; bit < length; ++bit) {
        const int mask = 0x80 >> (bit % 8);
        if ((net[bit / 8] & mask) != (address[bit / 8] & mask)) return false;
    }
    return true;
}

bool named(const std::string& filter, const std::string& name_space, const std::string& name) {
    std::string wanted = filter.find('/') == std::string::npos ? "default/" + filter : filter;
    if (name_space.empty() && name.empty()) return false;
    if (wanted.starts_with('/')) return name.starts_with(wanted.substr(1));
    return (name_space + "/" + name).starts_with(wanted) && name_space == wanted.substr(0, wanted.find('/'));
}

bool has(const ::flow::Endpoint& end, const std::string& label) {
    return std::find(end.labels().begin(), end.labels().end(), label) != end.labels().end();
}
// Just the selectors that random_side makes.
bool labelled(const std::string& selector, const ::flow::Endpoint& end) {
    const bool web = has(end, "k8s:app=web"), api = has(end, "k8s:app=api");
    if (selector == "app=web") return web;
    if (selector == "app" || selector == "k8s:app in (web, api)") return web || api;
    if (selector == "!app") return !web && !api;
    if (selector == "app notin (web)") return !web;
    return has(end, selector);
}

bool end_fits(const ::flow::Endpoint& end, const std::string& ip, const auto& ips, const auto& pods, const auto& labels,
              const auto& workloads, const auto& clusters, const auto& identities) {
    return any(ips, [&](const auto& v) { return in_cidr(v, ip); }) &&
           any(pods, [&](const auto& v) { return named(v, end.namespace_(), end.pod_name()); }) &&
           any(labels, [&](const auto& v) { return labelled(v, end); }) &&
           any(workloads,
               [&](const auto& w) {
                   return std::any_of(end.workloads().begin(), end.workloads().end(), [&](const auto& is) {
                       return (w.name().empty() || w.name() == is.name()) &&
                              (w.kind().empty() || w.kind() == is.kind());
                   });
               }) &&
           any(clusters, [&](const auto& v) { return v == end.cluster_name(); }) &&
           any(identities, [&](auto v) { return v == end.identity(); });
}

std::pair<int, int> ports(const Flow& flow) {
    const auto& l4 = flow.l4();
    if (l4.has_tcp()) return {l4.tcp().source_port(), l4.tcp().destination_port()};
    if (l4.has_udp()) return {l4.udp().source_port(), l4.udp().destination_port()};
    if (l4.has_sctp()) return {l4.sctp().source_port(), l4.sctp().destination_port()};
    return {-1, -1};
}

bool has_protocol(const Flow& flow, std::string name) {
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    const auto& l4 = flow.l4();
    return (name == "tcp" && l4.has_tcp()) || (name == "udp" && l4.has_udp()) || (name == "sctp" && l4.has_sctp()) ||
           ((name == "icmp" || name == "icmpv4") && l4.has_icmpv4()) ||
           ((name == "icmp" || name == "icmpv6") && l4.has_icmpv6()) || (name == "vrrp" && l4.has_vrrp()) ||
           (name == "igmp" && l4.has_igmp()) || (name == "dns" && flow.l7().has_dns());
}

bool flags_fit(const Flow& flow, const ::flow::TCPFlags& wanted) {
    if (!flow.l4().has_tcp()) return false;
    const auto& is = flow.l4().tcp().flags();
    return (!wanted.syn() || is.syn()) && (!wanted.ack() || is.ack()) && (!wanted.ns() || is.ns());
}

// Just the patterns that random_filter makes.
bool has_name(const auto& names, const std::string& pattern) {
    const std::string wanted = pattern == "web." ? "web" : pattern == "EXAMPLE.net" ? "example.net" : pattern;
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return wanted == "*.example.com" ? name.ends_with(".example.com") : name == wanted;
    });
}

bool asks_for(const Flow& flow, const std::string& regex) {
    if (!flow.l7().has_dns()) return false;
    const std::string& query = flow.l7().dns().query();
    return regex == "^api\\." ? query.starts_with("api.") : query.find(regex) != std::string::npos;
}

bool naive(const FlowFilter& f, const Flow& flow) {
    const auto [sport, dport] = ports(flow);
    return end_fits(flow.source(), flow.ip().source(), f.source_ip(), f.source_pod(), f.source_label(),
                    f.source_workload(), f.source_cluster_name(), f.source_identity()) &&
           end_fits(flow.destination(), flow.ip().destination(), f.destination_ip(), f.destination_pod(),
                    f.destination_label(), f.destination_workload(), f.destination_cluster_name(),
                    f.destination_identity()) &&
           any(f.source_service(),
               [&](const auto& v) {
                   return named(v, flow.source_service().namespace_(), flow.source_service().name());
               }) &&
           any(f.destination_service(),
               [&](const auto& v) {
                   return named(v, flow.destination_service().namespace_(), flow.destination_service().name());
               }) &&
           any(f.source_port(), [&, port = sport](const auto& v) { return std::stoi(v) == port; }) &&
           any(f.destination_port(), [&, port = dport](const auto& v) { return std::stoi(v) == port; }) &&
           any(f.verdict(), [&](int v) { return v == flow.verdict(); }) &&
           any(f.traffic_direction(), [&](int v) { return v == flow.traffic_direction(); }) &&
           any(f.drop_reason_desc(), [&](int v) { return v == flow.drop_reason_desc(); }) &&
           any(f.ip_version(), [&](int v) { return v == flow.ip().ipversion(); }) &&
           any(f.reply(), [&](bool v) { return flow.has_is_reply() && flow.is_reply().value() == v; }) &&
           any(f.encrypted(), [&](bool v) { return flow.ip().encrypted() == v; }) &&
           any(f.protocol(), [&](const auto& v) { return has_protocol(flow, v); }) &&
           any(f.event_type(),
               [&](const auto& v) {
                   return (v.type() == 0 || v.type() == flow.event_type().type()) &&
                          (!v.match_sub_type() || v.sub_type() == flow.event_type().sub_type());
               }) &&
           any(f.tcp_flags(), [&](const auto& v) { return flags_fit(flow, v); }) &&
           any(f.interface(),
               [&](const auto& v) {
                   return flow.has_interface() && (v.index() == 0 || v.index() == flow.interface().index()) &&
                          (v.name().empty() || v.name() == flow.interface().name());
               }) &&
           any(f.uuid(), [&](const auto& v) { return v == flow.uuid(); }) &&
           any(f.node_name(),
               [&](const auto& v) {
                   return v == "n*" || v == "east/n1" || v == "n1";  // this is east/n1
               }) &&
           any(f.node_labels(), [&](const auto& v) { return v == "zone=a"; }) && f.http_path().empty() &&
           any(f.source_fqdn(), [&](const auto& v) { return has_name(flow.source_names(), v); }) &&
           any(f.destination_fqdn(), [&](const auto& v) { return has_name(flow.destination_names(), v); }) &&
           any(f.dns_query(), [&](const auto& v) { return asks_for(flow, v); });
}

TEST(Filter, MeansWhatItMeansToTheMessage) {
    Random random(20);
    const FlowContext context{.node_name = "east/n1", .node_labels = {"zone=a"}, .version = "v"};
    std::vector<FlowRecord> records;
    std::vector<Flow> flows;
    for (int i = 0; i < 400; ++i) {
        records.push_back(random_record(random));
        to_proto(records.back(), context, flows.emplace_back());
    }
    std::size_t passed = 0, stopped = 0;
    for (int round = 0; round < 400; ++round) {
        FlowFilterSet::Filters allow, deny;
        for (int i = round % 3; i > 0; --i) *allow.Add() = random_filter(random);
        for (int i = round % 4; i > 1; --i) *deny.Add() = random_filter(random);
        const auto set = FlowFilterSet::compile(allow, deny, context);
        ASSERT_TRUE(set) << set.error().message;
        for (std::size_t i = 0; i < records.size(); ++i) {
            bool expected = any(allow, [&](const FlowFilter& f) { return naive(f, flows[i]); });
            for (const FlowFilter& f : deny) expected = expected && !naive(f, flows[i]);
            ASSERT_EQ(set->matches(records[i]), expected)
                << flows[i].DebugString() << (allow.empty() ? "" : allow.Get(0).DebugString());
            ++(expected ? passed : stopped);
        }
    }
    EXPECT_GT(passed, 10'000U);
    EXPECT_GT(stopped, 10'000U);
}

TEST(Filter, AMistakeIsNamed) {
    const FlowContext context{.node_name = "east/n1", .node_labels = {}, .version = "v"};
    const auto message = [&](auto set) {
        FlowFilterSet::Filters allow;
        allow.Add();
        set(*allow.Add());
        const auto compiled = FlowFilterSet::compile(allow, {}, context);
        if (compiled) return std::string("no error");
        EXPECT_EQ(compiled.error().code, Code::kInvalidArgument);
        return compiled.error().message;
    };
    const auto starts = [&](const std::string& text, const std::string& with) {
        EXPECT_TRUE(text.starts_with(with)) << text;
    };
    starts(message([](FlowFilter& f) { f.add_source_ip("10.0.0.0/33"); }), "whitelist[1].source_ip: \"10.0.0.0/33\": ");
    starts(message([](FlowFilter& f) { f.add_destination_ip("ten"); }), "whitelist[1].destination_ip: \"ten\": ");
    starts(message([](FlowFilter& f) { f.add_source_pod("/"); }), "whitelist[1].source_pod: \"/\": ");
    starts(message([](FlowFilter& f) { f.add_source_label("a in b"); }), "whitelist[1].source_label: \"a in b\": ");
    starts(message([](FlowFilter& f) { f.add_http_path("(["); }),
           "whitelist[1].http_path: \"([\": no regular expression: ");
    starts(message([](FlowFilter& f) { f.add_dns_query("*"); }),
           "whitelist[1].dns_query: \"*\": no regular expression: ");
    starts(message([](FlowFilter& f) { f.add_http_status_code("9xx"); }), "whitelist[1].http_status_code: \"9xx\": ");
    starts(message([](FlowFilter& f) { f.add_protocol("quic"); }), "whitelist[1].protocol: \"quic\": ");
    starts(message([](FlowFilter& f) { f.add_source_port("99999"); }), "whitelist[1].source_port: \"99999\": ");
    starts(message([](FlowFilter& f) { f.add_destination_port("80x"); }), "whitelist[1].destination_port: \"80x\": ");
    starts(message([](FlowFilter& f) { f.add_source_fqdn("a b"); }), "whitelist[1].source_fqdn: \"a b\": ");
    starts(message([](FlowFilter& f) { f.add_node_name("a/b/c"); }), "whitelist[1].node_name: \"a/b/c\": ");
    starts(message([](FlowFilter& f) { f.add_source_cluster_name(""); }), "whitelist[1].source_cluster_name: \"\": ");
    starts(message([](FlowFilter& f) { f.mutable_experimental()->add_cel_expression("x"); }),
           "whitelist[1].experimental.cel_expression: \"x\": ");
}

}  // namespace
}  // namespace axo::hubble
