// ObjectStore: where cluster state lives. The agent and the operator see only this interface.
//
// Objects are Kubernetes-shaped JSON (apiVersion, kind, metadata, spec, status). A revision is the
// store's opaque metadata.resourceVersion; an update carries the revision it was made from and
// fails with kAborted when the object has moved on. Callbacks run on the control loop.
// Operations are tasks: a store on this machine answers before it is awaited, an API server when it likes. A task is
// kept no longer than its store and its ResourceType (a constant of resources.h). kUnavailable: the store cannot be
// reached at the moment. Thread: the loop's only.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/event_loop.h"
#include "runtime/task.h"

namespace axo {

class MetricSet;

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

// Which objects of a kind a watch is about. A store may show more than that, never less: objects that lack the field
// are shown where nobody schedules (a directory), and callers check what they get.
struct WatchOptions {
    // Fields that the API server can select by: "metadata.name", "metadata.namespace", of Pods "spec.nodeName".
    std::map<std::string, std::string> fields{};
    std::map<std::string, std::string> labels{};  // of metadata.labels, all equal
    friend auto operator<=>(const WatchOptions&, const WatchOptions&) = default;
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

    virtual Task<Result<Json>> get(const ResourceType& type, ObjectKey key) = 0;
    virtual Task<Result<std::vector<Json>>> list(const ResourceType& type) = 0;
    virtual std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler, WatchOptions options) = 0;
    std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler) {
        return watch(type, std::move(handler), {});
    }
    // kAlreadyExists when it does. Returns the object as stored (with resourceVersion, uid, creationTimestamp).
    virtual Task<Result<Json>> create(const ResourceType& type, Json object) = 0;
    // Replaces everything but .status; kAborted unless metadata.resourceVersion is the stored one.
    virtual Task<Result<Json>> update(const ResourceType& type, Json object) = 0;
    // Replaces .status only, same rule; without a resourceVersion: whatever the stored revision is.
    virtual Task<Result<Json>> update_status(const ResourceType& type, Json object) = 0;
    // What is not there is success.
    virtual Task<Status> remove(const ResourceType& type, ObjectKey key) = 0;

    // Whether the store answers, since when that is so, and if it does not: what was the matter last.
    struct Reachability {
        bool reachable = true;
        std::chrono::system_clock::time_point since{};  // epoch: always so
        std::string error{};
    };
    [[nodiscard]] virtual Reachability reachability() const { return {}; }
    [[nodiscard]] bool reachable() const { return reachability().reachable; }
    // Of a store that is a server: what it is and what is followed there. For status.
    struct ServerInfo {
        struct Api {
            std::string name;     // "cilium/v2::CiliumNode"
            std::string state;    // listing, watching, not served, failing
            std::string problem;  // ""
            std::size_t objects = 0;
        };
        std::string version;  // "1.33 (v1.33.1) [linux/amd64]"; "" until it has answered
        std::string address;
        std::vector<Api> apis;
        std::vector<std::string> concerns;  // what will be a problem soon
    };
    [[nodiscard]] virtual std::optional<ServerInfo> server() const { return std::nullopt; }
    // Whether what Endpoints objects say is also said by EndpointSlices.
    [[nodiscard]] virtual bool mirrors_endpoints() const { return false; }
    // Whether old Events go by themselves.
    [[nodiscard]] virtual bool expires_events() const { return false; }

    // What is not usable at this moment; an entry goes when the object is corrected or removed.
    struct Rejected {
        std::string where;    // "/etc/axoneme/manifests/pods.yaml"
        std::string message;  // "line 7, column 3: …"
    };
    [[nodiscard]] virtual std::vector<Rejected> rejected() const { return {}; }

    // What requests cost, of a store that is a server. The set must not outlive the store.
    virtual void add_metrics(MetricSet&) const {}

    // One line for `status`: "dir /etc/axoneme/manifests: 12 objects".
    [[nodiscard]] virtual std::string describe() const = 0;
};

// For kubernetes: which API server and how much may be asked of it.
struct KubernetesFlags {
    std::string kubeconfig;            // --k8s-kubeconfig-path; "": the pod's service account
    std::vector<std::string> servers;  // --k8s-api-server-urls; instead of the configuration's
    double qps = 10;                   // --k8s-client-qps
    int burst = 20;                    // --k8s-client-burst
    std::string user_agent = "axoneme";
};

// "dir:/path" | "kubernetes:" | "kubernetes:/path/to/kubeconfig"; anything else is an error that lists what is
// accepted.
Result<std::unique_ptr<ObjectStore>> open_object_store(const std::string& address, EventLoop& loop,
                                                       const KubernetesFlags& flags = {});

}  // namespace axo
