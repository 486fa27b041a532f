// Keys of Hubble.
#include <bit>

#include "app/agent/config_parse.h"
#include "hubble/core/flow_metrics.h"
#include "hubble/text/proto_json.h"

namespace axo {

using namespace config_parse;

namespace {

// Both families where only a port is given.
Status parse_listen(const std::string& value, std::vector<IpAddress>& addresses, std::uint16_t& port) {
    const auto where = parse_listen_address(value);
    if (!where) return not_accepted(where.error().message);
    port = where->port;
    addresses = where->address ? std::vector{where->address} : std::vector{IpAddress::v4(0U), *IpAddress::parse("::")};
    return {};
}

Status parse_hubble_listen(Config& config, const std::string& value) {
    config.hubble.listen_addresses.clear();
    if (value.empty()) return {};
    return parse_listen(value, config.hubble.listen_addresses, config.hubble.listen_port);
}

Status parse_filters(std::vector<std::string>& into, const std::string& value) {
    auto objects = split_json_objects(value);
    if (!objects) return not_accepted("FlowFilters as JSON objects behind one another");
    into = std::move(*objects);
    return {};
}

Status parse_milliseconds(std::chrono::milliseconds& into, const std::string& value) {
    TRY_ASSIGN(const Duration duration, parse_duration(value));
    into = std::chrono::duration_cast<std::chrono::milliseconds>(duration);
    return {};
}

Status parse_capacity(Config& config, const std::string& value) {
    const auto number = parse_number(value, 1, 65535);
    if (!number || !std::has_single_bit(*number + 1))
        return not_accepted("one less than a power of two, from 1 to 65535, e.g. 4095");
    config.hubble.capacity = static_cast<std::size_t>(*number);
    return {};
}

}  // namespace

void add_hubble_options(std::vector<ConfigOption>& all) {
    const auto add = [&](std::string key, std::string fallback, std::string help, Parse parse) {
        const bool boolean = fallback == "true" || fallback == "false";
        all.push_back({std::move(key), std::move(fallback), std::move(help), boolean, std::move(parse)});
    };
    add("enable-hubble", "false", "keep and serve flows", flag(FIELD(hubble.enabled)));
    add("hubble-disable-tls", "false", "hubble-listen-address without TLS",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(const bool off, parse_bool(v));
            c.hubble.tls = !off;
            return {};
        });
    add("hubble-event-buffer-capacity", "4095", "flows that are kept in memory: 2^n-1", parse_capacity);
    add("hubble-export-aggregation-interval", "0s", "write flows of a kind once in this time; 0s: each",
        [](Config& c, const std::string& v) { return parse_milliseconds(c.hubble.exported.aggregation_interval, v); });
    add("hubble-export-allowlist", "", "export only flows that one of these FlowFilters fits",
        [](Config& c, const std::string& v) { return parse_filters(c.hubble.exported.include, v); });
    add("hubble-export-denylist", "", "export no flows that one of these FlowFilters fits",
        [](Config& c, const std::string& v) { return parse_filters(c.hubble.exported.exclude, v); });
    add("hubble-export-fieldaggregate", "", "fields that make flows one of a kind",
        list(FIELD(hubble.exported.aggregate)));
    add("hubble-export-fieldmask", "", "export only these fields", list(FIELD(hubble.exported.field_mask)));
    add("hubble-export-file-compress", "false", "compress files that are full",
        flag(FIELD(hubble.exported.file.compress)));
    add("hubble-export-file-max-backups", "5", "full files that are kept",
        number(FIELD(hubble.exported.file.max_backups), 0, 100'000));
    add("hubble-export-file-max-size-mb", "10", "a file is full with this many MiB",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(const std::uint64_t mib, parse_number(v, 1, 1'000'000));
            c.hubble.exported.file.max_bytes = mib << 20;
            return {};
        });
    add("hubble-export-file-path", "", "write flows as lines of JSON to this file, or to stdout",
        [](Config& c, const std::string& v) -> Status {
            if (!v.empty() && v != "stdout" && !v.starts_with('/')) return not_accepted("an absolute path, or stdout");
            c.hubble.exported.file.path = v;
            return {};
        });
    add("hubble-flowlogs-config-path", "", "YAML file that says what else to export; read again when it changes",
        absolute_path(FIELD(hubble.flow_logs)));
    add("hubble-history-max-age", "24h", "flows in hubble-history-path go when they are older",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(const Duration age, parse_duration(v));
            if (age < std::chrono::minutes(1)) return not_accepted("a duration of at least 1m, e.g. 24h");
            c.hubble.history.max_age = std::chrono::duration_cast<std::chrono::seconds>(age);
            return {};
        });
    add("hubble-history-max-size-mb", "100", "the oldest flows in hubble-history-path go when it has more MiB",
        [](Config& c, const std::string& v) -> Status {
            TRY_ASSIGN(const std::uint64_t mib, parse_number(v, 2, 1'000'000));
            c.hubble.history.max_bytes = mib << 20;
            c.hubble.history.segment_bytes = std::min<std::uint64_t>(8U << 20, c.hubble.history.max_bytes / 4);
            return {};
        });
    add("hubble-history-path", "", "directory that keeps flows over restarts; nothing: only the last ones are kept",
        absolute_path(FIELD(hubble.history.path)));
    add("hubble-listen-address", "", "where other nodes reach Hubble, e.g. :4244; nothing: only the unix socket",
        parse_hubble_listen);
    add("hubble-metrics", "", "metrics over flows, e.g. \"drop:sourceContext=pod tcp flow\"; nothing: none",
        [](Config& c, const std::string& v) -> Status {
            if (auto parsed = hubble::FlowMetrics::parse(v); !parsed) return not_accepted(parsed.error().message);
            c.hubble.metrics = v;
            return {};
        });
    add("hubble-metrics-server", ":9965", "where hubble-metrics are served",
        [](Config& c, const std::string& v) -> Status {
            return v.empty() ? Status{} : parse_listen(v, c.hubble.metrics_addresses, c.hubble.metrics_port);
        });
    add("hubble-metrics-server-enable-tls", "false", "false",
        one_of({{"false", [](Config&) {}}}, " (TLS for metrics is not available in this version)"));
    add("hubble-observe-dns", "true", "flows of pods' DNS messages, and DNS names in others; needs enable-hubble",
        flag(FIELD(hubble.dns)));
    add("hubble-prefer-ipv6", "false", "tell relay the nodes' IPv6 addresses", flag(FIELD(hubble.prefer_ipv6)));
    add("hubble-socket-path", "<state-dir>/hubble.sock", "unix socket of Hubble's server",
        absolute_path(FIELD(hubble.socket_path)));
    add("hubble-tls-cert-file", "", "certificate of Hubble's server; read again when it changes",
        absolute_path(FIELD(hubble.certificate)));
    add("hubble-tls-client-ca-files", "", "CAs of clients' certificates; nothing: clients need none",
        [](Config& c, const std::string& v) -> Status {
            c.hubble.client_cas.clear();
            for (const std::string& file : split_list(v)) {
                if (!file.starts_with('/')) return not_accepted("absolute paths");
                c.hubble.client_cas.emplace_back(file);
            }
            return {};
        });
    add("hubble-tls-key-file", "", "key of Hubble's server", absolute_path(FIELD(hubble.key)));
}

void check_hubble(const Config& config, std::vector<std::string>& errors) {
    const HubbleConfig& wanted = config.hubble;
    if (!wanted.enabled) return;
    if (!wanted.exported.file.path.empty()) {
        if (auto checked = hubble::Exporters::check(wanted.exported); !checked)
            errors.push_back("hubble-export: " + checked.error().message);
    }
    if (wanted.listen_addresses.empty() || !wanted.tls) return;
    if (wanted.certificate.empty() || wanted.key.empty())
        errors.push_back(
            "hubble-listen-address needs hubble-tls-cert-file and hubble-tls-key-file, or hubble-disable-tls=true");
}

}  // namespace axo
