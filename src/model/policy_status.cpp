#include "model/policy_status.h"

namespace axo {

std::optional<Json> status_with_validity(const Json& object, bool valid, const std::string& message, WallTime now) {
    Json status = Json::object();
    if (object.is_object()) {
        const auto found = object.find("status");
        if (found != object.end() && found->is_object()) status = *found;
    }
    Json wanted = {{"type", "Valid"},
                   {"status", valid ? "True" : "False"},
                   {"message", message},
                   {"lastTransitionTime", format_time(now)}};
    Json conditions = Json::array();
    bool placed = false;
    const auto existing = status.find("conditions");
    if (existing != status.end() && existing->is_array()) {
        for (const Json& condition : *existing) {
            const bool ours = condition.is_object() && condition.value("type", Json()) == "Valid";
            if (!ours) {
                conditions.push_back(condition);
                continue;
            }
            if (placed) continue;
            placed = true;
            if (condition.value("status", Json()) == wanted.at("status") && condition.contains("lastTransitionTime")) {
                wanted["lastTransitionTime"] = condition.at("lastTransitionTime");
            }
            if (condition.contains("reason")) wanted["reason"] = condition.at("reason");
            conditions.push_back(wanted);
        }
    }
    if (!placed) conditions.push_back(std::move(wanted));
    if (existing != status.end() && *existing == conditions) return std::nullopt;
    status["conditions"] = std::move(conditions);
    return status;
}

}  // namespace axo
