// ObjectStore: where cluster state lives. The agent and the operator see only this interface.
//
// Objects are Kubernetes-shaped JSON (apiVersion, kind, metadata, spec, status). A revision is the
// store's opaque metadata.resourceVersion; an update carries the revision it was made from and
// fails with kAborted when the object has moved on. Callbacks run on the control loop.
// Thread: the loop's only.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/event_loop.h"

namespace axo {

// What identifies a kind of object: its REST resource. e.g. {"cilium.io", "v2", "CiliumNode", "ciliumnodes", false}
struct ResourceType {
    std::string group;  // "" for core
    std::string version;
    std::string kind;
    std::string plural;
    bool namespaced = false;

    [[nodiscard]] std::string api_version() const { return group.empty() ? version : group + "/" + version; }
};

struct ObjectKey {
    std::string name_space;  // "" for cluster-scoped objects
    std::string name;

    [[nodiscard]] std::string to_string() const { return name_space.empty() ? name : name_space + "/" + name; }
    friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

class ObjectStore {
public:
    using Json = nlohmann::json;

    struct WatchHandler {
        std::function<void(const ObjectKey&, const Json&)> upserted;
        std::function<void(const ObjectKey&)> deleted;
        // The first complete listing has been delivered.
        std::function<void()> synced;
        // An object that cannot be used (does not parse, wrong name …); its previous version stays in force. Each is
        // reported once, to one watch: of its kind when that is known, else to any. See also rejected() below.
        std::function<void(const std::string& where, const Error&)> rejected;
    };

    class Watch {
    public:
        virtual ~Watch() = default;  // ends the watch
    };

    virtual ~ObjectStore() = default;

    virtual Result<Json> get(const ResourceType& type, const ObjectKey& key) = 0;
    virtual Result<std::vector<Json>> list(const ResourceType& type) = 0;
    virtual std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler) = 0;
    // kAlreadyExists when it does. Returns the object as stored (with resourceVersion, uid, creationTimestamp).
    virtual Result<Json> create(const ResourceType& type, const Json& object) = 0;
    // Replaces everything but .status; kAborted unless metadata.resourceVersion is the stored one.
    virtual Result<Json> update(const ResourceType& type, const Json& object) = 0;
    // Replaces .status only, same rule; without a resourceVersion: whatever the stored revision is.
    virtual Result<Json> update_status(const ResourceType& type, const Json& object) = 0;
    // What is not there is success.
    virtual Status remove(const ResourceType& type, const ObjectKey& key) = 0;

    // What is not usable at this moment; an entry goes when the object is corrected or removed.
    struct Rejected {
        std::string where;    // "/etc/axoneme/manifests/pods.yaml"
        std::string message;  // "line 7, column 3: …"
    };
    [[nodiscard]] virtual std::vector<Rejected> rejected() const { return {}; }

    // One line for `status`: "dir /etc/axoneme/manifests: 12 objects".
    [[nodiscard]] virtual std::string describe() const = 0;
};

// "dir:/path" | "kubernetes:" … ; anything else is an error that lists what is accepted.
Result<std::unique_ptr<ObjectStore>> open_object_store(const std::string& address, EventLoop& loop);

}  // namespace axo
