// Which labels of an endpoint count for its security identity.
//
// Rules are tried as Cilium does: the longest inclusive match against the shortest excluding one, the
// longer wins. Without an inclusive user rule everything not excluded counts; with one, only what is
// included. Thread: any (immutable).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/labels.h"

namespace axo {

class LabelFilter {
public:
    // The default list of Cilium followed by the rules of flag --labels: "[source:][!]pattern", the pattern
    // being a regular expression that has to match at the start of the key ("io\.cilium\.", "k8s:!app").
    static Result<LabelFilter> create(const std::vector<std::string>& user_rules = {});

    [[nodiscard]] bool counts(const Label& label) const;
    // The identity labels; what is left over is informational.
    [[nodiscard]] LabelSet filter(const LabelSet& labels) const;

private:
    struct Rule;
    LabelFilter() = default;
    std::vector<std::shared_ptr<const Rule>> rules_;
    bool inclusive_ = false;  // a user rule includes: the default is to leave out
};

}  // namespace axo
