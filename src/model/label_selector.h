// LabelSelector of Kubernetes: matchLabels and matchExpressions, all of which have to hold. Thread: any (values).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/json.h"

namespace axo {

struct LabelSelector {
    struct Requirement {
        std::string key;
        std::string op;  // In, NotIn, Exists, DoesNotExist
        std::vector<std::string> values;

        friend bool operator==(const Requirement&, const Requirement&) = default;
    };
    std::map<std::string, std::string> match_labels;
    std::vector<Requirement> match_expressions;

    static LabelSelector read(const JsonReader& reader);
    [[nodiscard]] Json to_json() const;
    // An empty selector matches everything. Labels of one object, without sources.
    [[nodiscard]] bool matches(const std::map<std::string, std::string>& labels) const;

    friend bool operator==(const LabelSelector&, const LabelSelector&) = default;
};

}  // namespace axo
