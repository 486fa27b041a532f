// build-config: this node's configuration out of its sources, as a directory for --config-dir.
#include <cstdlib>
#include <filesystem>

#include "app/cli/commands.h"
#include "app/cli/context.h"
#include "base/file.h"
#include "base/log.h"
#include "features/node/config_sources.h"
#include "io/resources.h"
#include "model/node.h"
#include "runtime/task.h"

namespace axo::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
    std::vector<std::string> sources, allow, deny;
    std::vector<std::string> api_servers;
    std::string node, dest = "/tmp/cilium/config-map", store = "kubernetes:", kubeconfig;
};

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

std::vector<std::string> words(const std::vector<std::string>& lists) {
    std::vector<std::string> all;
    for (std::string_view list : lists) {
        while (!list.empty()) {
            const std::string_view word = list.substr(0, list.find_first_of(", "));
            list.remove_prefix(std::min(word.size() + 1, list.size()));
            if (!word.empty()) all.emplace_back(word);
        }
    }
    return all;
}

Task<Result<ObjectMeta>> fetch_node(ObjectStore& store, std::string name) {
    CO_TRY_ASSIGN(const axo::Json object, store.get(resources::kNode, {"", name}));
    CO_TRY_ASSIGN(const Node node, Node::parse(object));
    co_return node.metadata;
}

// What is not there says nothing; what cannot be read is an error: a node must not start with half its configuration.
Task<Result<ConfigLayer>> fetch_layer(ObjectStore& store, ConfigSource source, std::string node) {
    if (source.kind == ConfigSource::Kind::kConfigMap) {
        CO_AWAIT(const auto map, store.get(resources::kConfigMap, {source.name_space, source.name}));
        ConfigLayer layer;
        if (!map && map.error().code == Code::kNotFound) {
            layer.notes.push_back(source.to_string() + ": there is no such ConfigMap");
            co_return layer;
        }
        if (!map) co_return forward_error(map.error());
        const JsonReader reader(*map, "ConfigMap " + source.name);
        layer.values = reader.string_map("data");
        CO_TRY(reader.status());
        if (!layer.values.empty()) layer.sources.push_back(source.to_string());
        co_return layer;
    }
    if (source.kind == ConfigSource::Kind::kNode) {
        CO_TRY_ASSIGN(const ObjectMeta meta, fetch_node(store, source.name));
        co_return node_layer(source, meta);
    }
    CO_AWAIT(const auto objects, store.list(resources::kCiliumNodeConfig));
    // A cluster need not have the kind.
    if (!objects && objects.error().code == Code::kNotFound) co_return ConfigLayer{};
    if (!objects) co_return forward_error(objects.error());
    std::vector<CiliumNodeConfig> configs;
    for (const axo::Json& object : *objects) {
        CO_TRY_ASSIGN(CiliumNodeConfig config, CiliumNodeConfig::parse(object));
        configs.push_back(std::move(config));
    }
    if (configs.empty() || !source.name.empty()) co_return node_config_layer(source, configs, nullptr);
    CO_TRY_ASSIGN(const ObjectMeta meta, fetch_node(store, node));
    co_return node_config_layer(source, configs, &meta);
}

Task<Result<ConfigLayer>> resolve(ObjectStore& store, std::vector<ConfigSource> sources, std::string node,
                                  ConfigRules rules) {
    std::vector<ConfigLayer> layers;
    for (const ConfigSource& source : sources) {
        CO_AWAIT(auto layer, fetch_layer(store, source, node));
        if (!layer) co_return std::unexpected(std::move(layer).error().with_context(source.to_string()));
        layers.push_back(std::move(*layer));
    }
    co_return merge_config(layers, rules);
}

