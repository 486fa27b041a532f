#include "features/policy/sources.h"

#include "io/resources.h"
#include "model/json_text.h"

namespace axo::policy {

using Json = nlohmann::json;

struct PolicySources::Kind {
    const ResourceType* type;
    bool SourceSettings::* enabled;
    Result<Translation> (*translate)(const Json&, const TranslateContext&);
};

namespace {

template <class Object>
Result<Translation> parse_and_translate(const Json& json, const TranslateContext& context) {
    TRY_ASSIGN(const Object object, Object::parse(json));
    return translate(object, context);
}

Origin origin_of(const ResourceType& type, const ObjectKey& key) {
    return {.kind = type.kind, .k8s_namespace = key.name_space, .name = key.name, .uid = {}};
}

}  // namespace

const std::vector<PolicySources::Kind>& PolicySources::kinds() {
    static const std::vector<Kind> all = {
        {&resources::kNetworkPolicy, &SourceSettings::network_policies, parse_and_translate<NetworkPolicy>},
        {&resources::kCiliumNetworkPolicy, &SourceSettings::cilium_network_policies,
         parse_and_translate<CiliumNetworkPolicy>},
        {&resources::kCiliumClusterwideNetworkPolicy, &SourceSettings::cilium_clusterwide_network_policies,
         parse_and_translate<CiliumClusterwideNetworkPolicy>},
    };
    return all;
}

PolicySources::PolicySources(ObjectStore& store, SourceSettings settings, Callbacks callbacks)
    : store_(store), settings_(std::move(settings)), callbacks_(std::move(callbacks)) {
    settings_.context.cidr_groups = &groups_;
    settings_.context.services = &services_;
}

PolicySources::~PolicySources() = default;

void PolicySources::start() {
    // What policies refer to comes first: then most of them are translated once. 1 more: until all watches exist.
    unsynced_ = 1;
    watch_groups();
    watch_api_server();
    for (const Kind& kind : kinds()) {
        if (settings_.*kind.enabled) watch_policies(kind);
    }
    one_synced();
}

void PolicySources::one_synced() {
    if (--unsynced_ == 0) callbacks_.synced();
}

// Files that the store itself refuses are in its own list, and go from there when they are corrected.
std::function<void(const std::string&, const Error&)> PolicySources::failures_of(const ResourceType& type) const {
    return [this, objects = type.kind + " "](const std::string& where, const Error& error) {
        if (where.starts_with(objects)) callbacks_.rejected(where, error);
    };
}

ObjectVerdicts PolicySources::verdicts() const {
    return {.rejected = callbacks_.rejected, .accepted = callbacks_.accepted};
}

void PolicySources::watch_policies(const Kind& kind) {
    ++unsynced_;
    watches_.push_back(store_.watch(
        *kind.type, {.upserted = [this, &kind](const ObjectKey& key, const Json& json) { upserted(kind, key, json); },
                     .deleted = [this, &kind](const ObjectKey& key) { removed(kind, key); },
                     .synced = [this] { one_synced(); },
                     .rejected = failures_of(*kind.type)}));
}

void PolicySources::watch_groups() {
    ++unsynced_;
    const auto changed = [this](const std::string& name) {
        translate_again([&name](const Row& row) { return row.all_cidr_groups || row.cidr_groups.contains(name); });
    };
    watches_.push_back(store_.watch(resources::kCiliumCidrGroup,
                                    {.upserted =
                                         [this, changed](const ObjectKey& key, const Json& json) {
                                             const std::string where = "CiliumCIDRGroup " + key.to_string();
                                             auto group = CiliumCidrGroup::parse(json);
                                             if (!group) return callbacks_.rejected(where, group.error());
                                             callbacks_.accepted(where);
                                             groups_.insert_or_assign(key.name, std::move(*group));
                                             changed(key.name);
                                         },
                                     .deleted =
                                         [this, changed](const ObjectKey& key) {
                                             callbacks_.accepted("CiliumCIDRGroup " + key.to_string());
                                             if (groups_.erase(key.name) != 0) changed(key.name);
                                         },
                                     .synced = [this] { one_synced(); },
                                     .rejected = failures_of(resources::kCiliumCidrGroup)}));
}

namespace {

const ServiceName kApiServer{"default", "kubernetes"};

// Before it is parsed: there are very many, and one of them counts.
bool is_api_servers(const ObjectKey& key, const Json& slice) {
    if (key.name_space != kApiServer.name_space || !slice.is_object()) return false;
    const auto metadata = slice.find("metadata");
    if (metadata == slice.end() || !metadata->is_object()) return false;
    const auto labels = metadata->find("labels");
    if (labels == metadata->end() || !labels->is_object()) return false;
    const auto name = labels->find(EndpointSlice::kServiceNameLabel);
    return name != labels->end() && name->is_string() && name->get_ref<const std::string&>() == kApiServer.name;
}

// What service_view looks at.
Service without_the_rest(Service service) {
    Service kept;
    kept.metadata.labels = std::move(service.metadata.labels);
    kept.selector = std::move(service.selector);
    kept.type = service.type;
    return kept;
}
EndpointSlice without_the_rest(EndpointSlice slice) {
    EndpointSlice kept;
    kept.endpoints.resize(slice.endpoints.size());
    for (std::size_t i = 0; i < slice.endpoints.size(); ++i)
        kept.endpoints[i].addresses = std::move(slice.endpoints[i].addresses);
    return kept;
}

}  // namespace

void PolicySources::watch_api_server() {
    ++unsynced_;
    watches_.push_back(store_.watch(resources::kEndpointSlice,
                                    {.upserted =
                                         [this](const ObjectKey& key, const Json& json) {
                                             if (!is_api_servers(key, json)) return set_api_server(key, {});
                                             const std::string where = "EndpointSlice " + key.to_string();
                                             const auto slice = EndpointSlice::parse(json);
                                             if (!slice) return callbacks_.rejected(where, slice.error());
                                             callbacks_.accepted(where);
                                             std::set<IpAddress> addresses;
                                             for (const auto& endpoint : slice->endpoints)
                                                 addresses.insert(endpoint.addresses.begin(), endpoint.addresses.end());
                                             set_api_server(key, std::move(addresses));
                                         },
                                     .deleted = [this](const ObjectKey& key) { set_api_server(key, {}); },
                                     .synced = [this] { one_synced(); },
                                     .rejected = failures_of(resources::kEndpointSlice)}));
}

void PolicySources::set_api_server(const ObjectKey& slice, std::set<IpAddress> addresses) {
    if (addresses.empty() ? api_server_.erase(slice) == 0 : false) return;
    if (!addresses.empty()) api_server_.insert_or_assign(slice, std::move(addresses));
    std::set<IpAddress> all;
    for (const auto& [key, some] : api_server_) all.insert(some.begin(), some.end());
    callbacks_.api_server(all);
}

// The first policy refers to Services.
void PolicySources::watch_services() {
    services_state_ = Services::kListing;
    const bool at_start = unsynced_ > 0;
    if (at_start) ++unsynced_;
    const auto one_listed = [this, at_start, left = std::make_shared<int>(2)] {
        if (--*left != 0) return;
        services_state_ = Services::kKnown;
        translate_again([](const Row& row) { return row.services; });
        if (at_start) one_synced();
    };
    watches_.push_back(watch_objects<Service>(store_, resources::kService,
                                              {.upserted =
                                                   [this](const ObjectKey& key, Service service) {
                                                       const ServiceName name{key.name_space, key.name};
                                                       service_objects_.insert_or_assign(
                                                           name, without_the_rest(std::move(service)));
                                                       service_changed(name);
                                                   },
                                               .deleted =
                                                   [this](const ObjectKey& key) {
                                                       const ServiceName name{key.name_space, key.name};
                                                       if (service_objects_.erase(name) != 0) service_changed(name);
                                                   },
                                               .synced = one_listed,
                                               .verdicts = verdicts()}));
    watches_.push_back(watch_objects<EndpointSlice>(
        store_, resources::kEndpointSlice,
        {.upserted =
             [this](const ObjectKey& key, EndpointSlice slice) {
                 const ServiceName name{key.name_space, slice.service_name()};
                 if (const auto before = slice_owner_.find(key);
                     before != slice_owner_.end() && before->second != name) {
                     slices_[before->second].erase(key.name);
                     service_changed(before->second);
                 }
                 slice_owner_.insert_or_assign(key, name);
                 slices_[name].insert_or_assign(key.name, without_the_rest(std::move(slice)));
                 service_changed(name);
             },
         .deleted =
             [this](const ObjectKey& key) {
                 const auto owner = slice_owner_.extract(key);
                 if (!owner) return;
                 slices_[owner.mapped()].erase(key.name);
                 service_changed(owner.mapped());
             },
         .synced = one_listed,
         .verdicts = verdicts()}));
}

void PolicySources::service_changed(const ServiceName& name) {
    const auto mine = slices_.find(name);
    if (mine != slices_.end() && mine->second.empty()) slices_.erase(mine);
    std::vector<EndpointSlice> slices;
    if (const auto found = slices_.find(name); found != slices_.end()) {
        for (const auto& [slice_name, slice] : found->second) slices.push_back(slice);
    }
    const auto object = service_objects_.find(name);
    const auto before = services_.find(name);
    if (object == service_objects_.end()) {
        if (before == services_.end()) return;
        services_.erase(before);
    } else {
        ServiceView view = service_view(object->second, slices);
        if (before != services_.end() && before->second == view) return;
        services_.insert_or_assign(name, std::move(view));
    }
    if (services_state_ == Services::kKnown) translate_again([](const Row& row) { return row.services; });
}

void PolicySources::translate_again(const std::function<bool(const Row&)>& concerned) {
    std::vector<Key> keys;
    for (const auto& [key, row] : rows_) {
        if (concerned(row)) keys.push_back(key);
    }
    for (const Key& key : keys) {
        const auto row = rows_.find(key);
        if (row == rows_.end() || row->second.text.empty()) continue;
        const Json json = Json::parse(row->second.text.text());
        for (const Kind& kind : kinds()) {
            if (kind.type->kind == key.first) upserted(kind, key.second, json);
        }
    }
}

void PolicySources::upserted(const Kind& kind, const ObjectKey& key, const Json& json) {
    const std::string where = kind.type->kind + " " + key.to_string();
    Row& row = rows_[{kind.type->kind, key}];
    row.type = kind.type;
    row.origin = origin_of(*kind.type, key);
    auto translation = kind.translate(json, settings_.context);
    if (!translation) {
        row.error = translation.error();
        row.text = row.depends() ? PackedText(json_text(json)) : PackedText();
        ++changes_.refused;
        callbacks_.rejected(where, *row.error);
        return;
    }
    if (translation->services && services_state_ != Services::kKnown) {
        row.services = true;
        row.text = PackedText(json_text(json));
        if (services_state_ == Services::kUnknown) watch_services();
        return;  // until they are listed
    }
    row.error.reset();
    callbacks_.accepted(where);
    row.origin = translation->policy.origin;
    row.cidr_groups = std::move(translation->cidr_groups);
    row.all_cidr_groups = translation->all_cidr_groups;
    row.services = translation->services;
    row.text = row.depends() ? PackedText(json_text(json)) : PackedText();
    row.warnings = std::move(translation->warnings);
    row.rules = PackedText(json_text(policy_rules_json(json, settings_.context).value_or(Json::array())));
    if (row.policy && *row.policy == translation->policy) return;
    row.policy = std::make_shared<const Policy>(std::move(translation->policy));
    ++changes_.taken;
    callbacks_.upserted(row.policy);
}

void PolicySources::removed(const Kind& kind, const ObjectKey& key) {
    callbacks_.accepted(kind.type->kind + " " + key.to_string());
    const auto row = rows_.extract(Key{kind.type->kind, key});
    if (!row || !row.mapped().policy) return;
    ++changes_.taken;
    callbacks_.removed(row.mapped().policy->origin);
}

Task<Result<Translation>> PolicySources::preview(Json object) const {
    const auto stated = object.is_object() ? object.find("kind") : object.end();
    const std::string kind_name = stated != object.end() && stated->is_string() ? stated->get<std::string>() : "";
    for (const Kind& kind : kinds()) {
        if (kind.type->kind != kind_name) continue;
        auto translation = kind.translate(object, settings_.context);
        if (!translation || !translation->services || services_state_ == Services::kKnown) co_return translation;
        CO_TRY_ASSIGN(const auto services, list_services());
        TranslateContext context = settings_.context;
        context.services = &services;
        co_return kind.translate(object, context);
    }
    co_return fail(
        Code::kInvalidArgument,
        "kind: \"" + kind_name +
            "\" is no policy; NetworkPolicy, CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy is expected");
}

Task<Result<std::map<ServiceName, ServiceView>>> PolicySources::list_services() const {
    std::map<ServiceName, std::vector<EndpointSlice>> slices;
    CO_TRY_ASSIGN(const auto all_slices, store_.list(resources::kEndpointSlice));
    for (const Json& json : all_slices) {
        auto slice = EndpointSlice::parse(json);
        if (!slice) continue;
        const ServiceName name{slice->metadata.name_space, slice->service_name()};
        slices[name].push_back(without_the_rest(std::move(*slice)));
    }
    std::map<ServiceName, ServiceView> views;
    CO_TRY_ASSIGN(const auto all_services, store_.list(resources::kService));
    for (const Json& json : all_services) {
        const auto service = Service::parse(json);
        if (!service) continue;
        const ServiceName name{service->metadata.name_space, service->metadata.name};
        views.emplace(name, service_view(*service, slices[name]));
    }
    co_return views;
}

}  // namespace axo::policy
