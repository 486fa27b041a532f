#include "app/operator/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/duration.h"
#include "base/file.h"
#include "features/ipam/pod_pools.h"
#include "model/names.h"

namespace axo {
namespace {

#ifndef AXO_VERSION
#define AXO_VERSION "0.1.0"
#endif

struct Option {
    const char* key;
    const char* default_text;
    const char* help;
    bool boolean;  // "--key" alone means true
    bool list;     // may be given several times
    // Stores the value, or says what would have been accepted.
    std::function<Status(OperatorConfig&, const std::string&)> parse;
};

std::unexpected<Error> accepted(std::string what) {
    return fail(Code::kInvalidArgument, std::move(what));
}

Result<bool> parse_bool(const std::string& text) {
    for (const char* yes : {"true", "True", "TRUE", "t", "1"}) {
        if (text == yes) return true;
    }
    for (const char* no : {"false", "False", "FALSE", "f", "0", ""}) {
        if (text == no) return false;
    }
    return accepted("true or false");
}

Result<std::int64_t> parse_number(std::string_view text, std::int64_t low, std::int64_t high) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number < low || number > high) {
        return accepted("a number from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return number;
}

Result<Duration> read_duration(std::string_view text) {
    const auto duration = parse_duration(text);
    if (!duration) return accepted("a duration such as 15s, 5m0s, 1h30m or 0");
    return *duration;
}

std::vector<std::string> split(std::string_view text, std::string_view separators) {
    std::vector<std::string> words;
    while (true) {
        const std::size_t start = text.find_first_not_of(separators);
        if (start == std::string_view::npos) return words;
        text.remove_prefix(start);
        const std::size_t end = std::min(text.find_first_of(separators), text.size());
        words.emplace_back(text.substr(0, end));
        text.remove_prefix(end);
    }
}

template <class Field>
auto boolean(Field field) {
    return [field](OperatorConfig& config, const std::string& text) -> Status {
        TRY_ASSIGN(field(config), parse_bool(text));
        return {};
    };
}
template <class Field>
auto duration(Field field, Duration least) {
    return [field, least](OperatorConfig& config, const std::string& text) -> Status {
        TRY_ASSIGN(const Duration value, read_duration(text));
        if (value < least)
            return accepted("a duration of at least " + std::to_string(least / std::chrono::milliseconds(1)) + "ms");
        field(config) = value;
        return {};
    };
}
template <class Field>
auto number(Field field, std::int64_t low, std::int64_t high) {
    return [=](OperatorConfig& config, const std::string& text) -> Status {
        TRY_ASSIGN(const std::int64_t value, parse_number(text, low, high));
        field(config) = static_cast<std::remove_reference_t<decltype(field(config))>>(value);
        return {};
    };
}
template <class Field>
auto cidrs(Field field) {
    return [field](OperatorConfig& config, const std::string& text) -> Status {
        std::vector<Prefix> all;
        for (const std::string& word : split(text, ", \t\n")) {
            const auto cidr = Prefix::parse_cidr(word);
            if (!cidr) return accepted("CIDRs without host bits, separated by commas; not so: \"" + word + "\"");
            all.push_back(*cidr);
        }
        field(config) = std::move(all);
        return {};
    };
}

template <class Field>
auto labels(Field field) {
    return [field](OperatorConfig& config, const std::string& text) -> Status {
        auto parsed = parse_label_list(text);
        if (!parsed) return accepted("KEY=VALUE[,KEY=VALUE…]");
        field(config) = std::move(*parsed);
        return {};
    };
}

// Empty: it does not listen.
template <class Field>
auto listen_address(Field field) {
    return [field](OperatorConfig& config, const std::string& text) -> Status {
        field(config).reset();
        if (text.empty()) return {};
        const auto where = parse_listen_address(text);
        if (!where) return accepted(where.error().message + "; empty: off");
        field(config) = *where;
        return {};
    };
}

Status parse_log_options(OperatorConfig& config, const std::string& text) {
    for (const std::string& word : split(text, ", \t\n")) {
        if (word == "format=json" || word == "format=json-ts")
            config.log_format = LogFormat::kJson;
        else if (word == "format=text" || word == "format=text-ts")
            config.log_format = LogFormat::kText;
        else if (word == "level=debug")
            config.log_level = LogLevel::kDebug;
        else if (word == "level=info")
            config.log_level = LogLevel::kInfo;
        else if (word == "level=warn" || word == "level=warning")
            config.log_level = LogLevel::kWarn;
        else if (word == "level=error")
            config.log_level = LogLevel::kError;
        else
            return accepted("format=text, format=json, level=debug, level=info, level=warn, level=error; not so: \"" +
                            word + "\"");
    }
    return {};
}

const std::vector<Option>& options() {
    using C = OperatorConfig;
    using std::chrono::milliseconds;
    using std::chrono::seconds;
    static const std::vector<Option> all = {
        {"object-store", "kubernetes:", "Where cluster state lives: kubernetes: or dir:/path", false, false,
         [](C& c, const std::string& text) -> Status {
             if (text.empty()) return accepted("dir:/path or kubernetes:");
             c.object_store = text;
             return {};
         }},
        {"k8s-api-server-urls", "", "API servers, separated by commas; empty: as the kubeconfig or the pod says", false,
         false,
         [](C& c, const std::string& text) -> Status {
             c.kubernetes.servers.clear();
             for (std::size_t at = 0; at < text.size();) {
                 const std::size_t comma = std::min(text.find(',', at), text.size());
                 if (comma > at) c.kubernetes.servers.push_back(text.substr(at, comma - at));
                 at = comma + 1;
             }
             return {};
         }},
        {"k8s-kubeconfig-path", "", "Kubeconfig; empty: the pod's service account", false, false,
         [](C& c, const std::string& text) -> Status {
             c.kubernetes.kubeconfig = text;
             return {};
         }},
        {"operator-k8s-client-burst", "200", "Requests to the API server at once", false, false,
         number([](C& c) -> int& { return c.kubernetes.burst; }, 1, 100'000)},
        {"operator-k8s-client-qps", "100", "Requests to the API server per second; 0: any number", false, false,
         number([](C& c) -> double& { return c.kubernetes.qps; }, 0, 100'000)},
        {"cluster-name", "default", "Name of the cluster", false, false,
         [](C& c, const std::string& text) -> Status {
             if (!is_dns_label(text)) return accepted(std::string(kDnsLabelRule));
             c.cluster_name = text;
             return {};
         }},
        {"ipam", "cluster-pool", "Who assigns pod CIDRs: cluster-pool, multi-pool (this operator) or kubernetes", false,
         false,
         [](C& c, const std::string& text) -> Status {
             if (text != "cluster-pool" && text != "multi-pool" && text != "kubernetes")
                 return accepted("cluster-pool, multi-pool, kubernetes");
             c.ipam = text;
             return {};
         }},
        {"auto-create-cilium-pod-ip-pools", "", "CiliumPodIPPools to make: NAME=ipv4-cidrs:CIDR,…;ipv4-mask-size:N",
         false, true,
         [](C& c, const std::string& text) -> Status {
             auto pools = parse_pool_list(text);
             if (!pools) return accepted("NAME=ipv4-cidrs:CIDR,…;ipv4-mask-size:N; " + pools.error().message);
             c.auto_pools = std::move(*pools);
             return {};
         }},
        {"enable-ipv4", "true", "Assign IPv4 pod CIDRs", true, false, boolean([](C& c) -> bool& { return c.ipv4; })},
        {"enable-ipv6", "false", "Assign IPv6 pod CIDRs", true, false, boolean([](C& c) -> bool& { return c.ipv6; })},
        {"cluster-pool-ipv4-cidr", "10.0.0.0/8", "IPv4 CIDRs to cut pod CIDRs from", false, true,
         cidrs([](C& c) -> std::vector<Prefix>& { return c.cluster_pool.ipv4_cidrs; })},
        {"cluster-pool-ipv4-mask-size", "24", "Prefix length of a node's IPv4 pod CIDR", false, false,
         number([](C& c) -> int& { return c.cluster_pool.ipv4_mask_size; }, 1, 32)},
        {"cluster-pool-ipv6-cidr", "fd00::/104", "IPv6 CIDRs to cut pod CIDRs from", false, true,
         cidrs([](C& c) -> std::vector<Prefix>& { return c.cluster_pool.ipv6_cidrs; })},
        {"cluster-pool-ipv6-mask-size", "120", "Prefix length of a node's IPv6 pod CIDR", false, false,
         number([](C& c) -> int& { return c.cluster_pool.ipv6_mask_size; }, 1, 128)},
        {"identity-gc-interval", "15m0s", "Interval of identity garbage collection; 0: off", false, false,
         duration([](C& c) -> Duration& { return c.identity_gc_interval; }, Duration{0})},
        {"identity-heartbeat-timeout", "30m0s", "How long an identity lives without a user", false, false,
         duration([](C& c) -> Duration& { return c.identity_heartbeat_timeout; }, milliseconds(1))},
        {"identity-gc-rate-interval", "1m0s", "Interval that identity-gc-rate-limit counts for", false, false,
         duration([](C& c) -> Duration& { return c.identity_gc_rate_interval; }, milliseconds(1))},
        {"identity-gc-rate-limit", "2500", "Identities removed per identity-gc-rate-interval at most", false, false,
         number([](C& c) -> std::size_t& { return c.identity_gc_rate_limit; }, 1, 1'000'000)},
        {"cilium-endpoint-gc-interval", "5m0s", "Interval of CiliumEndpoint garbage collection; 0: off", false, false,
         duration([](C& c) -> Duration& { return c.endpoint_gc_interval; }, Duration{0})},
        {"nodes-gc-interval", "5m0s", "Interval of CiliumNode garbage collection; 0: off", false, false,
         duration([](C& c) -> Duration& { return c.nodes_gc_interval; }, Duration{0})},
        {"enable-cilium-endpoint-slice", "false", "Put CiliumEndpoints into CiliumEndpointSlices", true, false,
         boolean([](C& c) -> bool& { return c.endpoint_slices; })},
        {"ces-max-ciliumendpoints-per-ces", "100", "Endpoints in a CiliumEndpointSlice at most", false, false,
         number([](C& c) -> std::size_t& { return c.endpoints_per_slice; }, 1, 10'000)},
        {"remove-cilium-node-taints", "true", "Remove the taint of nodes whose agent is ready", true, false,
         boolean([](C& c) -> bool& { return c.node_marks.remove_taint; })},
        {"set-cilium-node-taints", "false", "Taint nodes whose agent is scheduled and not ready", true, false,
         boolean([](C& c) -> bool& { return c.node_marks.set_taint; })},
        {"set-cilium-is-up-condition", "true", "Set condition NetworkUnavailable=False of nodes whose agent is ready",
         true, false, boolean([](C& c) -> bool& { return c.node_marks.set_condition; })},
        {"agent-not-ready-taint-key", "node.cilium.io/agent-not-ready", "Key of that taint", false, false,
         [](C& c, const std::string& text) -> Status {
             if (text.empty()) return accepted("the key of a taint");
             c.node_marks.taint_key = c.tables.taint_key = text;
             return {};
         }},
        {"cilium-pod-labels", "k8s-app=cilium", "Labels of the agents' pods", false, false,
         labels([](C& c) -> auto& { return c.tables.agent_labels; })},
        {"cilium-pod-namespace", "", "Namespace of the agents' pods; empty: k8s-namespace", false, false,
         [](C& c, const std::string& text) -> Status {
             if (!text.empty() && !is_dns_label(text)) return accepted(std::string(kDnsLabelRule));
             c.tables.agent_namespace = text;
             return {};
         }},
        {"pod-restart-selector", "k8s-app=kube-dns", "Labels of pods that are restarted when they have no endpoint",
         false, false, labels([](C& c) -> auto& { return c.tables.restartable_labels; })},
        {"unmanaged-pod-watcher-interval", "15s", "How often pods without an endpoint are looked for; 0: off", false,
         false,
         [](C& c, const std::string& text) -> Status {
             // Charts write a number of seconds.
             if (const auto bare = parse_number(text, 0, 86'400)) {
                 c.unmanaged_pod_interval = seconds(*bare);
                 return {};
             }
             TRY_ASSIGN(c.unmanaged_pod_interval, read_duration(text));
             return {};
         }},
        {"skip-crd-creation", "false", "Leave the CustomResourceDefinitions to somebody else", true, false,
         [](C& c, const std::string& text) -> Status {
             TRY_ASSIGN(const bool skip, parse_bool(text));
             c.register_crds = !skip;
             return {};
         }},
        {"k8s-namespace", "kube-system", "Namespace of the operator's lease", false, false,
         [](C& c, const std::string& text) -> Status {
             if (!is_dns_label(text)) return accepted(std::string(kDnsLabelRule));
             c.lease.lease.name_space = text;
             return {};
         }},
        {"leader-election-lease-duration", "15s", "A candidate takes over when the leader was silent for so long",
         false, false, duration([](C& c) -> Duration& { return c.lease.lease_duration; }, seconds(1))},
        {"leader-election-renew-deadline", "10s", "The leader gives up when it could not renew for so long", false,
         false, duration([](C& c) -> Duration& { return c.lease.renew_deadline; }, milliseconds(100))},
        {"leader-election-retry-period", "2s", "Interval of attempts to get or renew the lease", false, false,
         duration([](C& c) -> Duration& { return c.lease.retry_period; }, milliseconds(50))},
        {"operator-api-serve-addr", "127.0.0.1:9234", "Where the API (/healthz) listens; empty: off", false, false,
         listen_address([](C& c) -> auto& { return c.api; })},
        {"operator-prometheus-serve-addr", ":9963", "Where /metrics is served; empty: nowhere", false, false,
         listen_address([](C& c) -> auto& { return c.metrics; })},
        {"enable-metrics", "false", "Serve metrics", true, false,
         boolean([](C& c) -> auto& { return c.serve_metrics; })},
        {"log-opt", "", "format=text|json, level=debug|info|warn|error", false, true, parse_log_options},
        {"debug", "false", "Log at level debug", true, false,
         [](C& c, const std::string& text) -> Status {
             TRY_ASSIGN(const bool debug, parse_bool(text));
             if (debug) c.log_level = LogLevel::kDebug;
             return {};
         }},
    };
    return all;
}

constexpr char kEmptyValue = '\x01';

std::string environment_name(std::string key) {
    for (char& c : key) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return "CILIUM_" + key;
}

// What the command line says, key to value, and whether it only asks for a text.
Status read_arguments(int argc, const char* const* argv, std::map<std::string, std::string>& given,
                      std::string& config_dir, bool& check, std::optional<std::string>& print) {
    try {
        CLI::App app(
            "The operator of an Axoneme cluster: pod CIDRs and garbage collection; one leader works, others stand by",
            "axoneme-operator");
        app.set_version_flag("--version", "axoneme-operator " AXO_VERSION);
        std::map<std::string, std::vector<std::string>> values;
        app.add_option("--config-dir", config_dir, "Directory with one file per key");
        app.add_flag("--check-config", check, "Say whether the configuration is valid, and leave");
        for (const Option& option : options()) {
            std::string help = option.help;
            if (*option.default_text != '\0') help += std::string(" [").append(option.default_text).append("]");
            auto* added = app.add_option(std::string("--") + option.key, values[option.key], help);
            if (option.boolean)
                added->expected(0, 1)->default_str("true");
            else
                added->expected(1);
            added->multi_option_policy(option.list ? CLI::MultiOptionPolicy::TakeAll
                                                   : CLI::MultiOptionPolicy::TakeLast);
        }
        // "--key=" would make CLI11 take the next argument for the value.
        std::vector<std::string> arguments;  // last first, as CLI11 wants them
        for (int i = argc - 1; i > 0; --i) {
            const std::string_view argument = argv[i];
            arguments.emplace_back(argument);
            if (argument.starts_with("--") && argument.ends_with('=')) arguments.back() += kEmptyValue;
        }
        try {
            app.parse(std::move(arguments));
        } catch (const CLI::CallForHelp&) {
            print = app.help();
            return {};
        } catch (const CLI::CallForVersion&) {
            print = app.version() + "\n";
            return {};
        }
        for (const Option& option : options()) {
            if (app.count(std::string("--") + option.key) == 0) continue;
            std::string joined;
            for (const std::string& value : values[option.key]) joined += (joined.empty() ? "" : ",") + value;
            if (joined.empty() && option.boolean) joined = "true";
            std::erase(joined, kEmptyValue);
            given[option.key] = joined;
        }
        return {};
    } catch (const std::exception& error) {
        return fail(Code::kInvalidArgument,
                    std::string(error.what()) + "; accepted: the flags that axoneme-operator --help lists");
    }
}

Status read_config_dir(const std::string& directory, std::map<std::string, std::string>& found) {
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
        return fail(Code::kNotFound, "config-dir: \"" + directory + "\"; accepted: a directory with one file per key");
    }
    // Keys of the agent share the directory: only ours are looked at.
    for (const Option& option : options()) {
        const std::filesystem::path path = std::filesystem::path(directory) / option.key;
        if (!std::filesystem::exists(path, error)) continue;
        TRY_ASSIGN(std::string text, read_file(path));
        while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
        found[option.key] = std::move(text);
    }
    return {};
}

}  // namespace

Result<OperatorInvocation> parse_operator_config(int argc, const char* const* argv,
                                                 const std::map<std::string, std::string>& environment) {
    OperatorInvocation invocation;
    OperatorConfig& config = invocation.config;
    std::map<std::string, std::string> given;
    std::string config_dir;
    bool check = false;
    TRY(read_arguments(argc, argv, given, config_dir, check, invocation.print));
    if (invocation.print) return invocation;
    if (const auto found = environment.find("CILIUM_CONFIG_DIR"); config_dir.empty() && found != environment.end()) {
        config_dir = found->second;
    }
    std::map<std::string, std::string> from_directory;
    if (!config_dir.empty()) TRY(read_config_dir(config_dir, from_directory));

    std::string errors;
    const auto complain = [&errors](const std::string& text) { errors += (errors.empty() ? "" : "\n") + text; };
    for (const Option& option : options()) {
        std::string value = option.default_text;
        std::string source = "--" + std::string(option.key);
        if (const auto flag = given.find(option.key); flag != given.end()) {
            value = flag->second;
        } else if (const auto variable = environment.find(environment_name(option.key));
                   variable != environment.end()) {
            value = variable->second;
            source = variable->first;
        } else if (const auto file = from_directory.find(option.key); file != from_directory.end()) {
            value = file->second;
            source = config_dir + "/" + option.key;
        }
        if (auto done = option.parse(config, value); !done) {
            complain(source + ": \"" + value + "\"; accepted: " + done.error().message);
        }
    }
    if (config.tables.agent_namespace.empty()) config.tables.agent_namespace = config.lease.lease.name_space;
    if (!config.ipv4) config.cluster_pool.ipv4_cidrs.clear();
    if (!config.ipv6) config.cluster_pool.ipv6_cidrs.clear();
    if (!config.ipv4 && !config.ipv6)
        complain("--enable-ipv4, --enable-ipv6: both false; accepted: at least one of them true");
    if (config.ipam == "cluster-pool") {
        if (config.ipv4 && config.cluster_pool.ipv4_cidrs.empty()) {
            complain("--cluster-pool-ipv4-cidr: empty; accepted: at least one CIDR while enable-ipv4 is true");
        }
        if (config.ipv6 && config.cluster_pool.ipv6_cidrs.empty()) {
            complain("--cluster-pool-ipv6-cidr: empty; accepted: at least one CIDR while enable-ipv6 is true");
        }
        if (auto pool = ClusterPool::create(config.cluster_pool); !pool) complain("--" + pool.error().message);
    }
    if (config.lease.lease_duration <= config.lease.renew_deadline ||
        config.lease.renew_deadline <= config.lease.retry_period) {
        complain(
            "--leader-election-lease-duration, --leader-election-renew-deadline, --leader-election-retry-period: "
            "accepted: each longer than the next");
    }
    if (!errors.empty()) return fail(Code::kInvalidArgument, std::move(errors));
    if (check) invocation.print = "the configuration is valid\n";
    return invocation;
}

}  // namespace axo
