#include "sandbox/spec.h"

#include <yaml-cpp/yaml.h>

#include <set>

namespace axo::sandbox {
namespace {

Status reject(const std::string& field, const std::string& value, const std::string& accepted) {
    return fail(Code::kInvalidArgument, "cluster spec: " + field + ": '" + value + "': expected " + accepted);
}

std::string text_of(const YAML::Node& node) {
    return node.IsScalar() ? node.Scalar() : "(not a scalar)";
}

Status read_int(const YAML::Node& node, const std::string& field, int low, int high, int& out) {
    const std::string expected = "a number from " + std::to_string(low) + " to " + std::to_string(high);
    int value = 0;
    if (!node.IsScalar() || !YAML::convert<int>::decode(node, value) || value < low || value > high) {
        return reject(field, text_of(node), expected);
    }
    out = value;
    return {};
}

Status read_strings(const YAML::Node& node, const std::string& field, std::vector<std::string>& out) {
    if (!node.IsSequence()) return reject(field, text_of(node), "a list of strings");
    for (const auto& item : node) {
        if (!item.IsScalar()) return reject(field, "(not a scalar)", "a list of strings");
        out.push_back(item.Scalar());
    }
    return {};
}

Status read_nodes(const YAML::Node& node, ClusterSpec& spec) {
    if (node.IsScalar()) {
        int count = 0;
        TRY(read_int(node, "nodes", 1, kMaxNodes, count));
        spec.add_nodes(count, 1);
        return {};
    }
    if (!node.IsSequence()) return reject("nodes", text_of(node), "a number or a list");
    for (const auto& item : node) {
        const std::string where = "nodes[" + std::to_string(spec.nodes.size()) + "]";
        if (!item.IsMap()) return reject(where, text_of(item), "a map with name, segment, agent-flags");
        spec.add_nodes(1, 1);
        NodeSpec& added = spec.nodes.back();
        for (const auto& field : item) {
            const std::string key = field.first.Scalar();
            if (key == "name") {
                added.name = text_of(field.second);
            } else if (key == "segment") {
                TRY(read_int(field.second, where + ".segment", 1, 2, added.segment));
            } else if (key == "agent-flags") {
                TRY(read_strings(field.second, where + ".agent-flags", added.agent_flags));
            } else {
                return reject(where, key, "one of name, segment, agent-flags");
            }
        }
    }
    return {};
}

Result<ClusterSpec> parse(const YAML::Node& root) {
    ClusterSpec spec;
    if (root.IsNull()) {
        spec.add_nodes(3, 1);
        return spec;
    }
    if (!root.IsMap()) return forward_error(reject("document", text_of(root), "a map").error());
    for (const auto& field : root) {
        const std::string key = field.first.Scalar();
        const YAML::Node& value = field.second;
        if (key == "name") {
            spec.name = text_of(value);
        } else if (key == "families") {
            TRY_ASSIGN(spec.families, parse_families(text_of(value)));
        } else if (key == "routing") {
            TRY_ASSIGN(spec.routing, parse_routing(text_of(value)));
        } else if (key == "mtu") {
            int mtu = 0;
            TRY(read_int(value, "mtu", 1280, 65535, mtu));
            spec.mtu = static_cast<std::uint32_t>(mtu);
        } else if (key == "agent-flags") {
            TRY(read_strings(value, key, spec.agent_flags));
        } else if (key == "operator-flags") {
            TRY(read_strings(value, key, spec.operator_flags));
        } else if (key == "nodes") {
            TRY(read_nodes(value, spec));
        } else {
            return forward_error(
                reject("field", key, "one of name, families, routing, mtu, agent-flags, operator-flags, nodes")
                    .error());
        }
    }
    if (spec.nodes.empty()) spec.add_nodes(3, 1);
    return spec;
}

}  // namespace

bool ClusterSpec::has_segment(int segment) const {
    return std::ranges::any_of(nodes, [&](const NodeSpec& node) { return node.segment == segment; });
}

const NodeSpec* ClusterSpec::node(const std::string& wanted) const {
    auto found = std::ranges::find(nodes, wanted, &NodeSpec::name);
    return found == nodes.end() ? nullptr : &*found;
}

void ClusterSpec::add_nodes(int count, int segment) {
    std::set<int> taken;
    for (const auto& node : nodes) taken.insert(node.number);
    for (int number = 1; count > 0 && number <= kMaxNodes; ++number) {
        if (taken.contains(number)) continue;
        nodes.push_back(
            {.name = "node" + std::to_string(number), .number = number, .segment = segment, .agent_flags = {}});
        --count;
    }
}

Result<ClusterSpec> parse_cluster_spec(const std::string& yaml) {
    try {
        auto spec = parse(YAML::Load(yaml));
        if (!spec) return spec;
        TRY(validate(*spec));
        return spec;
    } catch (const YAML::Exception& error) {
        return fail(Code::kInvalidArgument, std::string("cluster spec: ") + error.what());
    }
}

Status validate_name(const std::string& what, const std::string& name) {
    const bool characters =
        std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
    if (name.empty() || name.size() > 40 || !characters || name.front() == '-' || name.back() == '-') {
        return fail(Code::kInvalidArgument,
                    what + " '" + name + "': expected 1 to 40 of a-z, 0-9 and '-', not at the beginning or end");
    }
    return {};
}

Status validate(const ClusterSpec& spec) {
    TRY(validate_name("cluster name", spec.name));
    if (spec.nodes.empty() || spec.nodes.size() > kMaxNodes) {
        return reject("nodes", std::to_string(spec.nodes.size()), "1 to " + std::to_string(kMaxNodes));
    }
    if (spec.mtu < 1280 || spec.mtu > 65535) return reject("mtu", std::to_string(spec.mtu), "1280 to 65535");
    std::set<std::string> names;
    for (const auto& node : spec.nodes) {
        TRY(validate_name("node name", node.name));
        if (node.name == "outside" || node.name == "underlay") {
            return reject("nodes", node.name, "a name other than 'outside' and 'underlay', which every cluster has");
        }
        if (!names.insert(node.name).second) return reject("nodes", node.name, "every name once");
    }
    return {};
}

Result<Families> parse_families(const std::string& text) {
    if (text == "dual") return Families::kDual;
    if (text == "ipv4") return Families::kIpv4;
    if (text == "ipv6") return Families::kIpv6;
    return forward_error(reject("families", text, "dual, ipv4 or ipv6").error());
}

Result<Routing> parse_routing(const std::string& text) {
    if (text == "vxlan") return Routing::kVxlan;
    if (text == "geneve") return Routing::kGeneve;
    if (text == "native") return Routing::kNative;
    return forward_error(reject("routing", text, "vxlan, geneve or native").error());
}

std::string to_string(Families families) {
    switch (families) {
        case Families::kDual: return "dual";
        case Families::kIpv4: return "ipv4";
        case Families::kIpv6: return "ipv6";
    }
    return {};
}

std::string to_string(Routing routing) {
    switch (routing) {
        case Routing::kVxlan: return "vxlan";
        case Routing::kGeneve: return "geneve";
        case Routing::kNative: return "native";
    }
    return {};
}

void to_json(nlohmann::json& json, const NodeSpec& node) {
    json = {{"name", node.name}, {"number", node.number}, {"segment", node.segment}, {"agent-flags", node.agent_flags}};
}

void to_json(nlohmann::json& json, const ClusterSpec& spec) {
    json = {{"name", spec.name},  {"families", to_string(spec.families)}, {"routing", to_string(spec.routing)},
            {"mtu", spec.mtu},    {"agent-flags", spec.agent_flags},      {"operator-flags", spec.operator_flags},
            {"nodes", spec.nodes}};
}

Result<ClusterSpec> cluster_spec_from_json(const nlohmann::json& json) {
    try {
        ClusterSpec spec;
        spec.name = json.at("name");
        TRY_ASSIGN(spec.families, parse_families(json.at("families")));
        TRY_ASSIGN(spec.routing, parse_routing(json.at("routing")));
        spec.mtu = json.at("mtu");
        spec.agent_flags = json.at("agent-flags");
        spec.operator_flags = json.at("operator-flags");
        for (const auto& item : json.at("nodes")) {
            spec.nodes.push_back({.name = item.at("name"),
                                  .number = item.at("number"),
                                  .segment = item.at("segment"),
                                  .agent_flags = item.at("agent-flags")});
        }
        return spec;
    } catch (const nlohmann::json::exception& error) {
        return fail(Code::kDataLoss, std::string("stored cluster spec: ") + error.what());
    }
}

IpAddress segment_address_v4(int segment, int host) {
    return IpAddress::v4({172, 18, static_cast<std::uint8_t>(segment), static_cast<std::uint8_t>(host)});
}

IpAddress segment_address_v6(int segment, int host) {
    // Decimal digits stand as hexadecimal ones, so that node 11 reads ::11.
    const std::string text = "fd00:18:" + std::to_string(segment) + "::" + std::to_string(host);
    return IpAddress::parse(text).value_or(IpAddress());
}

}  // namespace axo::sandbox
