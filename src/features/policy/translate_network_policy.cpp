// Kubernetes' NetworkPolicy.
#include <algorithm>

#include "features/policy/translate_selectors.h"

namespace axo::policy {
namespace {

constexpr std::string_view kNamespaceLabelPrefix = "io.cilium.k8s.namespace.labels.";
static_assert(kNamespaceLabelPrefix.starts_with(label_key::kNamespaceLabels));

class NetworkPolicyTranslator {
public:
    NetworkPolicyTranslator(const NetworkPolicy& object, const TranslateContext& context)
        : object_(object),
          builder_(context, {.kind = std::string(NetworkPolicy::kKind),
                             .k8s_namespace = object.metadata.name_space,
                             .name = object.metadata.name,
                             .uid = object.metadata.uid}) {}

    Translation translate() {
        Spec spec;
        spec.subject = label_query(object_.pod_selector, label_source::kK8s);
        spec.subject.all.push_back(own_namespace());
        canonicalize(spec.subject);
        if (const std::string why = contradiction(spec.subject); !why.empty()) {
            builder_.warn("spec.podSelector", "selects nothing: " + why);
        }
        spec.default_deny_ingress = object_.affects_ingress;
        spec.default_deny_egress = object_.affects_egress;
        rules(spec, Direction::kIngress, object_.affects_ingress, object_.ingress);
        rules(spec, Direction::kEgress, object_.affects_egress, object_.egress);
        builder_.result().policy.specs.push_back(std::move(spec));
        return builder_.take();
    }

private:
    [[nodiscard]] Requirement own_namespace() const {
        return require_value(label_source::kK8s, label_key::kPodNamespace, object_.metadata.name_space);
    }

    void rules(Spec& spec, Direction direction, bool affected, const std::vector<NetworkPolicy::Rule>& rules) {
        const std::string member = std::string("spec.") + direction_text(direction);
        if (!affected && !rules.empty()) {
            builder_.warn(member, "has no effect: policyTypes does not name this direction");
            return;
        }
        for (std::size_t i = 0; i < rules.size(); ++i) {
            rule(spec, direction, member + "[" + std::to_string(i) + "]", rules[i]);
        }
    }

    void rule(Spec& spec, Direction direction, const std::string& path, const NetworkPolicy::Rule& written) {
        Rule rule;
        rule.direction = direction;
        rule.path = path;
        if (written.peers.empty()) rule.peers.push_back(label_selector({}, true));
        for (std::size_t i = 0; i < written.peers.size(); ++i) {
            peer(path + (direction == Direction::kIngress ? ".from[" : ".to[") + std::to_string(i) + "]",
                 written.peers[i], rule.peers);
        }
        for (std::size_t i = 0; i < written.ports.size(); ++i) {
            auto range = builder_.port_range(path + ".ports[" + std::to_string(i) + "]", written.ports[i]);
            if (range) rule.ports.push_back(std::move(*range));
        }
        // Ports that are all off are not the same as no ports, which would mean every port.
        if (rule.ports.empty() && !written.ports.empty()) return;
        builder_.add_rule(spec, std::move(rule));
    }

    void peer(const std::string& path, const NetworkPolicy::Peer& peer, std::vector<Selector>& peers) {
        if (peer.ip_block) {
            builder_.add_cidr(path + ".ipBlock", *peer.ip_block->cidr, peer.ip_block->except, peers);
            return;
        }
        LabelQuery query;
        if (peer.pod_selector) query = label_query(*peer.pod_selector, label_source::kK8s);
        const TranslateContext& context = builder_.context();
        if (context.default_local_cluster && !mentions(query, label_key::kCluster)) {
            query.all.push_back(require_value(label_source::kK8s, label_key::kCluster, context.cluster_name));
        }
        if (peer.namespace_selector) {
            const LabelQuery labels = label_query(*peer.namespace_selector, label_source::kK8s, kNamespaceLabelPrefix);
            query.all.insert(query.all.end(), labels.all.begin(), labels.all.end());
            // Every namespace: what is a pod at all.
            if (labels.all.empty()) query.all.push_back(require_key(label_source::kK8s, label_key::kPodNamespace));
        } else {
            query.all.push_back(own_namespace());
        }
        canonicalize(query);
        if (const std::string why = contradiction(query); !why.empty()) {
            builder_.warn(path, "a selector matches nothing: " + why);
        }
        peers.push_back(label_selector(std::move(query), true));
    }

    const NetworkPolicy& object_;
    TranslationBuilder builder_;
};

}  // namespace

Result<Translation> translate(const NetworkPolicy& object, const TranslateContext& context) {
    return NetworkPolicyTranslator(object, context).translate();
}

}  // namespace axo::policy
