// The policy objects of the store, translated, and what they refer to: CIDR groups, Services and their endpoints.
//
// An object that cannot be parsed or translated is refused as a whole and its previous version stays in force. Objects
// are translated again when something they refer to has changed. Services and their endpoints, which clusters have many
// of, are kept only once a policy refers to any; it waits for them. Thread: the loop's only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/packed_text.h"
#include "features/policy/translate.h"
#include "io/object_watch.h"

namespace axo::policy {

struct SourceSettings {
    bool network_policies = true;                     // enable-k8s-networkpolicy
    bool cilium_network_policies = true;              // enable-cilium-network-policy
    bool cilium_clusterwide_network_policies = true;  // enable-cilium-clusterwide-network-policy
    TranslateContext context;                         // groups and services are filled in here
};

class PolicySources {
public:
    struct Callbacks {
        std::function<void(std::shared_ptr<const Policy>)> upserted;
        std::function<void(const Origin&)> removed;
        // Every kind has been listed once; what it held has been delivered.
        std::function<void()> synced;
        // Addresses of the API server: the endpoints of the Service default/kubernetes.
        std::function<void(const std::set<IpAddress>&)> api_server;
        std::function<void(const std::string& where, const Error&)> rejected;
        std::function<void(const std::string& where)> accepted;
    };
    PolicySources(ObjectStore& store, SourceSettings settings, Callbacks callbacks);
    ~PolicySources();
    PolicySources(const PolicySources&) = delete;
    PolicySources& operator=(const PolicySources&) = delete;

    void start();
    // Addresses of pods and nodes, which CIDR rules never match: for warnings of what is translated from now on.
    void set_cluster_prefixes(std::vector<Prefix> prefixes) {
        settings_.context.cluster_prefixes = std::move(prefixes);
    }

    struct Row {
        const ResourceType* type = nullptr;
        Origin origin;                         // of the object as it is now
        std::shared_ptr<const Policy> policy;  // in force; nullptr: no version of it was ever usable
        std::set<std::string> cidr_groups;
        bool all_cidr_groups = false, services = false;
        std::vector<std::string> warnings;
        std::optional<Error> error;  // of the object as it is now
        PackedText text;   // the object, as long as it has to be translated again when groups or Services change
        PackedText rules;  // what is in force as policy_rules_json() has it: asked for where no store may answer
        [[nodiscard]] bool depends() const { return services || all_cidr_groups || !cidr_groups.empty(); }
    };
    using Key = std::pair<std::string, ObjectKey>;  // kind, name
    [[nodiscard]] const std::map<Key, Row>& rows() const { return rows_; }
    struct Changes {
        std::uint64_t taken = 0, refused = 0;  // versions of objects, since the start; removals are taken
    };
    [[nodiscard]] const Changes& changes() const { return changes_; }
    [[nodiscard]] const TranslateContext& context() const { return settings_.context; }
    // The translation that a manifest would have here: for previews. kInvalidArgument for a kind that is no policy.
    [[nodiscard]] Task<Result<Translation>> preview(nlohmann::json object) const;

private:
    struct Kind;
    static const std::vector<Kind>& kinds();
    [[nodiscard]] std::function<void(const std::string&, const Error&)> failures_of(const ResourceType& type) const;
    [[nodiscard]] ObjectVerdicts verdicts() const;
    void watch_policies(const Kind& kind);
    void watch_groups();
    void watch_api_server();
    void watch_services();
    void set_api_server(const ObjectKey& slice, std::set<IpAddress> addresses);
    [[nodiscard]] Task<Result<std::map<ServiceName, ServiceView>>> list_services() const;
    void upserted(const Kind& kind, const ObjectKey& key, const nlohmann::json& json);
    void removed(const Kind& kind, const ObjectKey& key);
    void translate_again(const std::function<bool(const Row&)>& concerned);
    void service_changed(const ServiceName& name);
    void one_synced();

    ObjectStore& store_;
    SourceSettings settings_;
    Callbacks callbacks_;
    std::map<Key, Row> rows_;
    Changes changes_;
    std::map<std::string, CiliumCidrGroup> groups_;
    std::map<ServiceName, ServiceView> services_;
    std::map<ServiceName, Service> service_objects_;
    std::map<ServiceName, std::map<std::string, EndpointSlice>> slices_;  // by name
    std::map<ObjectKey, ServiceName> slice_owner_;
    enum class Services { kUnknown, kListing, kKnown };
    Services services_state_ = Services::kUnknown;
    std::map<ObjectKey, std::set<IpAddress>> api_server_;  // by slice
    std::vector<std::unique_ptr<ObjectStore::Watch>> watches_;
    std::size_t unsynced_ = 0;
};

}  // namespace axo::policy
