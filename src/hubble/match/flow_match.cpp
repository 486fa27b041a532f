#include "hubble/match/flow_match.h"

#include <flow/filter.pb.h>
#include <re2/re2.h>

#include <algorithm>
#include <charconv>

#include "base/ip.h"
#include "hubble/match/text_match.h"

namespace axo {
namespace {

using Test = std::function<bool(const flow::Flow&)>;
using Texts = google::protobuf::RepeatedPtrField<std::string>;

bool equal_fold(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b,
                              [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::unexpected<Error> bad(std::string_view field, std::string_view value, std::string_view why) {
    return fail(Code::kInvalidArgument,
                "filter " + std::string(field) + " '" + std::string(value) + "': " + std::string(why));
}

// Adds a test that holds when `one` holds for some value of the list; nothing for an empty list.
template <class List, class One>
void any_of(std::vector<Test>& tests, const List& list, One one) {
    if (list.empty()) return;
    using Value = std::decay_t<decltype(*list.begin())>;
    tests.push_back([values = std::vector<Value>(list.begin(), list.end()), one](const flow::Flow& flow) {
        return std::ranges::any_of(values, [&](const Value& value) { return one(flow, value); });
    });
}

template <class Get>
Status add_prefixes(std::vector<Test>& tests, std::string_view field, const Texts& list, Get get) {
    std::vector<Prefix> prefixes;
    for (const std::string& text : list) {
        auto prefix = Prefix::parse(text);
        if (!prefix) return bad(field, text, "neither an IP address nor a CIDR");
        prefixes.push_back(*prefix);
    }
    any_of(tests, prefixes, [get](const flow::Flow& flow, const Prefix& prefix) {
        const auto address = IpAddress::parse(get(flow));
        return address && prefix.contains(*address);
    });
    return {};
}

template <class Get>
Status add_regexes(std::vector<Test>& tests, std::string_view field, const Texts& list, Get get) {
    std::vector<std::shared_ptr<const RE2>> regexes;
    for (const std::string& text : list) {
        auto regex = std::make_shared<const RE2>(text, RE2::Quiet);
        if (!regex->ok()) return bad(field, text, regex->error());
        regexes.push_back(std::move(regex));
    }
    any_of(tests, regexes, [get](const flow::Flow& flow, const std::shared_ptr<const RE2>& regex) {
        const std::string* text = get(flow);
        return text != nullptr && RE2::PartialMatch(*text, *regex);
    });
    return {};
}

template <class Get>
Status add_labels(std::vector<Test>& tests, std::string_view field, const Texts& list, Get get) {
    std::vector<LabelText> selectors;
    for (const std::string& text : list) {
        auto selector = LabelText::parse(text);
        if (!selector) return bad(field, text, selector.error().message);
        selectors.push_back(std::move(*selector));
    }
    any_of(tests, selectors, [get](const flow::Flow& flow, const LabelText& selector) {
        const Texts& labels = get(flow);
        return selector.matches(std::vector<std::string_view>(labels.begin(), labels.end()));
    });
    return {};
}

Status add_status_codes(std::vector<Test>& tests, const Texts& list) {
    for (const std::string& text : list) {
        const std::string_view digits = text.ends_with('+') ? std::string_view(text).substr(0, text.size() - 1) : text;
        if (digits.empty() || digits.size() > 3 || digits.front() < '1' || digits.front() > '5' ||
            !std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; }))
            return bad("http_status_code", text, "not a code (\"404\") or a prefix (\"4+\")");
    }
    any_of(tests, list, [](const flow::Flow& flow, const std::string& wanted) {
        if (flow.l7().record_case() != flow::Layer7::kHttp || flow.l7().http().code() == 0) return false;
        const std::string code = std::to_string(flow.l7().http().code());
        return wanted.ends_with('+') ? code.starts_with(std::string_view(wanted).substr(0, wanted.size() - 1))
                                     : code == wanted;
    });
    return {};
}

bool has_protocol(const flow::Flow& flow, const std::string& wanted) {
    const flow::Layer4& l4 = flow.l4();
    const flow::Layer7& l7 = flow.l7();
    if (equal_fold(wanted, "tcp")) return l4.has_tcp();
    if (equal_fold(wanted, "udp")) return l4.has_udp();
    if (equal_fold(wanted, "sctp")) return l4.has_sctp();
    if (equal_fold(wanted, "icmp")) return l4.has_icmpv4() || l4.has_icmpv6();
    if (equal_fold(wanted, "icmpv4")) return l4.has_icmpv4();
    if (equal_fold(wanted, "icmpv6")) return l4.has_icmpv6();
    if (equal_fold(wanted, "vrrp")) return l4.has_vrrp();
    if (equal_fold(wanted, "igmp")) return l4.has_igmp();
    if (equal_fold(wanted, "dns")) return l7.has_dns();
    if (equal_fold(wanted, "http")) return l7.has_http();
    return equal_fold(wanted, "kafka") && l7.record_case() == flow::Layer7::kKafka;
}

Status add_protocols(std::vector<Test>& tests, const Texts& list) {
    static constexpr std::string_view kKnown[] = {"tcp",  "udp",  "sctp", "icmp", "icmpv4", "icmpv6",
                                                  "vrrp", "igmp", "dns",  "http", "kafka"};
    for (const std::string& text : list) {
        if (std::ranges::none_of(kKnown, [&](std::string_view known) { return equal_fold(known, text); }))
            return bad("protocol", text,
                       "not one of tcp, udp, sctp, icmp, icmpv4, icmpv6, vrrp, igmp, dns, http, kafka");
    }
    any_of(tests, list, has_protocol);
    return {};
}

std::pair<std::uint32_t, std::uint32_t> ports(const flow::Flow& flow) {
    const flow::Layer4& l4 = flow.l4();
    if (l4.has_tcp()) return {l4.tcp().source_port(), l4.tcp().destination_port()};
    if (l4.has_udp()) return {l4.udp().source_port(), l4.udp().destination_port()};
    if (l4.has_sctp()) return {l4.sctp().source_port(), l4.sctp().destination_port()};
    return {0, 0};
}

Status add_ports(std::vector<Test>& tests, std::string_view field, const Texts& list, bool source) {
    std::vector<std::uint32_t> numbers;
    for (const std::string& text : list) {
        std::uint32_t number = 0;
        const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
        if (read.ec != std::errc() || read.ptr != text.data() + text.size() || number == 0 || number > 65535)
            return bad(field, text, "not a port (1 to 65535)");
        numbers.push_back(number);
    }
    any_of(tests, numbers, [source](const flow::Flow& flow, std::uint32_t port) {
        const auto [from, to] = ports(flow);
        return (source ? from : to) == port;
    });
    return {};
}

bool flags_fit(const flow::TCPFlags& wanted, const flow::TCPFlags& seen) {
    return (!wanted.fin() || seen.fin()) && (!wanted.syn() || seen.syn()) && (!wanted.rst() || seen.rst()) &&
           (!wanted.psh() || seen.psh()) && (!wanted.ack() || seen.ack()) && (!wanted.urg() || seen.urg()) &&
           (!wanted.ece() || seen.ece()) && (!wanted.cwr() || seen.cwr()) && (!wanted.ns() || seen.ns());
}

// What is asked for each end of a flow alike.
struct End {
    bool source;
    [[nodiscard]] const flow::Endpoint& of(const flow::Flow& flow) const {
        return source ? flow.source() : flow.destination();
    }
    [[nodiscard]] const flow::Service& service(const flow::Flow& flow) const {
        return source ? flow.source_service() : flow.destination_service();
    }
    [[nodiscard]] const Texts& names(const flow::Flow& flow) const {
        return source ? flow.source_names() : flow.destination_names();
    }
};

template <class Pods, class Names, class Services, class Workloads, class Clusters, class Identities>
void add_end(std::vector<Test>& tests, End end, const Pods& pods, const Names& fqdns, const Services& services,
             const Workloads& workloads, const Clusters& clusters, const Identities& identities) {
    any_of(tests, pods, [end](const flow::Flow& flow, const std::string& text) {
        return NamePrefix::parse(text).matches(end.of(flow).namespace_(), end.of(flow).pod_name());
    });
    any_of(tests, fqdns, [end](const flow::Flow& flow, const std::string& pattern) {
        return std::ranges::any_of(end.names(flow),
                                   [&](const std::string& name) { return matches_fqdn(pattern, name); });
    });
    any_of(tests, services, [end](const flow::Flow& flow, const std::string& text) {
        return NamePrefix::parse(text).matches(end.service(flow).namespace_(), end.service(flow).name());
    });
    any_of(tests, workloads, [end](const flow::Flow& flow, const flow::Workload& wanted) {
        return std::ranges::any_of(end.of(flow).workloads(), [&](const flow::Workload& has) {
            return (wanted.name().empty() || wanted.name() == has.name()) &&
                   (wanted.kind().empty() || equal_fold(wanted.kind(), has.kind()));
        });
    });
    any_of(tests, clusters, [end](const flow::Flow& flow, const std::string& pattern) {
        return matches_pattern(pattern, end.of(flow).cluster_name(), true);
    });
    any_of(tests, identities,
           [end](const flow::Flow& flow, std::uint32_t identity) { return end.of(flow).identity() == identity; });
}

void add_numbers(std::vector<Test>& tests, const flow::FlowFilter& f) {
    any_of(tests, f.traffic_direction(),
           [](const flow::Flow& flow, int direction) { return flow.traffic_direction() == direction; });
    any_of(tests, f.verdict(), [](const flow::Flow& flow, int verdict) { return flow.verdict() == verdict; });
    any_of(tests, f.drop_reason_desc(),
           [](const flow::Flow& flow, int reason) { return flow.drop_reason_desc() == reason; });
    any_of(tests, f.event_type(), [](const flow::Flow& flow, const flow::EventTypeFilter& wanted) {
        // Type 0 stands for any, as in Hubble.
        return (wanted.type() == 0 || wanted.type() == flow.event_type().type()) &&
               (!wanted.match_sub_type() || wanted.sub_type() == flow.event_type().sub_type());
    });
    any_of(tests, f.reply(),
           [](const flow::Flow& flow, bool reply) { return flow.has_is_reply() && flow.is_reply().value() == reply; });
    any_of(tests, f.ip_version(), [](const flow::Flow& flow, int version) { return flow.ip().ipversion() == version; });
    any_of(tests, f.encrypted(),
           [](const flow::Flow& flow, bool encrypted) { return flow.ip().encrypted() == encrypted; });
    any_of(tests, f.ip_trace_id(), [](const flow::Flow& flow, std::uint64_t id) {
        return flow.has_ip_trace_id() && flow.ip_trace_id().trace_id() == id;
    });
    any_of(tests, f.tcp_flags(), [](const flow::Flow& flow, const flow::TCPFlags& wanted) {
        return flow.l4().has_tcp() && flags_fit(wanted, flow.l4().tcp().flags());
    });
    any_of(tests, f.interface(), [](const flow::Flow& flow, const flow::NetworkInterface& wanted) {
        return (wanted.name().empty() || wanted.name() == flow.interface().name()) &&
               (wanted.index() == 0 || wanted.index() == flow.interface().index());
    });
}

void add_texts(std::vector<Test>& tests, const flow::FlowFilter& f) {
    any_of(tests, f.uuid(), [](const flow::Flow& flow, const std::string& uuid) { return flow.uuid() == uuid; });
    any_of(tests, f.trace_id(), [](const flow::Flow& flow, const std::string& id) {
        return flow.trace_context().parent().trace_id() == id;
    });
    any_of(tests, f.node_name(),
           [](const flow::Flow& flow, const std::string& pattern) { return matches_node(pattern, flow.node_name()); });
    any_of(tests, f.http_method(), [](const flow::Flow& flow, const std::string& method) {
        return flow.l7().has_http() && equal_fold(flow.l7().http().method(), method);
    });
    any_of(tests, f.http_header(), [](const flow::Flow& flow, const flow::HTTPHeader& wanted) {
        return std::ranges::any_of(flow.l7().http().headers(), [&](const flow::HTTPHeader& header) {
            return equal_fold(header.key(), wanted.key()) && header.value() == wanted.value();
        });
    });
}

// The path of a URL, without query and fragment.
const std::string* url_path(const flow::Flow& flow) {
    if (!flow.l7().has_http()) return nullptr;
    static thread_local std::string path;
    std::string_view url = flow.l7().http().url();
    if (const std::size_t scheme = url.find("://"); scheme != std::string_view::npos) {
        const std::size_t slash = url.find('/', scheme + 3);
        url = slash == std::string_view::npos ? std::string_view() : url.substr(slash);
    }
    path = url.substr(0, url.find_first_of("?#"));
    return &path;
}

}  // namespace

Result<FlowMatcher::Filter> FlowMatcher::compile(const flow::FlowFilter& f) {
    Filter tests;
    if (f.experimental().cel_expression_size() != 0)
        return bad("cel_expression", f.experimental().cel_expression(0), "CEL is not supported; use the other filters");
    add_texts(tests, f);
    add_numbers(tests, f);
    add_end(tests, End{true}, f.source_pod(), f.source_fqdn(), f.source_service(), f.source_workload(),
            f.source_cluster_name(), f.source_identity());
    add_end(tests, End{false}, f.destination_pod(), f.destination_fqdn(), f.destination_service(),
            f.destination_workload(), f.destination_cluster_name(), f.destination_identity());
    TRY(add_prefixes(tests, "source_ip", f.source_ip(), [](const flow::Flow& flow) { return flow.ip().source(); }));
    TRY(add_prefixes(tests, "source_ip_xlated", f.source_ip_xlated(),
                     [](const flow::Flow& flow) { return flow.ip().source_xlated(); }));
    TRY(add_prefixes(tests, "destination_ip", f.destination_ip(),
                     [](const flow::Flow& flow) { return flow.ip().destination(); }));
    TRY(add_labels(tests, "source_label", f.source_label(),
                   [](const flow::Flow& flow) -> const Texts& { return flow.source().labels(); }));
    TRY(add_labels(tests, "destination_label", f.destination_label(),
                   [](const flow::Flow& flow) -> const Texts& { return flow.destination().labels(); }));
    TRY(add_labels(tests, "node_labels", f.node_labels(),
                   [](const flow::Flow& flow) -> const Texts& { return flow.node_labels(); }));
    TRY(add_status_codes(tests, f.http_status_code()));
    TRY(add_protocols(tests, f.protocol()));
    TRY(add_ports(tests, "source_port", f.source_port(), true));
    TRY(add_ports(tests, "destination_port", f.destination_port(), false));
    TRY(add_regexes(tests, "dns_query", f.dns_query(),
                    [](const flow::Flow& flow) { return flow.l7().has_dns() ? &flow.l7().dns().query() : nullptr; }));
    TRY(add_regexes(tests, "http_path", f.http_path(), url_path));
    TRY(add_regexes(tests, "http_url", f.http_url(),
                    [](const flow::Flow& flow) { return flow.l7().has_http() ? &flow.l7().http().url() : nullptr; }));
    return tests;
}

Result<FlowMatcher> FlowMatcher::build(const std::vector<flow::FlowFilter>& allow,
                                       const std::vector<flow::FlowFilter>& deny) {
    FlowMatcher out;
    for (const flow::FlowFilter& filter : allow) {
        TRY_ASSIGN(Filter compiled, compile(filter));
        out.allow_.push_back(std::move(compiled));
    }
    for (const flow::FlowFilter& filter : deny) {
        TRY_ASSIGN(Filter compiled, compile(filter));
        out.deny_.push_back(std::move(compiled));
    }
    return out;
}

bool FlowMatcher::matches(const flow::Flow& flow) const {
    const auto holds = [&](const Filter& filter) {
        return std::ranges::all_of(filter, [&](const Test& test) { return test(flow); });
    };
    return (allow_.empty() || std::ranges::any_of(allow_, holds)) && std::ranges::none_of(deny_, holds);
}

}  // namespace axo
