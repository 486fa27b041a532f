// Where an object has a file of its own in a manifest directory: PLURAL[.GROUP]/[NAMESPACE/]NAME.yaml or .json.
// Thread: any (pure functions).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/manifest_file.h"

namespace axo {

// The place may be taken: others are tried in turn. suffix: ".yaml", ".json".
std::string own_path(const ObjectId& id, int alternative = 0, std::string_view suffix = ".yaml");
// Whose own path that is, its first; not for the longest names.
std::optional<ObjectId> owner_of_path(std::string_view path);

}  // namespace axo
