#include "features/node/config_sources.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

CiliumNodeConfig config(const std::string& name, std::optional<std::map<std::string, std::string>> selector,
                        ConfigValues defaults, const std::string& name_space = "kube-system") {
    CiliumNodeConfig made;
    made.metadata.name = name;
    made.metadata.name_space = name_space;
    if (selector) made.node_selector = LabelSelector{*selector, {}};
    made.defaults = std::move(defaults);
    return made;
}

ConfigSource source(const char* text) {
    return parse_config_source(text, "kube-system", "n1").value();
}

TEST(ConfigSources, AreParsedWithDefaults) {
    EXPECT_EQ(source("config-map:cilium-config").to_string(), "config-map:kube-system/cilium-config");
    EXPECT_EQ(source("config-map:").to_string(), "config-map:kube-system/cilium-config");
    EXPECT_EQ(source("config-map:other/name").to_string(), "config-map:other/name");
    EXPECT_EQ(source("cilium-node-config").to_string(), "cilium-node-config:kube-system");
    EXPECT_EQ(source("cilium-node-config:other").to_string(), "cilium-node-config:other");
    EXPECT_EQ(source("cilium-node-config:other/one").to_string(), "cilium-node-config:other/one");
    EXPECT_EQ(source("node:").to_string(), "node:n1");
    EXPECT_EQ(source("node:n2").to_string(), "node:n2");
    EXPECT_FALSE(parse_config_source("secret:x", "a", "b"));
}

TEST(ConfigSources, NodeConfigsThatSelectTheNode) {
    ObjectMeta node;
    node.labels = {{"zone", "a"}, {"gpu", "yes"}};
    const std::vector<CiliumNodeConfig> configs = {
        config("z-last", {{{"zone", "a"}}}, {{"mtu", "9000"}, {"../etc", "x"}}),
        config("a-first", {{{"gpu", "yes"}}}, {{"mtu", "1400"}, {"debug", "true"}}),
        config("other-zone", {{{"zone", "b"}}}, {{"mtu", "1"}}),
        config("no-selector", {}, {{"mtu", "2"}}),
        config("all", {std::map<std::string, std::string>{}}, {{"tunnel-port", "1"}}),
        config("elsewhere", {std::map<std::string, std::string>{}}, {{"mtu", "3"}}, "default"),
    };
    auto layer = node_config_layer(source("cilium-node-config:kube-system"), configs, &node);
    EXPECT_EQ(layer.values, (ConfigValues{{"mtu", "9000"}, {"debug", "true"}, {"tunnel-port", "1"}}));
    EXPECT_EQ(layer.sources,
              (std::vector<std::string>{"cilium-node-config:kube-system/a-first", "cilium-node-config:kube-system/all",
                                        "cilium-node-config:kube-system/z-last"}));
    ASSERT_EQ(layer.notes.size(), 2U);
    EXPECT_NE(layer.notes[0].find("key \"../etc\" is left out"), std::string::npos) << layer.notes[0];
    EXPECT_EQ(layer.notes[1], "cilium-node-config:kube-system/z-last overrides mtu of another CiliumNodeConfig");
    layer = node_config_layer(source("cilium-node-config:kube-system/other-zone"), configs, nullptr);
    EXPECT_EQ(layer.values, (ConfigValues{{"mtu", "1"}})) << "by name, whatever it selects";
}

TEST(ConfigSources, LaterSourcesOverride) {
    ConfigLayer map{
        {{"mtu", "1500"}, {"debug", "false"}, {"cluster-name", "c"}}, {"config-map:kube-system/cilium-config"}, {}};
    ConfigLayer nodes{{{"mtu", "9000"}, {"cluster-name", "evil"}}, {"cilium-node-config:kube-system/a"}, {}};
    ObjectMeta node;
    node.annotations = {{"config.cilium.io/debug", "true"}, {"other/debug", "x"}};
    node.labels = {{"config.cilium.io/debug", "no"}};
    const ConfigLayer annotations = node_layer(source("node:"), node);
    EXPECT_EQ(annotations.values, (ConfigValues{{"debug", "true"}})) << "annotations before labels";

    auto merged = merge_config({map, nodes, annotations}, {});
    EXPECT_EQ(merged.values,
              (ConfigValues{{"mtu", "9000"},
                            {"debug", "true"},
                            {"cluster-name", "evil"},
                            {"config-sources",
                             "cilium-node-config:kube-system/a,config-map:kube-system/cilium-config,node:n1"}}));
    merged = merge_config({map, nodes, annotations}, {.allow = {"mtu"}, .deny = {"mtu"}});
    EXPECT_EQ(merged.values["mtu"], "9000") << "allow goes before deny";
    EXPECT_EQ(merged.values["debug"], "false");
    EXPECT_EQ(merged.values["cluster-name"], "c");
    EXPECT_EQ(merged.values["config-sources"], "cilium-node-config:kube-system/a,config-map:kube-system/cilium-config");
    merged = merge_config({map, nodes, annotations}, {.allow = {}, .deny = {"cluster-name"}});
    EXPECT_EQ(merged.values["cluster-name"], "c");
    EXPECT_EQ(merged.values["debug"], "true");
    EXPECT_EQ(merge_config({{}, {}}, {}).values, (ConfigValues{{"config-sources", ""}}));
}

TEST(ConfigSources, NodeConfigObject) {
    const auto parsed = CiliumNodeConfig::parse(Json::parse(R"({
      "apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": "x", "namespace": "kube-system"},
      "spec": {"nodeSelector": {"matchLabels": {"zone": "a"}}, "defaults": {"mtu": "9000"}}})"));
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->defaults.at("mtu"), "9000");
    EXPECT_EQ(CiliumNodeConfig::parse(parsed->to_json()).value(), *parsed);
}

}  // namespace
}  // namespace axo
