// A flow as it is kept: what the datapath reported, when, and who the two ends were at that moment.
//
// What is shared (names, labels, policies) is immutable and held by reference, so a record stays true after a pod has
// gone and costs no copy. Protobuf is made of it only when a client asks (flow_proto.h). Thread: any (values).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "bpf/api/event.h"
#include "hubble/core/dns_message.h"
#include "model/labels.h"
#include "model/service_name.h"

namespace axo::hubble {

struct Workload {
    std::string name, kind;
    friend bool operator==(const Workload&, const Workload&) = default;
};

// Of an identity. The texts are sorted: "k8s:app=web".
struct LabelList {
    std::vector<std::string> texts;
    std::vector<Label> labels;  // the same, apart
};
using LabelsRef = std::shared_ptr<const LabelList>;
LabelsRef make_labels(const LabelSet& labels);
LabelsRef make_labels(std::vector<std::string> texts);

struct EndpointInfo {
    std::uint32_t id = 0;  // of this node's endpoints
    std::uint32_t identity = 0;
    std::string cluster, name_space, pod;
    std::vector<Workload> workloads;
    LabelsRef labels;  // never null
};
using EndpointRef = std::shared_ptr<const EndpointInfo>;

// DNS names, sorted, without their last dots.
using NamesRef = std::shared_ptr<const std::vector<std::string>>;

using ServiceRef = std::shared_ptr<const ServiceName>;

struct PolicyName {
    std::string kind, name_space, name;
    std::vector<std::string> labels;
    friend bool operator==(const PolicyName&, const PolicyName&) = default;
};

// What a rule's cookie stands for.
struct RuleInfo {
    bool egress = false;
    bool deny = false;                 // a rule that denies, not the lack of one that allows
    std::uint8_t match_type = 0;       // Cilium's PolicyMatchType
    std::uint64_t revision = 0;        // of the policies
    std::vector<PolicyName> policies;  // the rule's; of a default denial: those that close the endpoint
    std::string text;                  // "CiliumNetworkPolicy default/web, spec.ingress[0]"
};

// Filled in once, by the control loop, some time after the first flow that has the cookie: the thread that reads
// events does not wait for it.
class RuleSlot {
public:
    explicit RuleSlot(std::uint32_t cookie) : cookie_(cookie) {}
    [[nodiscard]] std::uint32_t cookie() const { return cookie_; }
    // Null: not known (yet).
    [[nodiscard]] std::shared_ptr<const RuleInfo> info() const { return info_.load(std::memory_order_acquire); }
    void fill(std::shared_ptr<const RuleInfo> info) { info_.store(std::move(info), std::memory_order_release); }

private:
    std::uint32_t cookie_;
    std::atomic<std::shared_ptr<const RuleInfo>> info_;
};
using RuleRef = std::shared_ptr<RuleSlot>;

// flow.TrafficDirection, flow.Verdict, flow.LostEventSource
enum class Direction : std::uint8_t { kUnknown, kIngress, kEgress };
enum class Verdict : std::uint8_t {
    kUnknown,
    kForwarded,
    kDropped,
    kError,
    kAudit,
    kRedirected,
    kTraced,
    kTranslated,
};
enum class Reply : std::uint8_t { kUnknown, kNo, kYes };
enum class LostSource : std::uint8_t { kUnknown, kDatapathRing, kEventsQueue, kHubbleRing };

struct FlowRecord {
    flow_event event{};
    std::int64_t time_ns = 0;    // since the epoch
    std::uint64_t sequence = 0;  // says the uuid; an agent's run begins with a random one
    EndpointRef source, destination;
    ServiceRef source_service, destination_service;
    RuleRef rule;
    std::shared_ptr<const std::string> interface;
    NamesRef source_names, destination_names;  // by which the pod at the other end came to the address
    std::shared_ptr<const DnsMessage> dns;     // layer 7: the message itself; null in other records
    std::uint64_t latency_ns = 0;              // of a DNS answer whose question was seen
    std::uint64_t lost = 0;                    // not a flow: so many events were lost
    LostSource lost_source = LostSource::kUnknown;
    Direction direction = Direction::kUnknown;
    Verdict verdict = Verdict::kUnknown;
    Reply reply = Reply::kUnknown;

    [[nodiscard]] bool is_lost() const { return lost != 0; }
    [[nodiscard]] bool is_v6() const { return (event.flags & EVENT_F_IPV6) != 0; }
    [[nodiscard]] bool has_ip() const;
    [[nodiscard]] bool has_l4() const;
    [[nodiscard]] bool has_ports() const;
    [[nodiscard]] IpAddress source_ip() const;
    [[nodiscard]] IpAddress destination_ip() const;
    [[nodiscard]] std::uint16_t source_port() const;
    [[nodiscard]] std::uint16_t destination_port() const;
    // Of drops and of verdicts that deny; 0: none.
    [[nodiscard]] std::uint32_t drop_reason() const;
};

// Version 4. Nothing has to be kept or drawn for it.
std::string flow_uuid(std::uint64_t sequence);

}  // namespace axo::hubble
