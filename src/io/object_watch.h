// A watch of objects of one type, parsed on arrival.
//
// What cannot be parsed is rejected under its kind and name and keeps its previous version in force; when it is
// corrected or removed, it is accepted. Files that the store itself refuses are in ObjectStore::rejected(), and go from
// there when they are corrected: they are not repeated here, where nobody would take them back.
// Thread: the loop's only.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "io/object_store.h"

namespace axo {

// Who is told of objects that cannot be used. where: "Pod default/web"; told again whenever the reason changes.
struct ObjectVerdicts {
    std::function<void(const std::string& where, const Error&)> rejected;
    std::function<void(const std::string& where)> accepted;  // after it was rejected: corrected, or gone
};

template <class Object>
struct ObjectHandler {
    std::function<void(const ObjectKey&, Object)> upserted;
    std::function<void(const ObjectKey&)> deleted;
    std::function<void()> synced = [] {};
    ObjectVerdicts verdicts;
};

template <class Object>
[[nodiscard]] std::unique_ptr<ObjectStore::Watch> watch_objects(ObjectStore& store, const ResourceType& type,
                                                                ObjectHandler<Object> handler,
                                                                WatchOptions options = {}) {
    struct State {
        ObjectHandler<Object> handler;
        std::string kind;
        std::set<std::string> rejected{};

        void accept(const std::string& where) {
            if (rejected.erase(where) != 0) handler.verdicts.accepted(where);
        }
    };
    auto state = std::make_shared<State>(State{std::move(handler), type.kind + " "});
    return store.watch(type,
                       {.upserted =
                            [state](const ObjectKey& key, const ObjectStore::Json& json) {
                                const std::string where = state->kind + key.to_string();
                                auto object = Object::parse(json);
                                if (!object) {
                                    state->rejected.insert(where);
                                    state->handler.verdicts.rejected(where, object.error());
                                    return;
                                }
                                state->accept(where);
                                state->handler.upserted(key, std::move(*object));
                            },
                        .deleted =
                            [state](const ObjectKey& key) {
                                state->accept(state->kind + key.to_string());
                                state->handler.deleted(key);
                            },
                        .synced = [state] { state->handler.synced(); },
                        .rejected =
                            [state](const std::string& where, const Error& error) {
                                if (!where.starts_with(state->kind)) return;
                                state->rejected.insert(where);
                                state->handler.verdicts.rejected(where, error);
                            }},
                       std::move(options));
}

}  // namespace axo
