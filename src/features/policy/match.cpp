#include "features/policy/match.h"

#include <algorithm>

namespace axo::policy {
namespace {

constexpr std::size_t kMaxListed = 5;

template <class Container, class Text>
std::string listed(const Container& items, Text text, const char* separator) {
    std::string joined;
    std::size_t count = 0;
    for (const auto& item : items) {
        if (count == kMaxListed && items.size() > kMaxListed + 1) {
            return joined + separator + "… (" + std::to_string(items.size() - count) + " more)";
        }
        if (count++ > 0) joined += separator;
        joined += text(item);
    }
    return joined;
}

}  // namespace

bool matches(const Requirement& requirement, const LabelSet& labels) {
    const Label* label = labels.find(requirement.key);
    if (label != nullptr && requirement.source != label_source::kAny && label->source != requirement.source) {
        label = nullptr;
    }
    const auto listed = [&] {
        return std::binary_search(requirement.values.begin(), requirement.values.end(), label->value);
    };
    switch (requirement.op) {
        case Requirement::Op::kIn: return label != nullptr && listed();
        case Requirement::Op::kNotIn: return label == nullptr || !listed();
        case Requirement::Op::kExists: return label != nullptr;
        case Requirement::Op::kDoesNotExist: return label == nullptr;
    }
    return false;
}

bool matches(const LabelQuery& query, const LabelSet& labels) {
    return std::ranges::all_of(query.all, [&](const Requirement& one) { return matches(one, labels); });
}

bool matches(const CidrQuery& query, const Prefix& prefix) {
    return query.cidr.contains(prefix) &&
           std::ranges::none_of(query.except, [&](const Prefix& except) { return except.contains(prefix); });
}

bool selects_everybody(const Selector& selector) {
    return selector.labels && selector.labels->all.empty();
}

std::vector<Prefix> prefixes_of(IdentityId id, const std::optional<Prefix>& cidr) {
    static const Prefix kAllIpv4(IpAddress::v4(std::uint32_t{0}), 0);
    static const Prefix kAllIpv6(IpAddress::v6(std::array<std::uint8_t, 16>{}), 0);
    if (cidr) return {*cidr};
    if (id == identity::kWorld) return {kAllIpv4, kAllIpv6};
    if (id == identity::kWorldIpv4) return {kAllIpv4};
    if (id == identity::kWorldIpv6) return {kAllIpv6};
    return {};
}

bool matches(const Selector& selector, const LabelSet& labels, const std::vector<Prefix>& prefixes) {
    if (selector.labels) return matches(*selector.labels, labels);
    if (!selector.cidr) return false;
    return std::ranges::any_of(prefixes, [&](const Prefix& prefix) { return matches(*selector.cidr, prefix); });
}

std::string to_text(const Requirement& requirement) {
    std::string label;
    if (requirement.source != label_source::kAny) {
        label = requirement.source;
        label += ':';
    }
    label += requirement.key;
    const auto values = [&] {
        return listed(requirement.values, [](const std::string& value) { return value; }, ", ");
    };
    switch (requirement.op) {
        case Requirement::Op::kIn:
            if (requirement.values.size() == 1) return label + "=" + requirement.values.front();
            return label + " in (" + values() + ")";
        case Requirement::Op::kNotIn: return label + " not in (" + values() + ")";
        case Requirement::Op::kExists: return label;
        case Requirement::Op::kDoesNotExist: return "!" + label;
    }
    return label;
}

std::string to_text(const LabelQuery& query) {
    if (query.all.empty()) return "everybody";
    return listed(query.all, [](const Requirement& one) { return to_text(one); }, ", ");
}

std::string to_text(const Selector& selector) {
    if (selector.labels) return to_text(*selector.labels);
    if (!selector.cidr) return "nobody";
    std::string text = selector.cidr->cidr.to_string();
    if (!selector.cidr->except.empty()) {
        text += " except ";
        text += listed(selector.cidr->except, [](const Prefix& prefix) { return prefix.to_string(); }, ", ");
    }
    return text;
}

std::string to_text(const PortRange& range) {
    std::string protocol = protocol_text(range.protocol);
    if (!range.name.empty()) return protocol + "/" + range.name;
    const bool icmp = range.protocol == Protocol::kIcmp || range.protocol == Protocol::kIcmpv6;
    const bool portless = range.protocol == Protocol::kIgmp || range.protocol == Protocol::kVrrp;
    const bool all = range.first == 0 && range.last == 65535;
    if (portless || (icmp && all)) return protocol;
    if (all) return "any port of " + (range.protocol == Protocol::kAny ? "TCP, UDP and SCTP" : protocol);
    std::string numbers = std::to_string(range.first);
    if (range.last != range.first) numbers += "-" + std::to_string(range.last);
    return protocol + (icmp ? " type " : "/") + numbers;
}

std::string to_text(const Rule& rule) {
    const bool ingress = rule.direction == Direction::kIngress;
    std::string text = rule.deny ? "deny " : "allow ";
    text += direction_text(rule.direction);
    text += ingress ? " from " : " to ";
    text +=
        rule.peers.empty() ? "nobody" : listed(rule.peers, [](const Selector& peer) { return to_text(peer); }, " or ");
    text += ingress ? ", to " : ", on ";
    text += rule.ports.empty() ? "every port and protocol"
                               : listed(rule.ports, [](const PortRange& port) { return to_text(port); }, ", ");
    return text;
}

}  // namespace axo::policy
