// ObjectMeta: what every object of the cluster carries. Thread: any (values).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/json.h"

namespace axo {

struct OwnerReference {
    std::string api_version;
    std::string kind;
    std::string name;
    std::string uid;
    bool controller = false;
    bool block_owner_deletion = false;

    friend bool operator==(const OwnerReference&, const OwnerReference&) = default;
};

struct ObjectMeta {
    std::string name;
    std::string name_space;  // "" for cluster-scoped objects
    std::map<std::string, std::string> labels;
    std::map<std::string, std::string> annotations;
    std::string uid;
    std::string resource_version;  // opaque; what an update was made from
    std::int64_t generation = 0;
    std::vector<OwnerReference> owner_references;
    std::string creation_timestamp;  // RFC 3339, "" when the store has not set it
    std::string deletion_timestamp;  // "" unless the object is being deleted

    [[nodiscard]] bool being_deleted() const { return !deletion_timestamp.empty(); }
    // nullptr when nobody of that kind owns the object.
    [[nodiscard]] const OwnerReference* owner_of_kind(std::string_view kind) const;
    // "ns/name" or "name".
    [[nodiscard]] std::string full_name() const { return name_space.empty() ? name : name_space + "/" + name; }

    [[nodiscard]] Json to_json() const;
    friend bool operator==(const ObjectMeta&, const ObjectMeta&) = default;
};

enum class Scope { kCluster, kNamespaced };

// Reads and checks `metadata` (name and namespace by RFC 1123) of a reader standing on the whole object, and
// lets the reader's errors name it. A namespaced object without a namespace is in "default".
ObjectMeta read_meta(const JsonReader& object, std::string_view kind, Scope scope);

// {"apiVersion", "kind", "metadata"}: what every to_json starts from.
Json object_json(std::string_view api_version, std::string_view kind, const ObjectMeta& meta);

}  // namespace axo
