#include "app/cli/observe/filter_flags.h"

#include <gtest/gtest.h>

#include "hubble/text/proto_json.h"

namespace axo::cli {
namespace {

std::string json(const std::vector<flow::FlowFilter>& filters) {
    std::string out;
    for (const flow::FlowFilter& filter : filters) out += proto_json(filter);
    return out;
}

struct Parsed {
    std::string allow, deny, error;
};

Parsed parse(const std::vector<std::string>& arguments) {
    FilterFlags flags;
    const auto rest = parse_flags({&flags.set()}, arguments);
    if (!rest) return {.allow = "", .deny = "", .error = rest.error().message};
    if (const Status checked = flags.check(); !checked)
        return {.allow = "", .deny = "", .error = checked.error().message};
    EXPECT_TRUE(rest->empty());
    return {.allow = json(flags.allow()), .deny = json(flags.deny()), .error = ""};
}

struct Case {
    std::vector<std::string> arguments;
    const char* allow;
};

class FilterFlag : public testing::TestWithParam<Case> {};

TEST_P(FilterFlag, BecomesTheFilter) {
    const Parsed parsed = parse(GetParam().arguments);
    EXPECT_EQ(parsed.error, "");
    EXPECT_EQ(parsed.allow, GetParam().allow);
    EXPECT_EQ(parsed.deny, "");
    // The same behind --not is the same deny list.
    std::vector<std::string> denied = GetParam().arguments;
    std::vector<std::string> with_not;
    for (std::string& argument : denied) {
        if (argument.starts_with('-')) with_not.emplace_back("--not");
        with_not.push_back(std::move(argument));
    }
    EXPECT_EQ(parse(with_not).deny, GetParam().allow);
    EXPECT_EQ(parse(with_not).allow, "");
}

INSTANTIATE_TEST_SUITE_P(
    All, FilterFlag,
    testing::Values(
        Case{{"--uuid", "a"}, R"({"uuid":["a"]})"},
        Case{{"--verdict", "DROPPED", "--verdict=AUDIT"}, R"({"verdict":["DROPPED","AUDIT"]})"},
        Case{{"--verdict", "DROPPED", "--protocol", "tcp"}, R"({"verdict":["DROPPED"],"protocol":["tcp"]})"},
        Case{{"--drop-reason-desc", "POLICY_DENIED"}, R"({"drop_reason_desc":["POLICY_DENIED"]})"},
        Case{{"--pod", "web"}, R"({"source_pod":["web"]}{"destination_pod":["web"]})"},
        Case{{"--from-pod", "web"}, R"({"source_pod":["web"]})"},
        Case{{"--to-pod", "kube-system/dns"}, R"({"destination_pod":["kube-system/dns"]})"},
        Case{{"-n", "shop"}, R"({"source_pod":["shop/"]}{"destination_pod":["shop/"]})"},
        Case{{"-n", "shop", "-n", "bank"}, R"({"source_pod":["shop/","bank/"]}{"destination_pod":["shop/","bank/"]})"},
        Case{{"-n", "shop", "--pod", "web"}, R"({"source_pod":["shop/web"]}{"destination_pod":["shop/web"]})"},
        Case{{"--pod", "web", "-n", "shop"}, R"({"source_pod":["shop/web"]}{"destination_pod":["shop/web"]})"},
        Case{{"--service", "shop/web"}, R"({"source_service":["shop/web"]}{"destination_service":["shop/web"]})"},
        Case{{"--from-namespace", "a", "--to-namespace", "b"}, R"({"source_pod":["a/"],"destination_pod":["b/"]})"},
        Case{{"-A"}, R"({"source_pod":["/"]}{"destination_pod":["/"]})"},
        Case{{"--to-all-namespaces"}, R"({"destination_pod":["/"]})"},
        Case{{"--ip", "10.0.0.0/8"}, R"({"source_ip":["10.0.0.0/8"]}{"destination_ip":["10.0.0.0/8"]})"},
        Case{{"--snat-ip", "1.1.1.1"}, R"({"source_ip_xlated":["1.1.1.1"]})"},
        Case{{"-4"}, R"({"ip_version":["IPv4"]})"}, Case{{"--ipv6"}, R"({"ip_version":["IPv6"]})"},
        Case{{"--ip-version", "none"}, R"({"ip_version":["IP_NOT_USED"]})"},
        Case{{"-l", "app=web"}, R"({"source_label":["app=web"]}{"destination_label":["app=web"]})"},
        Case{{"--fqdn", "*.io"}, R"({"source_fqdn":["*.io"]}{"destination_fqdn":["*.io"]})"},
        Case{{"--port", "80", "--protocol", "udp"},
             R"({"protocol":["udp"],"source_port":["80"]}{"protocol":["udp"],"destination_port":["80"]})"},
        Case{{"--to-port", "80", "--from-port", "1024"}, R"({"source_port":["1024"],"destination_port":["80"]})"},
        Case{{"--from-workload", "Deployment/web"}, R"({"source_workload":[{"name":"web","kind":"Deployment"}]})"},
        Case{{"--to-workload", "web"}, R"({"destination_workload":[{"name":"web"}]})"},
        Case{{"--identity", "world"}, R"({"source_identity":[2]}{"destination_identity":[2]})"},
        Case{{"--from-identity", "12345"}, R"({"source_identity":[12345]})"},
        Case{{"--cluster", "prod-*"}, R"({"source_cluster_name":["prod-*"]}{"destination_cluster_name":["prod-*"]})"},
        Case{{"-t", "drop", "-ttrace:to-endpoint"}, R"({"event_type":[{"type":1},{"type":4,"match_sub_type":true}]})"},
        Case{{"--type=trace:from-crypto"}, R"({"event_type":[{"type":4,"match_sub_type":true,"sub_type":12}]})"},
        Case{{"-t", "129:1"}, R"({"event_type":[{"type":129,"match_sub_type":true,"sub_type":1}]})"},
        Case{{"--tcp-flags", "syn,ack"}, R"({"tcp_flags":[{"SYN":true,"ACK":true}]})"},
        Case{{"--http-status", "5+", "--http-method", "get"}, R"({"http_status_code":["5+"],"http_method":["get"]})"},
        Case{{"--http-header", "a:b:c"}, R"({"http_header":[{"key":"a","value":"b:c"}]})"},
        Case{{"--http-path", "/p", "--http-url", "u"}, R"({"http_path":["/p"],"http_url":["u"]})"},
        Case{{"--node-name", "k*", "--node-label", "x=y"}, R"({"node_name":["k*"],"node_labels":["x=y"]})"},
        Case{{"--traffic-direction", "Egress"}, R"({"traffic_direction":["EGRESS"]})"},
        Case{{"--trace-id", "t", "--ip-trace-id", "7"}, R"({"trace_id":["t"],"ip_trace_id":["7"]})"},
        Case{{"--interface", "eth0"}, R"({"interface":[{"name":"eth0"}]})"},
        Case{{"--encrypted"}, R"({"encrypted":[true]})"}, Case{{"--unencrypted"}, R"({"encrypted":[false]})"},
        Case{{"--cel-expression", "true"}, R"({"experimental":{"cel_expression":["true"]}})"}));

TEST(FilterFlags, NotTakesOneFlagOnly) {
    const Parsed parsed = parse({"--not", "--verdict", "DROPPED", "--to-port", "80"});
    EXPECT_EQ(parsed.allow, R"({"destination_port":["80"]})");
    EXPECT_EQ(parsed.deny, R"({"verdict":["DROPPED"]})");
}

TEST(FilterFlags, RefusesWhatHasNoMeaning) {
    const std::pair<std::vector<std::string>, const char*> cases[] = {
        {{"--not"}, "trailing --not found in the arguments"},
        {{"--not", "--not", "--ip", "1.1.1.1"}, "consecutive --not statements"},
        {{"--ip", "1.1.1.1", "--pod", "a"}, "filters --ip and --pod cannot be combined"},
        {{"--port", "1", "--to-port", "2"}, "filters --port and --to-port cannot be combined"},
        {{"--encrypted", "--unencrypted"}, "filters --encrypted and --unencrypted cannot be combined"},
        {{"--verdict", "LOST"}, "invalid --verdict value: LOST"},
        {{"--drop-reason-desc", ""}, "empty --drop-reason-desc value"},
        {{"--tcp-flags", "syn,nak"}, "unknown tcp flag: nak"},
        {{"--http-header", "novalue"}, "expected name:value"},
        {{"--type", "bogus"}, "unable to parse type 'bogus'"},
        {{"--type", "trace:nowhere"}, "unable to parse event sub-type 'nowhere'"},
        {{"--identity", "nobody"}, "invalid security identity"},
        {{"--ip-trace-id", "0"}, "must be greater than 0"},
        {{"--traffic-direction", "up"}, "expected ingress or egress"},
        {{"--from-pod", "a/x", "--from-namespace", "b"}, "namespace conflict: \"b\" does not contain \"a/x\""},
        {{"--from-pod", "a/x", "--from-service", "b/y"}, "namespace of service \"b/y\" conflict with pod \"a\""},
        {{"--bogus"}, "unknown flag: --bogus"},
        {{"-X"}, "unknown shorthand flag: 'X' in -X"},
        {{"--verdict"}, "flag needs an argument: --verdict"},
    };
    for (const auto& [arguments, error] : cases) {
        SCOPED_TRACE(arguments.front());
        EXPECT_NE(parse(arguments).error.find(error), std::string::npos) << parse(arguments).error;
    }
}

TEST(FilterFlags, RawFiltersAreReadAndPrinted) {
    const auto read = parse_raw_filters(
        "allowlist", {R"({"verdict":["DROPPED"]} {"source_pod":["a}\"/"]})", R"({"sourceIp":["1.1.1.1"]})"});
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(json(*read), R"({"verdict":["DROPPED"]}{"source_pod":["a}\"/"]}{"source_ip":["1.1.1.1"]})");
    EXPECT_EQ(raw_filters_yaml(*read, {}),
              "allowlist:\n    - '{\"verdict\":[\"DROPPED\"]}'\n    - '{\"source_pod\":[\"a}\\\"/\"]}'\n    - "
              "'{\"source_ip\":[\"1.1.1.1\"]}'\n");
    EXPECT_FALSE(parse_raw_filters("allowlist", {"{"}));
    EXPECT_FALSE(parse_raw_filters("allowlist", {R"({"bogus":1})"}));
}

}  // namespace
}  // namespace axo::cli
