#include "model/meta.h"

#include <limits>

#include "model/names.h"

namespace axo {

const OwnerReference* ObjectMeta::owner_of_kind(std::string_view kind) const {
    for (const OwnerReference& owner : owner_references) {
        if (owner.kind == kind) return &owner;
    }
    return nullptr;
}

ObjectMeta read_meta(const JsonReader& object, std::string_view kind, Scope scope) {
    ObjectMeta meta;
    const JsonReader reader = object.at("metadata");
    meta.name = reader.string("name");
    meta.name_space = reader.string("namespace");
    const std::string label(kind);
    const bool namespace_given = !meta.name_space.empty();
    if (scope == Scope::kNamespaced && !namespace_given) meta.name_space = "default";
    if (!meta.name.empty()) object.set_object_name(label + " " + meta.full_name());

    if (!reader.present())
        object.require("metadata", "an object with a name");
    else if (!reader.has("name"))
        reader.require("name", kDnsSubdomainRule);
    else if (kind == "Namespace" && !is_dns_label(meta.name))
        reader.reject("name", kDnsLabelRule);
    else if (!is_dns_subdomain(meta.name))
        reader.reject("name", kDnsSubdomainRule);
    if (scope == Scope::kNamespaced) {
        if (!is_dns_label(meta.name_space)) reader.reject("namespace", kDnsLabelRule);
    } else if (namespace_given) {
        reader.reject("namespace", label + " is cluster-scoped: no namespace");
    }

    meta.labels = reader.string_map("labels");
    meta.annotations = reader.string_map("annotations");
    meta.uid = reader.string("uid");
    meta.resource_version = reader.string("resourceVersion");
    meta.generation = reader.integer("generation", 0, std::numeric_limits<std::int64_t>::max());
    meta.creation_timestamp = reader.string("creationTimestamp");
    meta.deletion_timestamp = reader.string("deletionTimestamp");
    reader.each("ownerReferences", [&](const JsonReader& item) {
        OwnerReference owner;
        owner.api_version = item.string("apiVersion");
        owner.kind = item.string("kind");
        owner.name = item.string("name");
        owner.uid = item.string("uid");
        owner.controller = item.boolean("controller");
        owner.block_owner_deletion = item.boolean("blockOwnerDeletion");
        meta.owner_references.push_back(std::move(owner));
    });
    return meta;
}

Json ObjectMeta::to_json() const {
    Json json = Json::object();
    put_nonempty(json, "name", name);
    put_nonempty(json, "namespace", name_space);
    put_nonempty(json, "labels", labels);
    put_nonempty(json, "annotations", annotations);
    put_nonempty(json, "uid", uid);
    put_nonempty(json, "resourceVersion", resource_version);
    if (generation != 0) json["generation"] = generation;
    put_nonempty(json, "creationTimestamp", creation_timestamp);
    put_nonempty(json, "deletionTimestamp", deletion_timestamp);
    if (!owner_references.empty()) {
        Json owners = Json::array();
        for (const OwnerReference& owner : owner_references) {
            Json item = {
                {"apiVersion", owner.api_version}, {"kind", owner.kind}, {"name", owner.name}, {"uid", owner.uid}};
            if (owner.controller) item["controller"] = true;
            if (owner.block_owner_deletion) item["blockOwnerDeletion"] = true;
            owners.push_back(std::move(item));
        }
        json["ownerReferences"] = std::move(owners);
    }
    return json;
}

Json object_json(std::string_view api_version, std::string_view kind, const ObjectMeta& meta) {
    return {{"apiVersion", api_version}, {"kind", kind}, {"metadata", meta.to_json()}};
}

}  // namespace axo
