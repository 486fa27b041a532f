// matchPattern of Cilium's rules for DNS names: letters, digits, '-', '_' and '.', where '*' stands for any number of
// characters within a label, "*" alone for every name, and a leading "**." for one or more whole labels. Case and a
// last dot mean nothing. Thread: any (values).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace axo {

class FqdnPattern {
public:
    static Result<FqdnPattern> parse(std::string_view text);
    [[nodiscard]] bool matches(std::string_view name) const;

private:
    std::vector<std::string> labels_;
    bool every_ = false;  // "*"
    bool below_ = false;  // "**.": of what stands below labels_
};

}  // namespace axo
