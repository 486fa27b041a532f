// A selector over labels as Hubble's filters and Kubernetes write it: "k8s:app=web, tier in (a, b), !reserved:host".
//
// A key without a source means every source. Thread: any (immutable).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hubble/core/record.h"

namespace axo::hubble {

class LabelQuery {
public:
    // Empty: everything.
    static Result<LabelQuery> parse(std::string_view text);
    [[nodiscard]] bool matches(const std::vector<Label>& labels) const;

private:
    enum class Op { kExists, kAbsent, kIn, kNotIn, kGreater, kLess };
    struct Requirement {
        std::string source, key;
        Op op = Op::kExists;
        std::vector<std::string> values;
        long number = 0;
    };
    friend class LabelQueryParser;
    std::vector<Requirement> all_;
};

}  // namespace axo::hubble
