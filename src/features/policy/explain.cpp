#include "features/policy/explain.h"

#include <algorithm>

#include "features/policy/match.h"

namespace axo::policy {
namespace {

constexpr std::size_t kMaxNearest = 5;

std::string in_parentheses(const LabelSet& labels) {
    return labels.empty() ? "(no labels)" : "(" + labels.to_string() + ")";
}

std::string identity_text(const PolicyEngine& engine, IdentityId id) {
    const KnownIdentity* known = engine.identities().find(id);
    std::string text = "identity " + id.to_string() + " ";
    return text + (known == nullptr ? "(not known here)" : in_parentheses(known->labels));
}

std::string joined(const std::vector<std::string>& texts, const char* separator) {
    std::string all;
    for (const std::string& text : texts) {
        if (!all.empty()) all += separator;
        all += text;
    }
    return all;
}

// One direction of one subject, asked about one peer.
class Examination {
public:
    Examination(const PolicyEngine& engine, const Subject& subject, Direction direction, IdentityId peer,
                const Traffic& traffic)
        : engine_(engine),
          subject_(subject),
          direction_(direction),
          peer_(peer),
          traffic_(traffic),
          known_(engine.identities().find(peer)) {
        if (known_ != nullptr) prefixes_ = prefixes_of(peer, known_->cidr);
    }

    Explanation run() {
        const std::vector<SelectedSpec> specs = engine_.selected_by(subject_.labels, subject_.host);
        for (const SelectedSpec& selected : specs) {
            const Spec& spec = selected.spec();
            const auto& more = direction_ == Direction::kIngress ? spec.ingress_requires : spec.egress_requires;
            requires_.insert(requires_.end(), more.begin(), more.end());
        }
        Explanation result;
        result.direction = direction_;
        result.peer = identity_text(engine_, peer_);
        result.traffic = to_text(traffic_);
        result.enforcement = engine_.enforcement(specs, direction_, subject_.labels, subject_.host);
        for (const SelectedSpec& selected : specs) {
            for (const Rule& rule : selected.spec().rules) {
                if (rule.direction == direction_) examine(selected, rule, result);
            }
        }
        decide(result);
        if (result.allowed) {
            result.nearest.clear();
        } else {
            std::ranges::stable_sort(result.nearest, {}, [](const NearMiss& miss) { return miss.missing.size(); });
            if (result.nearest.size() > kMaxNearest) result.nearest.resize(kMaxNearest);
        }
        if (known_ == nullptr) {
            result.notes.push_back("The peer's labels are not known here: only rules for everybody take it.");
        }
        return result;
    }

private:
    void examine(const SelectedSpec& selected, const Rule& rule, Explanation& result) {
        const bool peer = std::ranges::any_of(rule.peers, [&](const Selector& one) { return takes(rule, one); });
        const bool port = ports_match(rule);
        if (peer && port) {
            (rule.deny ? result.denies : result.allows).push_back(info(selected, rule));
        } else if (!rule.deny && (peer || port) && !rule.peers.empty()) {
            NearMiss miss{.rule = info(selected, rule), .peer_matches = peer, .ports = ports_text(rule), .missing = {}};
            if (!peer) miss.missing = least_missing(rule);
            result.nearest.push_back(std::move(miss));
        }
    }

    RuleInfo info(const SelectedSpec& selected, const Rule& rule) const {
        RuleInfo info;
        info.kind = RuleInfo::Kind::kRule;
        info.cookie = engine_.cookie(selected.policy->origin, rule);
        info.direction = rule.direction;
        info.deny = rule.deny;
        info.origin = selected.policy->origin;
        info.spec_index = selected.index;
        info.path = rule.path;
        info.text = axo::policy::to_text(rule);
        return info;
    }

