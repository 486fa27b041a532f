// The small languages inside filters: name prefixes, name patterns, label selectors. Pure. Thread: any (values).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace axo {

// "ns/prefix", "prefix" (of namespace default), "ns/" (all of it), "/prefix" (of any namespace).
struct NamePrefix {
    std::string ns, name;
    static NamePrefix parse(std::string_view text);
    [[nodiscard]] bool matches(std::string_view ns, std::string_view name) const;
};

// '*' stands for any characters; in node and cluster patterns ('/' separates them) for none that is a slash.
bool matches_pattern(std::string_view pattern, std::string_view text, bool across_slashes);
// "cluster/node" patterns: "node*", "cluster/", "cluster/node".
bool matches_node(std::string_view pattern, std::string_view cluster_and_node);
// Names of DNS: without regard to case and the last dot.
bool matches_fqdn(std::string_view pattern, std::string_view name);

// Kubernetes' selector text over Cilium's labels ("k8s:app=web"): "app=web,tier!=db", "app in (a, b)", "!app", "app",
// "reserved:world". A key without a source stands for a key of any source.
class LabelText {
public:
    static Result<LabelText> parse(std::string_view text);
    [[nodiscard]] bool matches(const std::vector<std::string_view>& labels) const;

private:
    struct Term {
        std::string key;
        bool any_value = false;  // only whether the key is there
        bool negate = false;
        std::vector<std::string> values{};
    };
    std::vector<Term> terms_;
};

}  // namespace axo
