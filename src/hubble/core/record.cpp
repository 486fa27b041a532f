#include "hubble/core/record.h"

#include <arpa/inet.h>

#include <cstdio>

#include "bpf/api/drop_reason.h"
#include "bpf/api/policy.h"

namespace axo::hubble {

namespace {

IpAddress address(const axo_addr& bytes, bool v6) {
    if (v6) return IpAddress::v6(&bytes);
    std::uint32_t four = 0;
    std::memcpy(&four, &bytes, sizeof(four));
    return IpAddress::v4(four);
}

// splitmix64: every input has an output of its own.
std::uint64_t mix(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

}  // namespace

LabelsRef make_labels(std::vector<std::string> texts) {
    auto list = std::make_shared<LabelList>();
    std::ranges::sort(texts);
    for (const std::string& text : texts) list->labels.push_back(Label::parse(text));
    list->texts = std::move(texts);
    return list;
}

LabelsRef make_labels(const LabelSet& labels) {
    return make_labels(labels.to_strings());
}

bool FlowRecord::has_ip() const {
    return event.ethertype == 0 || event.ethertype == 0x0800 || event.ethertype == 0x86DD;
}

bool FlowRecord::has_l4() const {
    return has_ip() && (event.flags & EVENT_F_NO_L4) == 0;
}

bool FlowRecord::has_ports() const {
    return has_l4() && (event.proto == IPPROTO_TCP || event.proto == IPPROTO_UDP || event.proto == IPPROTO_SCTP);
}

IpAddress FlowRecord::source_ip() const {
    return has_ip() ? address(event.saddr, is_v6()) : IpAddress();
}
IpAddress FlowRecord::destination_ip() const {
    return has_ip() ? address(event.daddr, is_v6()) : IpAddress();
}
std::uint16_t FlowRecord::source_port() const {
    return has_ports() ? ntohs(event.sport) : 0;
}
std::uint16_t FlowRecord::destination_port() const {
    return has_ports() ? ntohs(event.dport) : 0;
}

std::uint32_t FlowRecord::drop_reason() const {
    if (event.type == EVENT_DROP) return event.subtype;
    if (event.type != EVENT_POLICY_VERDICT || verdict != Verdict::kDropped) return 0;
    const auto info = rule ? rule->info() : nullptr;
    return info && info->deny ? DROP_POLICY_DENY : DROP_POLICY;
}

std::string flow_uuid(std::uint64_t sequence) {
    const std::uint64_t high = mix(sequence), low = mix(high + sequence);
    char text[40];
    std::snprintf(text, sizeof(text), "%08x-%04x-4%03x-%04x-%012llx", static_cast<unsigned>(high >> 32),
                  static_cast<unsigned>((high >> 16) & 0xFFFF), static_cast<unsigned>(high & 0xFFF),
                  static_cast<unsigned>(0x8000 | ((low >> 48) & 0x3FFF)),
                  static_cast<unsigned long long>(low & 0xFFFFFFFFFFFFULL));
    return text;
}

}  // namespace axo::hubble