    // What follows from the rules; for endpoints of this node their image has the last word.
    void decide(Explanation& result) const {
        result.decided_by.direction = direction_;
        if (!result.denies.empty()) {
            result.decided_by = result.denies.front();
        } else if (!result.enforcement.enforced) {
            result.allowed = true;
        } else if (!result.allows.empty()) {
            result.allowed = true;
            result.decided_by = result.allows.front();
        } else if (direction_ == Direction::kIngress && engine_.settings().allow_localhost && !subject_.host &&
                   peer_ == identity::kHost) {
            result.allowed = true;
            result.decided_by.kind = RuleInfo::Kind::kLocalhost;
            result.decided_by.cookie = POLICY_COOKIE_LOCALHOST;
        } else {
            result.decided_by.kind = RuleInfo::Kind::kDefaultDeny;
            result.decided_by.enforcement = result.enforcement;
        }
    }

    bool narrowed(const Rule& rule, const Selector& selector) const {
        return selector.endpoints && !rule.deny && !requires_.empty();
    }

    bool takes(const Rule& rule, const Selector& selector) const {
        if (known_ == nullptr) return selects_everybody(selector) && !narrowed(rule, selector);
        if (!matches(selector, known_->labels, prefixes_)) return false;
        return !narrowed(rule, selector) ||
               std::ranges::all_of(requires_, [&](const Requirement& one) { return matches(one, known_->labels); });
    }

    const NamedPorts* who_names() const {
        if (direction_ == Direction::kIngress) return &subject_.named_ports;
        return known_ == nullptr ? nullptr : engine_.named_ports(peer_);
    }

    bool ports_match(const Rule& rule) const {
        if (rule.ports.empty()) return true;
        const auto protocol = static_cast<Protocol>(traffic_.protocol);
        const NamedPorts* named = who_names();
        return std::ranges::any_of(rule.ports, [&](const PortRange& range) {
            if (traffic_.protocol == 0 || !fits_protocol(range, protocol)) return false;
            if (range.name.empty()) return range.first <= traffic_.port && traffic_.port <= range.last;
            if (named == nullptr) return false;
            const auto at = named->find(range.name);
            return at != named->end() && at->second.contains({protocol, traffic_.port});
        });
    }

    std::string ports_text(const Rule& rule) const {
        if (rule.ports.empty()) return "every port and protocol";
        std::vector<std::string> texts;
        for (const PortRange& range : rule.ports) {
            std::string text = axo::policy::to_text(range);
            if (!range.name.empty()) {
                const NamedPorts* named = who_names();
                const auto at = named == nullptr ? NamedPorts::const_iterator{} : named->find(range.name);
                const bool found = named != nullptr && at != named->end();
                if (found) {
                    for (const NamedPort& port : at->second) {
                        if (!fits_protocol(range, port.protocol)) continue;
                        text += " (" + std::to_string(port.port) + "/" + protocol_text(port.protocol) + ")";
                    }
                } else {
                    text += direction_ == Direction::kIngress ? " (the pod has no port of that name)"
                                                              : " (the peer has no port of that name)";
                }
            }
            texts.push_back(std::move(text));
        }
        return joined(texts, ", ");
    }

    std::string missing_text(const Requirement& requirement) const {
        const Label* label = known_ == nullptr ? nullptr : known_->labels.find(requirement.key);
        const std::string has = label == nullptr ? "" : " (it has " + label->to_string() + ")";
        switch (requirement.op) {
            case Requirement::Op::kIn:
            case Requirement::Op::kExists: return "label " + axo::policy::to_text(requirement) + has;
            case Requirement::Op::kNotIn:
                return "another value of the label, or none: " + axo::policy::to_text(requirement) + has;
            case Requirement::Op::kDoesNotExist: return "not to have the label " + requirement.key + has;
        }
        return {};
    }

