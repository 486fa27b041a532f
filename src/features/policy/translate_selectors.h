// What the translations of all kinds of policies share: labels, peers and ports in the rules' own words.
// Internal to translate*.cpp. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "features/policy/translate.h"

namespace axo::policy {

// One object's translation under way.
class TranslationBuilder {
public:
    TranslationBuilder(const TranslateContext& context, Origin origin);

    [[nodiscard]] const TranslateContext& context() const { return context_; }
    [[nodiscard]] Translation& result() { return result_; }
    void warn(const std::string& path, std::string_view text);
    // "CiliumNetworkPolicy default/web: spec.egress[0].toFQDNs: text"
    [[nodiscard]] std::unexpected<Error> refuse(Code code, const std::string& path, std::string_view text) const;

    // Selectors of a CIDR without exceptions, or with them. path is for warnings: "spec.egress[0].toCIDR[1]".
    void add_cidr(const std::string& path, const PolicyCidr& cidr, const std::vector<PolicyCidr>& except,
                  std::vector<Selector>& peers);
    // The range, unless its protocol is off: then a warning, once.
    std::optional<PortRange> port_range(const std::string& path, const PolicyPort& port);
    // Adds a rule unless nobody can match it. Puts peers and ports in order.
    void add_rule(Spec& spec, Rule rule);

    // Finished: warnings beyond a limit become a count.
    Translation take();

private:
    void warn_about_cluster(const std::string& path, const Prefix& cidr);

    const TranslateContext& context_;
    Translation result_;
    std::optional<std::vector<Prefix>> cluster_;  // sorted, none inside another; when first needed
    bool sctp_warned_ = false;
};

Requirement require_value(std::string_view source, std::string_view key, std::string value);
Requirement require_key(std::string_view source, std::string_view key);
// source: "" = as the keys say ("k8s:app", none: any); otherwise that of every key. prefix: put before every key.
LabelQuery label_query(const LabelSelector& selector, std::string_view source = {}, std::string_view prefix = {});
// Sorted, unique.
void canonicalize(LabelQuery& query);
// Whether a requirement of the query is about this key, with source k8s or any.
bool mentions(const LabelQuery& query, std::string_view key);
bool mentions_source(const LabelQuery& query, std::string_view source);
// Why no set of labels can ever meet it ("app is to be both a and b"); "" when one can.
std::string contradiction(const LabelQuery& query);

// toEndpoints and fromEndpoints: without saying more a selector means pods of the policy's namespace and cluster.
// name_space "": any namespace.
LabelQuery endpoint_query(const LabelSelector& selector, const std::string& name_space, bool subject_is_init,
                          const TranslateContext& context);
void add_entity(std::string_view entity, const TranslateContext& context, std::vector<Selector>& peers);
// A LabelSelector as of Service's or CIDR group's own labels: sources do not count.
LabelSelector without_sources(const LabelSelector& selector);
Selector label_selector(LabelQuery query, bool endpoints = false);

}  // namespace axo::policy
