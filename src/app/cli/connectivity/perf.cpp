#include "app/cli/connectivity/perf.h"

#include <algorithm>
#include <cstdio>

#include "app/cli/context.h"
#include "app/cli/output/tab_writer.h"
#include "base/duration.h"

namespace axo::cli::connectivity {

namespace {

struct Pair {
    std::string scenario;
    bool same_node = false;
    Peer client, server;
};

struct Test {
    const char* name;
    std::vector<std::string> mode;
};

double real(const Json& json, const char* key) {
    const Json& value = field(json, key);
    return value.is_number() ? value.get<double>() : 0;
}

Result<Measurement> measure(TestCluster& cluster, const Pair& pair, const Test& test, const PerfOptions& options) {
    std::vector<Measurement> samples;
    for (int i = 0; i < options.samples; ++i) {
        std::vector<std::string> arguments = test.mode;
        IpAddress to = pair.server.address(Family::kIpv4);
        if (!to) to = pair.server.address(Family::kIpv6);
        arguments.insert(arguments.end(), {"--to", to.to_string(), "--port", std::to_string(kPort), "--seconds",
                                           std::to_string(options.seconds)});
        TRY_ASSIGN(const std::string text,
                   cluster.run(pair.client, arguments, "",
                               std::chrono::milliseconds(static_cast<int>(options.seconds * 1000) + 20000)));
        const Json json = Json::parse(text, nullptr, false);
        if (!json.is_object()) return fail(Code::kDataLoss, std::string(test.name) + ": the answer is not readable");
        samples.push_back({.scenario = pair.scenario,
                           .same_node = pair.same_node,
                           .test = test.name,
                           .seconds = real(json, "seconds"),
                           .min = real(json, "min-us"),
                           .mean = real(json, "mean-us"),
                           .max = real(json, "max-us"),
                           .p50 = real(json, "p50-us"),
                           .p90 = real(json, "p90-us"),
                           .p99 = real(json, "p99-us"),
                           .per_second = real(json, "per-second"),
                           .mbit_per_second = real(json, "mbit-per-second")});
    }
    const auto size = [](const Measurement& one) { return one.per_second + one.mbit_per_second; };
    std::ranges::sort(samples, {}, size);
    return samples[samples.size() / 2];
}

Result<std::vector<Pair>> deploy_pairs(TestCluster& cluster, const PerfOptions& options) {
    TRY_ASSIGN(const std::vector<Peer> nodes, cluster.nodes());
    if (nodes.empty()) return fail(Code::kFailedPrecondition, cluster.name() + " has no nodes");
    const Peer& here = nodes.front();
    const Peer& there = nodes.back();
    std::vector<PodRequest> requests{
        {.name = "perf-client", .node = here.name, .labels = {{"kind", "perf"}}},
        {.name = "perf-server", .node = here.name, .labels = {{"kind", "perf"}}, .serves = true}};
    const bool two = nodes.size() > 1;
    if (two)
        requests.push_back(
            {.name = "perf-server-other-node", .node = there.name, .labels = {{"kind", "perf"}}, .serves = true});
    TRY_ASSIGN(const std::vector<Peer> pods, cluster.deploy(requests));
    std::vector<Pair> pairs;
    if (options.same_node) pairs.push_back({"pod-to-pod", true, pods[0], pods[1]});
    if (options.host_net) {
        TRY(cluster.serve(here));
        if (two) TRY(cluster.serve(there));
        if (options.same_node) pairs.push_back({"host-to-pod", true, here, pods[1]});
        if (options.same_node) pairs.push_back({"host-to-host", true, here, here});
    }
    if (!two || !options.other_node) return pairs;
    pairs.push_back({"pod-to-pod", false, pods[0], pods[2]});
    if (!options.host_net) return pairs;
    pairs.push_back({"pod-to-host", false, pods[0], there});
    pairs.push_back({"host-to-pod", false, here, pods[2]});
    pairs.push_back({"host-to-host", false, here, there});
    return pairs;
}

std::string go_time(double microseconds) {
    return duration_text(std::chrono::nanoseconds(static_cast<std::int64_t>(microseconds * 1000)));
}

std::string padded(std::string text, std::size_t width) {
    if (text.size() < width) text.append(width - display_width(text), ' ');
    return text;
}

}  // namespace

std::string perf_text(const std::vector<Measurement>& measurements, const std::string& name_space) {
    const auto line = [](std::size_t columns) { return std::string(columns, '-') + "\n"; };
    const auto start = [](const Measurement& one) {
        return "📋 " + padded(one.scenario, 15) + " | " + padded(one.same_node ? "same-node" : "other-node", 10) +
               " | " + padded(one.test, 15) + " | " +
               padded(duration_text(std::chrono::seconds(static_cast<std::int64_t>(one.seconds + 0.5))), 10);
    };
    std::string text = "🔥 Network Performance Test Summary [" + name_space + "]:\n";
    std::string rates, throughput;
    for (const Measurement& one : measurements) {
        if (one.per_second > 0) {
            rates += start(one);
            for (const double value : {one.min, one.mean, one.max, one.p50, one.p90, one.p99})
                rates += " | " + padded(go_time(value), 12);
            char rate[32];
            std::snprintf(rate, sizeof rate, "%.2f", one.per_second);
            rates += std::string(" | ") + rate + "\n";
        } else {
            char rate[32];
            std::snprintf(rate, sizeof rate, "%.2f", one.mbit_per_second);
            throughput += start(one) + " | " + rate + "\n";
        }
    }
    const std::string head = "📋 Scenario        | Node       | Test            | Duration  ";
    if (!rates.empty())
        text +=
            line(165) + head +
            " | Min          | Mean         | Max          | P50          | P90          | P99          | Transaction rate OP/s\n" +
            line(165) + rates;
    if (!throughput.empty()) text += line(80) + head + " | Throughput Mb/s\n" + line(80) + throughput + line(80);
    return text;
}

Json perf_json(const std::vector<Measurement>& measurements) {
    Json list = Json::array();
    for (const Measurement& one : measurements) {
        Json item{{"scenario", one.scenario},
                  {"node", one.same_node ? "same-node" : "other-node"},
                  {"test", one.test},
                  {"seconds", one.seconds}};
        if (one.per_second > 0) {
            item.update(Json{{"min-us", one.min},
                             {"mean-us", one.mean},
                             {"max-us", one.max},
                             {"p50-us", one.p50},
                             {"p90-us", one.p90},
                             {"p99-us", one.p99},
                             {"per-second", one.per_second}});
        } else {
            item["mbit-per-second"] = one.mbit_per_second;
        }
        list.push_back(std::move(item));
    }
    return list;
}

Status run_perf(TestCluster& cluster, const PerfOptions& options) {
    std::vector<Test> tests{{"TCP_RR", {"rr"}}, {"TCP_STREAM", {"bulk"}}};
    if (options.crr) tests.insert(tests.begin(), Test{"TCP_CRR", {"crr"}});
    if (options.udp) tests.push_back({"UDP_RR", {"rr", "--protocol", "udp"}});
    TRY(cluster.clean());
    const auto pairs = deploy_pairs(cluster, options);
    std::vector<Measurement> measurements;
    Status outcome = pairs ? Status{} : forward_error(pairs.error());
    for (const Pair& pair : pairs ? *pairs : std::vector<Pair>{}) {
        for (const Test& test : tests) {
            auto measured = measure(cluster, pair, test, options);
            if (measured) {
                measurements.push_back(std::move(*measured));
            } else if (outcome) {
                outcome = forward_error(std::move(measured).error().with_context(pair.scenario + " " + test.name));
            }
        }
    }
    const Status cleaned = cluster.clean();
    TRY(print_as(options.output, perf_json(measurements), [&] { return perf_text(measurements, options.name_space); }));
    TRY(std::move(outcome));
    return cleaned;
}

}  // namespace axo::cli::connectivity