    std::vector<std::string> missing_of(const Rule& rule, const Selector& selector) const {
        std::vector<std::string> missing;
        if (selector.cidr) {
            missing.push_back("an address in " + axo::policy::to_text(selector));
            if (known_ != nullptr && prefixes_.empty()) {
                missing.back() += " (it is a pod or node of the cluster: CIDRs never take these)";
            }
            return missing;
        }
        const LabelSet none;
        const LabelSet& labels = known_ == nullptr ? none : known_->labels;
        if (selector.labels) {
            for (const Requirement& one : selector.labels->all) {
                if (known_ == nullptr || !matches(one, labels)) missing.push_back(missing_text(one));
            }
        }
        if (narrowed(rule, selector)) {
            for (const Requirement& one : requires_) {
                if (known_ != nullptr && matches(one, labels)) continue;
                missing.push_back(missing_text(one) + (direction_ == Direction::kIngress
                                                           ? ", which fromRequires demands"
                                                           : ", which toRequires demands"));
            }
        }
        return missing;
    }

    std::vector<std::string> least_missing(const Rule& rule) const {
        std::optional<std::vector<std::string>> best;
        for (const Selector& selector : rule.peers) {
            std::vector<std::string> missing = missing_of(rule, selector);
            if (!best || missing.size() < best->size()) best = std::move(missing);
        }
        return best.value_or(std::vector<std::string>{});
    }

