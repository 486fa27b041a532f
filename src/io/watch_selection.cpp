#include "io/watch_selection.h"

#include <set>
#include <string_view>

namespace axo {
namespace {

using Json = nlohmann::json;

// "spec.nodeName"; nullptr: not there.
const Json* field(const Json& object, std::string_view path) {
    const Json* at = &object;
    while (!path.empty()) {
        const std::size_t dot = std::min(path.find('.'), path.size());
        if (!at->is_object()) return nullptr;
        const auto next = at->find(path.substr(0, dot));
        if (next == at->end()) return nullptr;
        at = &*next;
        path.remove_prefix(std::min(dot + 1, path.size()));
    }
    return at;
}

}  // namespace

bool selects(const WatchOptions& options, const Json& object) {
    for (const auto& [path, value] : options.fields) {
        const Json* found = field(object, path);
        if (found != nullptr && !(found->is_string() && *found == value)) return false;
    }
    if (options.labels.empty()) return true;
    const Json* labels = field(object, "metadata.labels");
    if (labels == nullptr || !labels->is_object()) return false;
    for (const auto& [name, value] : options.labels) {
        const auto found = labels->find(name);
        if (found == labels->end() || !found->is_string() || *found != value) return false;
    }
    return true;
}

ObjectStore::WatchHandler selected(ObjectStore::WatchHandler handler, WatchOptions options) {
    if (options == WatchOptions{}) return handler;
    auto shown = std::make_shared<std::set<ObjectKey>>();
    if (handler.upserted) {
        handler.upserted = [options = std::move(options), shown, upserted = std::move(handler.upserted),
                            deleted = handler.deleted](const ObjectKey& key, const Json& object) {
            if (selects(options, object)) {
                shown->insert(key);
                upserted(key, object);
            } else if (shown->erase(key) != 0 && deleted) {
                deleted(key);
            }
        };
    }
    if (handler.deleted) {
        handler.deleted = [shown, deleted = std::move(handler.deleted)](const ObjectKey& key) {
            if (shown->erase(key) != 0) deleted(key);
        };
    }
    return handler;
}

}  // namespace axo
