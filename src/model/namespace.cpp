#include "model/namespace.h"

namespace axo {

Result<Namespace> Namespace::parse(const Json& json) {
    const JsonReader object(json, "Namespace");
    TRY(require_kind(object, kKind));
    Namespace name_space;
    name_space.metadata = read_meta(object, kKind, Scope::kCluster);
    TRY(object.status());
    return name_space;
}

Json Namespace::to_json() const {
    return object_json(kApiVersion, kKind, metadata);
}

}  // namespace axo