    const PolicyEngine& engine_;
    const Subject& subject_;
    Direction direction_;
    IdentityId peer_;
    Traffic traffic_;
    const KnownIdentity* known_;  // of the peer
    std::vector<Prefix> prefixes_;
    std::vector<Requirement> requires_;
};

// Whether policies of pods say anything about such an identity.
bool is_pod(const LabelSet& labels) {
    return !labels.empty() && std::ranges::none_of(labels, [](const Label& label) {
        return label.source == label_source::kCidr || label.source == label_source::kFqdn ||
               (label.is_reserved() && label.key != "init" && label.key != "health" && label.key != "ingress");
    });
}

}  // namespace

Result<Explanation> explain(const PolicyEngine& engine, EndpointId id, Direction direction, IdentityId peer,
                            const Traffic& traffic) {
    const Subject* subject = engine.subject(id);
    if (subject == nullptr)
        return fail(Code::kNotFound, "endpoint " + id.to_string() + ": no such endpoint on this node");
    const std::optional<Lookup> decided = engine.decide(id, direction, peer, traffic.protocol, traffic.port);
    const Error* error = engine.error(id);
    if (!decided) {
        return fail(Code::kUnavailable, "endpoint " + id.to_string() + ": its policy has not been computed yet" +
                                            (error == nullptr ? std::string() : ": " + error->message) +
                                            "; what was in force before the agent started stays, and a new endpoint is "
                                            "denied everything");
    }
    Explanation result = Examination(engine, *subject, direction, peer, traffic).run();
    result.subject = "endpoint " + id.to_string() + " " + in_parentheses(subject->labels);
    if (error != nullptr) result.notes.push_back("Everything is denied until its policy fits: " + error->message + ".");
    result.allowed = decided->allowed();
    if (decided->cookie != result.decided_by.cookie) {
        if (const std::optional<RuleInfo> rule = engine.rule(decided->cookie)) {
            result.decided_by = *rule;
        } else {
            result.notes.push_back(
                "The rule that decides has been removed since; the endpoint's new policy is not computed yet.");
        }
        result.decided_by.direction = direction;
    }
    return result;
}

Result<Explanation> explain_remote(const PolicyEngine& engine, IdentityId id, Direction direction, IdentityId peer,
                                   const Traffic& traffic) {
    const KnownIdentity* known = engine.identities().find(id);
    if (known == nullptr) return fail(Code::kNotFound, "identity " + id.to_string() + ": not known on this node");
    if (!is_pod(known->labels)) {
        Explanation result;
        result.direction = direction;
        result.subject = identity_text(engine, id);
        result.peer = identity_text(engine, peer);
        result.traffic = to_text(traffic);
        result.allowed = true;
        result.notes.push_back("This is no pod: policies of pods do not concern its " +
                               std::string(direction_text(direction)) +
                               "; whether its own node or network lets the traffic pass is not known here.");
        return result;
    }
    Subject subject;
    subject.labels = known->labels;
    if (const NamedPorts* ports = engine.named_ports(id)) subject.named_ports = *ports;
    Explanation result = Examination(engine, subject, direction, peer, traffic).run();
    result.subject = identity_text(engine, id);
    result.notes.push_back("Computed from the policies known here; the node of the pod decides.");
    return result;
}

std::string to_text(const Traffic& traffic) {
    const auto protocol = static_cast<Protocol>(traffic.protocol);
    switch (protocol) {
        case Protocol::kTcp:
        case Protocol::kUdp:
        case Protocol::kSctp:
        case Protocol::kIcmp:
        case Protocol::kIcmpv6: return to_text(PortRange{protocol, traffic.port, traffic.port, {}});
        case Protocol::kIgmp:
        case Protocol::kVrrp: return protocol_text(protocol);
        case Protocol::kAny: break;
    }
    return "protocol " + std::to_string(traffic.protocol);
}

std::string to_text(const Explanation& explanation) {
    const bool ingress = explanation.direction == Direction::kIngress;
    std::string text = explanation.allowed ? "Allowed: " : "Denied: ";
    text += direction_text(explanation.direction);
    text += " of " + explanation.subject + (ingress ? " from " : " to ") + explanation.peer + ", " +
            explanation.traffic + ".\n";

    const RuleInfo& decider = explanation.decided_by;
    const auto rule_line = [](const RuleInfo& rule) { return rule.to_string() + ": " + rule.text; };
    switch (decider.kind) {
        case RuleInfo::Kind::kNone:
            if (!explanation.enforcement.enforced) {
                text += "  No policy closes this direction: what no rule denies is allowed.\n";
            }
            break;
        case RuleInfo::Kind::kClosed:
        case RuleInfo::Kind::kLocalhost: text += "  By " + decider.to_string() + ".\n"; break;
        case RuleInfo::Kind::kDefaultDeny: text += "  No rule allows it: " + decider.to_string() + ".\n"; break;
        case RuleInfo::Kind::kRule: text += "  By " + rule_line(decider) + ".\n"; break;
    }
    for (const std::vector<RuleInfo>* rules : {&explanation.denies, &explanation.allows}) {
        for (const RuleInfo& rule : *rules) {
            if (rule == decider) continue;
            if (rule.deny) {
                text += "  Also denied by ";
            } else {
                text += explanation.allowed ? "  Also allowed by " : "  Without the denial, allowed by ";
            }
            text += rule_line(rule) + ".\n";
        }
    }
    if (!explanation.allowed) {
        if (decider.kind == RuleInfo::Kind::kRule) {
            text += "  To allow it, every rule that denies it has to be removed or narrowed";
            text += explanation.allows.empty() && explanation.enforcement.enforced ? ", and a rule has to allow it.\n"
                                                                                   : ".\n";
        }
        if (!explanation.allows.empty()) {
            // Nothing but the denial stands in the way.
        } else if (!explanation.nearest.empty()) {
            text += "  Rules that come near:\n";
            for (const NearMiss& miss : explanation.nearest) {
                text += "    " + miss.rule.to_string();
                if (miss.peer_matches) {
                    text += " allows this peer, but only " + std::string(ingress ? "to " : "on ") + miss.ports + ".\n";
                } else {
                    text += " allows " + explanation.traffic + ", but the peer would need ";
                    text += joined(miss.missing, "; and ") + ".\n";
                }
            }
        } else if (explanation.enforcement.enforced) {
            text += "  No rule comes near: one is needed that allows " +
                    std::string(direction_text(explanation.direction)) + (ingress ? " from " : " to ") +
                    explanation.peer + " on " + explanation.traffic + ".\n";
        }
    }
    for (const std::string& note : explanation.notes) text += "  " + note + "\n";
    return text;
}

}  // namespace axo::policy
