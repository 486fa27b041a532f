// What a sandbox cluster is asked to be: nodes, families, routing; and the underlay addresses that follow from it.
//
// Pure values: parsing and validation only. Thread: any.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace axo::sandbox {

enum class Families { kDual, kIpv4, kIpv6 };
enum class Routing { kVxlan, kGeneve, kNative };

struct NodeSpec {
    std::string name;
    int number = 0;   // 1..200, unique in the cluster; gives the underlay addresses
    int segment = 1;  // L2 segment, 1 or 2; the gateway routes between them
    std::vector<std::string> agent_flags;
};

struct ClusterSpec {
    std::string name = "demo";
    Families families = Families::kDual;
    Routing routing = Routing::kVxlan;
    std::uint32_t mtu = 1500;  // of the underlay
    std::vector<NodeSpec> nodes;
    std::vector<std::string> agent_flags;  // appended for every agent; the last one wins
    std::vector<std::string> operator_flags;

    [[nodiscard]] bool ipv4() const { return families != Families::kIpv6; }
    [[nodiscard]] bool ipv6() const { return families != Families::kIpv4; }
    [[nodiscard]] bool has_segment(int segment) const;
    [[nodiscard]] const NodeSpec* node(const std::string& name) const;
    // node1, node2, … with the lowest numbers that are free.
    void add_nodes(int count, int segment);
};

// Fields of a YAML cluster file:
//   name, families (dual|ipv4|ipv6), routing (vxlan|geneve|native), mtu, agent-flags[], operator-flags[],
//   nodes: a number, or a list of {name, segment, agent-flags[]}
// Errors name the field, the value and what is accepted.
Result<ClusterSpec> parse_cluster_spec(const std::string& yaml);
// What parsing cannot see: names, numbers, MTU.
Status validate(const ClusterSpec& spec);

Result<Families> parse_families(const std::string& text);
Result<Routing> parse_routing(const std::string& text);
std::string to_string(Families families);
std::string to_string(Routing routing);

void to_json(nlohmann::json& json, const NodeSpec& node);
void to_json(nlohmann::json& json, const ClusterSpec& spec);
Result<ClusterSpec> cluster_spec_from_json(const nlohmann::json& json);

// The underlay: segment S is 172.18.S.0/24 and fd00:18:S::/64 with the gateway at .1 and ::1; node N is at .(10+N)
// and ::(10+N), the digits read as they stand. The outside host lives alone in "segment" 200 at .10.
inline constexpr int kOutsideSegment = 200;
inline constexpr int kMaxNodes = 200;
IpAddress segment_address_v4(int segment, int host);
IpAddress segment_address_v6(int segment, int host);
inline constexpr int kSegmentLengthV4 = 24;
inline constexpr int kSegmentLengthV6 = 64;
inline constexpr int kGatewayHost = 1;
inline constexpr int kOutsideHost = 10;
inline int node_host(const NodeSpec& node) {
    return 10 + node.number;
}

// "a-z0-9-", at most 40 characters, as it becomes part of file, cgroup and link names.
Status validate_name(const std::string& what, const std::string& name);

}  // namespace axo::sandbox