// As kubelet mounts a ConfigMap: dest/KEY -> ..data/KEY, ..data -> a directory of its own. Readers see all or nothing.
Status write_config_directory(const fs::path& dest, const ConfigValues& values) {
    TRY(make_directories(dest));
    const std::string data =
        "..data_" + std::to_string(std::chrono::system_clock::now().time_since_epoch() / std::chrono::microseconds(1));
    TRY(make_directories(dest / data));
    for (const auto& [key, value] : values) TRY(write_atomic(dest / data / key, value));
    std::error_code error;
    const std::string old = fs::read_symlink(dest / "..data", error).string();
    fs::remove(dest / "..data.tmp", error);
    fs::create_directory_symlink(data, dest / "..data.tmp", error);
    if (!error) fs::rename(dest / "..data.tmp", dest / "..data", error);
    if (error) return fail(Code::kUnavailable, (dest / "..data").string() + ": " + error.message());
    for (const auto& entry : fs::directory_iterator(dest, error)) {
        const std::string name = entry.path().filename();
        if (entry.is_symlink() && !name.starts_with("..") && !values.contains(name)) fs::remove(entry.path(), error);
    }
    for (const auto& [key, value] : values) {
        const fs::path link = dest / key;
        if (fs::is_symlink(link, error)) continue;
        fs::remove(link, error);
        fs::create_symlink(fs::path("..data") / key, link, error);
        if (error) return fail(Code::kUnavailable, link.string() + ": " + error.message());
    }
    if (old.starts_with("..data_") && old != data) fs::remove_all(dest / old, error);
    return {};
}

Status run(const Options& options) {
    const std::string node = options.node.empty() ? environment("K8S_NODE_NAME") : options.node;
    std::string name_space = environment("CILIUM_K8S_NAMESPACE");
    if (name_space.empty()) name_space = "kube-system";
    if (node.empty())
        return fail(Code::kInvalidArgument, "--node-name: empty; accepted: the name of this node (or K8S_NODE_NAME)");
    std::vector<std::string> texts = words(options.sources);
    if (texts.empty()) texts = {"config-map:cilium-config", "cilium-node-config:" + name_space};
    std::vector<ConfigSource> sources;
    for (const std::string& text : texts) {
        TRY_ASSIGN(ConfigSource source, parse_config_source(text, name_space, node));
        sources.push_back(std::move(source));
    }
    EventLoop loop;
    TRY_ASSIGN(const auto store, open_object_store(options.store, loop,
                                                   {.kubeconfig = options.kubeconfig,
                                                    .servers = words(options.api_servers),
                                                    .user_agent = "axoneme build-config"}));
    constexpr std::chrono::seconds kPatience{60};
    TRY_ASSIGN(const ConfigLayer config,
               run_to_end(loop, within(loop, kPatience, "reading the configuration",
                                       resolve(*store, sources, node, {words(options.allow), words(options.deny)}))));
    for (const std::string& note : config.notes) std::fprintf(stderr, "%s\n", note.c_str());
    TRY(write_config_directory(options.dest, config.values));
    print(options.dest + ": " + std::to_string(config.values.size()) + " keys from " +
          config.values.at("config-sources") + "\n");
    return {};
}

}  // namespace

void add_build_config_commands(const Command& root) {
    const auto options = std::make_shared<Options>();
    root.command("build-config", "Resolve all of the configuration sources that apply to this node",
                 [=] { return run(*options); })
        .option("--source", options->sources,
                "in order: config-map:[NAMESPACE/]NAME, cilium-node-config:NAMESPACE, node:[NAME]")
        .option("--dest", options->dest, "directory to write, one file per key")
        .option("--node-name", options->node, "this node; also K8S_NODE_NAME")
        .option("--allow-config-keys", options->allow, "keys that sources after the first may set; empty: all")
        .option("--deny-config-keys", options->deny, "keys that they may not set, unless allow-config-keys is given")
        .option("--object-store", options->store, "kubernetes: or dir:/path")
        .option("--k8s-kubeconfig-path", options->kubeconfig, "kubeconfig; empty: the pod's service account")
        .option("--k8s-api-server-urls,--k8s-api-server", options->api_servers,
                "API servers, instead of the kubeconfig's")
        .ignored_flag("--enable-k8s")
        .ignored_flag("--enable-k8s-api-discovery");
}

}  // namespace axo::cli
