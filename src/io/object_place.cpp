#include "io/object_place.h"

#include "base/sha256.h"
#include "io/resources.h"

namespace axo {
namespace {

// A name may have 253 bytes, a file name 255.
constexpr std::size_t kLongestFileStem = 240;

std::string directory_of(const ResourceType& type) {
    return type.group.empty() ? type.plural : type.plural + "." + type.group;
}

bool is_directory_of(const ResourceType& type, std::string_view directory) {
    if (!directory.starts_with(type.plural)) return false;
    directory.remove_prefix(type.plural.size());
    if (type.group.empty()) return directory.empty();
    return directory.starts_with('.') && directory.substr(1) == type.group;
}

}  // namespace

std::string own_path(const ObjectId& id, int alternative, std::string_view suffix) {
    std::string path = directory_of(*id.type);
    if (id.type->namespaced) path += "/" + id.key.name_space;
    // The longest names are cut and told apart by a digest.
    const std::string& name = id.key.name;
    path += "/" + (name.size() <= kLongestFileStem
                       ? name
                       : name.substr(0, kLongestFileStem - 17) + "~" + sha256_hex(name).substr(0, 16));
    if (alternative > 0) path += "-" + std::to_string(alternative);
    return path.append(suffix);
}

std::optional<ObjectId> owner_of_path(std::string_view path) {
    if (!path.ends_with(".yaml") && !path.ends_with(".json")) return std::nullopt;
    const auto directory_end = path.find('/');
    const auto name_at = path.rfind('/') + 1;
    if (directory_end == std::string_view::npos) return std::nullopt;
    const std::string_view name = path.substr(name_at, path.size() - name_at - 5);
    const std::string_view between = path.substr(directory_end, name_at - directory_end);  // "/", "/NAMESPACE/"
    if (name.empty() || name.size() > kLongestFileStem) return std::nullopt;
    for (const ResourceType* type : resources::all()) {
        if (!is_directory_of(*type, path.substr(0, directory_end))) continue;
        const std::string_view name_space = between.size() < 2 ? "" : between.substr(1, between.size() - 2);
        if (name_space.empty() == type->namespaced || name_space.contains('/')) return std::nullopt;
        return ObjectId{type, {std::string(name_space), std::string(name)}};
    }
    return std::nullopt;
}

}  // namespace axo
