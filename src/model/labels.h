// Labels of security identities: source, key and value, with Cilium's text forms and rules.
//
// "k8s:app=nginx", "reserved:host" (empty value: no '='). A LabelSet holds one label per key, whatever
// its source, ordered by key: the order of the identity key. Copies share their labels until one of them changes.
// Thread: any (values).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "model/json.h"

namespace axo {

namespace label_source {
inline constexpr std::string_view kUnspec = "unspec";
inline constexpr std::string_view kAny = "any";
inline constexpr std::string_view kK8s = "k8s";
inline constexpr std::string_view kContainer = "container";
inline constexpr std::string_view kCni = "cni";
inline constexpr std::string_view kReserved = "reserved";
inline constexpr std::string_view kCidr = "cidr";
inline constexpr std::string_view kCidrGroup = "cidrgroup";
inline constexpr std::string_view kNode = "node";
inline constexpr std::string_view kFqdn = "fqdn";
}  // namespace label_source

namespace label_key {
inline constexpr std::string_view kPodNamespace = "io.kubernetes.pod.namespace";
inline constexpr std::string_view kNamespaceLabels = "io.cilium.k8s.namespace.labels";  // + "." + the namespace's label
inline constexpr std::string_view kCluster = "io.cilium.k8s.policy.cluster";
inline constexpr std::string_view kServiceAccount = "io.cilium.k8s.policy.serviceaccount";
inline constexpr std::string_view kFixedIdentity = "io.cilium.fixed-identity";
}  // namespace label_key

struct Label {
    std::string source;
    std::string key;
    std::string value;

    // "source:key=value"; without a source it is unspec; "$host" and "reserved.host" mean "reserved:host".
    static Label parse(std::string_view text);
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] bool is_reserved() const { return source == label_source::kReserved; }

    friend auto operator<=>(const Label&, const Label&) = default;
};

// "cidr:10.0.0.0/8". Colons of IPv6 addresses become '-', and a '0' stands before or behind one at either end.
Label cidr_label(const Prefix& prefix);

class LabelSet {
public:
    LabelSet() = default;
    LabelSet(std::initializer_list<Label> labels) {
        for (const Label& label : labels) insert(label);
    }
    // Labels without a key are left out.
    static LabelSet from_strings(const std::vector<std::string>& texts);
    // One source for all of a Kubernetes object's labels.
    static LabelSet from_map(const std::map<std::string, std::string>& labels, std::string_view source);
    // "k8s:a=b;k8s:c=d;", as key() writes it.
    static LabelSet from_key(std::string_view key);
    // CiliumIdentity's security-labels: {"k8s:app": "nginx"}.
    static LabelSet from_security_labels(const std::map<std::string, std::string>& labels);
    // {"reserved:<name>"}
    static LabelSet reserved(std::string_view name) {
        return {Label{std::string(label_source::kReserved), std::string(name), ""}};
    }

    // Replaces a label of the same key.
    void insert(Label label);
    void merge(const LabelSet& other);
    void erase(std::string_view key);
    [[nodiscard]] const Label* find(std::string_view key) const;
    [[nodiscard]] bool contains(const Label& label) const;
    [[nodiscard]] bool has_reserved() const;
    [[nodiscard]] bool has_reserved(std::string_view name) const;

    [[nodiscard]] bool empty() const { return all().empty(); }
    [[nodiscard]] std::size_t size() const { return all().size(); }
    [[nodiscard]] auto begin() const { return all().begin(); }
    [[nodiscard]] auto end() const { return all().end(); }

    // Sorted texts, for the API and the CLI.
    [[nodiscard]] std::vector<std::string> to_strings() const;
    // Sorted texts joined by ',': for logs.
    [[nodiscard]] std::string to_string() const;
    // The identity key: "source:key=value;" for each label in the order of keys, '=' also for empty values.
    // Two endpoints share an identity exactly when their keys are equal.
    [[nodiscard]] std::string key() const;
    [[nodiscard]] std::map<std::string, std::string> to_security_labels() const;

    friend auto operator<=>(const LabelSet& a, const LabelSet& b) { return a.all() <=> b.all(); }
    friend bool operator==(const LabelSet& a, const LabelSet& b) {
        return a.labels_ == b.labels_ || a.all() == b.all();
    }

private:
    using Labels = std::vector<Label>;  // by key

    [[nodiscard]] const Labels& all() const {
        static const Labels none;
        return labels_ ? *labels_ : none;
    }
    Labels& own();  // to be changed

    std::shared_ptr<Labels> labels_;  // null: none
};

}  // namespace axo
