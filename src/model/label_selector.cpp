#include "model/label_selector.h"

#include <algorithm>

namespace axo {

LabelSelector LabelSelector::read(const JsonReader& reader) {
    LabelSelector selector;
    selector.match_labels = reader.string_map("matchLabels");
    reader.each("matchExpressions", [&](const JsonReader& item) {
        Requirement requirement{item.string("key"), item.string("operator"), item.strings("values")};
        const bool set = requirement.op == "In" || requirement.op == "NotIn";
        item.require("key", "the key of a label");
        if (!set && requirement.op != "Exists" && requirement.op != "DoesNotExist") {
            item.reject("operator", "In, NotIn, Exists, DoesNotExist");
        } else if (set == requirement.values.empty()) {
            item.reject("values",
                        set ? "at least one value for In and NotIn" : "no values for Exists and DoesNotExist");
        }
        selector.match_expressions.push_back(std::move(requirement));
    });
    return selector;
}

Json LabelSelector::to_json() const {
    Json json = Json::object();
    put_nonempty(json, "matchLabels", match_labels);
    Json list = Json::array();
    for (const Requirement& requirement : match_expressions) {
        Json item = {{"key", requirement.key}, {"operator", requirement.op}};
        put_nonempty(item, "values", requirement.values);
        list.push_back(std::move(item));
    }
    put_nonempty(json, "matchExpressions", std::move(list));
    return json;
}

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
    for (const auto& [key, value] : match_labels) {
        const auto found = labels.find(key);
        if (found == labels.end() || found->second != value) return false;
    }
    for (const Requirement& requirement : match_expressions) {
        const auto found = labels.find(requirement.key);
        const bool has = found != labels.end();
        const bool listed = has && std::ranges::find(requirement.values, found->second) != requirement.values.end();
        const bool holds = requirement.op == "In"       ? listed
                           : requirement.op == "NotIn"  ? !listed
                           : requirement.op == "Exists" ? has
                                                        : !has;
        if (!holds) return false;
    }
    return true;
}

}  // namespace axo
