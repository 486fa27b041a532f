#include "app/relay/options.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>

#include "base/duration.h"
#include "base/file.h"
#include "hubble/text/version.h"
#include "model/yaml.h"

namespace axo {
namespace {

constexpr const char* kUsualConfig = "/etc/hubble-relay/config.yaml";
constexpr std::chrono::milliseconds kNever{0}, kMostTime{10'000'000'000};

struct Key {
    std::string_view name, help;
    bool flag = false;  // a bare --name means true
    std::function<Status(RelayOptions&, const std::string&)> set = nullptr;
};

Status set_bool(bool& value, const std::string& text) {
    if (text == "true" || text == "1")
        value = true;
    else if (text == "false" || text == "0")
        value = false;
    else
        return fail(Code::kInvalidArgument, "expected true or false, got '" + text + "'");
    return {};
}

template <class Int>
Status set_number(Int& value, const std::string& text, std::uint64_t least, std::uint64_t most) {
    std::uint64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size() || number < least || number > most)
        return fail(Code::kInvalidArgument, "expected a number from " + std::to_string(least) + " to " +
                                                std::to_string(most) + ", got '" + text + "'");
    value = static_cast<Int>(number);
    return {};
}

Status set_duration(std::chrono::milliseconds& value, const std::string& text) {
    const auto read = parse_duration(text);
    const auto number = read ? std::chrono::duration_cast<std::chrono::milliseconds>(*read) : kNever;
    if (number < std::chrono::milliseconds(1) || number > kMostTime)
        return fail(Code::kInvalidArgument, "expected a duration such as 500ms or 30s, got '" + text + "'");
    value = number;
    return {};
}

void split(std::vector<std::string>& list, const std::string& text) {
    std::size_t from = 0;
    while (from <= text.size() && !text.empty()) {
        const std::size_t comma = std::min(text.find_first_of(", ", from), text.size());
        if (comma != from) list.push_back(text.substr(from, comma - from));
        from = comma + 1;
    }
}

Status ignore(RelayOptions&, const std::string&) {
    return {};
}

template <class Member>
auto text_key(Member member) {
    return [member](RelayOptions& o, const std::string& v) -> Status {
        member(o) = v;
        return {};
    };
}

// A file for each word; a flag that comes again adds to it.
template <class Member>
auto files_key(Member member) {
    return [member](RelayOptions& o, const std::string& v) -> Status {
        split(member(o), v);
        return {};
    };
}

template <class Member>
auto off_key(Member member) {
    return [member](RelayOptions& o, const std::string& v) -> Status {
        bool off = false;
        TRY(set_bool(off, v));
        member(o) = !off;
        return {};
    };
}

const std::vector<Key>& keys() {
    using O = RelayOptions;
    static const std::vector<Key> all = {
        {.name = "cluster-name",
         .help = "Name of the cluster (default \"default\")",
         .set = text_key([](O& o) -> std::string& { return o.relay.cluster_name; })},
        {.name = "peer-service",
         .help = "Address of the service that knows all agents (default \"unix:///var/run/cilium/hubble.sock\")",
         .set = text_key([](O& o) -> std::string& { return o.relay.peer_service; })},
        {.name = "listen-address",
         .help = "Address for clients: host:port or unix:///path (default \":4245\")",
         .set = text_key([](O& o) -> std::string& { return o.listen_address; })},
        {.name = "health-listen-address",
         .help = "Address for health checks, without TLS; empty: none (default \":4222\")",
         .set = text_key([](O& o) -> std::string& { return o.health_address; })},
        {.name = "metrics-listen-address",
         .help = "Address for Prometheus metrics (default none)",
         .set = text_key([](O& o) -> std::string& { return o.metrics_address; })},
        {.name = "web-listen-address",
         .help = "Address of the web page and its API, fd://N: an inherited socket, empty: none (default \":8081\")",
         .set = text_key([](O& o) -> std::string& { return o.web_address; })},
        {.name = "web-root",
         .help = "Folder of the built page (default ../share/axoneme/ui beside this program's)",
         .set = text_key([](O& o) -> std::string& { return o.web_root; })},
        {.name = "object-store",
         .help = "Where policies are, for the page: dir:/path, kubernetes: or kubernetes:/kubeconfig (default none)",
         .set = text_key([](O& o) -> std::string& { return o.object_store; })},
        {.name = "dial-timeout",
         .help = "How long connecting to a peer, and its answer to a small question, may take (default 5s)",
         .set = [](O& o, const std::string& v) { return set_duration(o.relay.dial_timeout, v); }},
        {.name = "retry-timeout",
         .help = "The longest wait between two attempts to reach a peer (default 30s)",
         .set = [](O& o, const std::string& v) { return set_duration(o.relay.retry_timeout, v); }},
        {.name = "sort-buffer-len-max",
         .help = "Flows that wait for earlier ones of other nodes, per request (default 100)",
         .set = [](O& o, const std::string& v) { return set_number(o.relay.sort_buffer_length, v, 1, 1'000'000); }},
        {.name = "sort-buffer-drain-timeout",
         .help = "How long they wait (default 1s)",
         .set = [](O& o, const std::string& v) { return set_duration(o.relay.sort_buffer_wait, v); }},
        {.name = "disable-client-tls",
         .help = "Speak to peers without TLS",
         .flag = true,
         .set = off_key([](O& o) -> bool& { return o.relay.client.enabled; })},
        {.name = "tls-hubble-client-cert-file",
         .help = "Certificate shown to peers (PEM)",
         .set = text_key([](O& o) -> std::string& { return o.relay.client.certificate; })},
        {.name = "tls-hubble-client-key-file",
         .help = "Its private key (PEM)",
         .set = text_key([](O& o) -> std::string& { return o.relay.client.key; })},
        {.name = "tls-hubble-server-ca-files",
         .help = "Authority that peers' certificates come from (PEM)",
         .set = files_key([](O& o) -> std::vector<std::string>& { return o.relay.client.others; })},
        {.name = "disable-server-tls",
         .help = "Serve clients without TLS",
         .flag = true,
         .set = off_key([](O& o) -> bool& { return o.relay.server.enabled; })},
        {.name = "tls-relay-server-cert-file",
         .help = "Certificate shown to clients (PEM)",
         .set = text_key([](O& o) -> std::string& { return o.relay.server.certificate; })},
        {.name = "tls-relay-server-key-file",
         .help = "Its private key (PEM)",
         .set = text_key([](O& o) -> std::string& { return o.relay.server.key; })},
        {.name = "tls-relay-client-ca-files",
         .help = "Authority that clients' certificates have to come from (PEM)",
         .set = files_key([](O& o) -> std::vector<std::string>& { return o.relay.server.others; })},
        {.name = "max-flow-requests",
         .help = "Flow requests served at once; more are refused (default 1000)",
         .set = [](O& o, const std::string& v) { return set_number(o.relay.max_requests, v, 1, 1'000'000); }},
        {.name = "max-peer-streams",
         .help = "Streams from peers open at once, over all requests (default 4000)",
         .set = [](O& o, const std::string& v) { return set_number(o.relay.max_peer_streams, v, 1, 10'000'000); }},
        {.name = "client-queue",
         .help = "Flows that wait for one client (default 2048)",
         .set = [](O& o, const std::string& v) { return set_number(o.relay.client_queue, v, 16, 1'000'000); }},
        {.name = "stall-timeout",
         .help = "How long a peer that is asked for what it has may keep silent (default 30s)",
         .set = [](O& o, const std::string& v) { return set_duration(o.relay.stall_timeout, v); }},
        {.name = "debug",
         .help = "Tell more",
         .flag = true,
         .set = [](O& o, const std::string& v) -> Status {
             bool on = false;
             TRY(set_bool(on, v));
             if (on) o.log_level = LogLevel::kDebug;
             return {};
         }},
        // Known to hubble-relay's users and without meaning here.
        {.name = "gops", .help = "", .flag = true, .set = ignore},
        {.name = "gops-port", .help = "", .set = ignore},
        {.name = "pprof", .help = "", .flag = true, .set = ignore},
        {.name = "pprof-address", .help = "", .set = ignore},
        {.name = "pprof-port", .help = "", .set = ignore},
        {.name = "log-driver", .help = "", .set = ignore},
    };
    return all;
}

const Key* find(std::string_view name) {
    const auto found = std::ranges::find(keys(), name, &Key::name);
    return found == keys().end() ? nullptr : &*found;
}

std::string usage() {
    std::string out =
        "The relay: flows of all nodes of a cluster from one address.\n\nUsage:\n  axoneme-relay [serve] [flags]\n\nFlags:\n"
        "      --config                        Config file with these names as keys (default \"/etc/hubble-relay/config.yaml\")\n";
    for (const Key& key : keys()) {
        if (key.help.empty()) continue;
        out += "      --" + std::string(key.name) + std::string(key.name.size() < 30 ? 30 - key.name.size() : 1, ' ') +
               std::string(key.help) + "\n";
    }
    return out;
}

std::string scalar(const Json& value) {
    if (value.is_null()) return {};
    if (value.is_array()) {
        std::string out;
        for (const Json& entry : value) out += (out.empty() ? "" : ",") + scalar(entry);
        return out;
    }
    return value.is_string() ? value.get<std::string>() : value.dump();
}

using Flags = std::vector<std::pair<const Key*, std::string>>;

// What stands in the flags is not taken from the file.
Status read_config(const std::string& path, const Flags& flags, RelayOptions& options) {
    TRY_ASSIGN(const std::string text, read_file(path));
    auto yaml = parse_yaml(text);
    if (!yaml) return std::unexpected(std::move(yaml.error()).with_context(path));
    if (yaml->is_null()) return {};
    if (!yaml->is_object()) return fail(Code::kInvalidArgument, path + ": expected keys and values");
    for (const auto& [name, value] : yaml->items()) {
        const Key* key = find(name);
        if (key == nullptr) {
            Logger("hubble-relay").warn("unknown key in the config file", {{"file", path}, {"key", name}});
            continue;
        }
        if (std::ranges::find(flags, key, &Flags::value_type::first) != flags.end()) continue;
        const std::string given = scalar(value);
        if (Status set = key->set(options, given.empty() && key->flag ? "true" : given); !set)
            return std::unexpected(std::move(set.error()).with_context(path + ": " + name));
    }
    return {};
}

}  // namespace

Result<RelayOptions> parse_relay_options(const std::vector<std::string>& arguments) {
    RelayOptions options;
    options.relay.client.enabled = true;
    options.relay.server.enabled = true;
    Flags flags;
    std::optional<std::string> config;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (i == 0 && argument == "serve") continue;
        if (argument == "--help" || argument == "-h" || argument == "help") {
            options.print = usage();
            return options;
        }
        if (argument == "version" || argument == "--version") {
            options.print = "axoneme-relay " + std::string(kHubbleVersion) + "\n";
            return options;
        }
        if (!argument.starts_with("--"))
            return fail(Code::kInvalidArgument, "unexpected '" + argument + "': flags begin with --, see --help");
        const std::size_t equal = argument.find('=');
        const std::string name = argument.substr(2, equal == std::string::npos ? equal : equal - 2);
        const Key* key = find(name);
        if (key == nullptr && name != "config")
            return fail(Code::kInvalidArgument, "unknown flag --" + name + ", see --help");
        std::string value;
        if (equal != std::string::npos)
            value = argument.substr(equal + 1);
        else if (key != nullptr && key->flag)
            value = "true";
        else if (i + 1 < arguments.size())
            value = arguments[++i];
        else
            return fail(Code::kInvalidArgument, "--" + name + " needs a value");
        if (key == nullptr)
            config = value;
        else
            flags.emplace_back(key, value);
    }
    std::error_code none;
    if (config || std::filesystem::exists(kUsualConfig, none))
        TRY(read_config(config.value_or(kUsualConfig), flags, options));
    for (const auto& [key, value] : flags)
        if (Status set = key->set(options, value); !set)
            return std::unexpected(std::move(set.error()).with_context("--" + std::string(key->name)));
    return options;
}

}  // namespace axo
