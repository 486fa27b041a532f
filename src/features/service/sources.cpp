#include "features/service/sources.h"

#include "io/resources.h"
#include "model/node.h"

namespace axo::service {
namespace {

// An Endpoints object, read into slices.
struct Endpoints {
    std::vector<EndpointSlice> slices;
    static Result<Endpoints> parse(const Json& json) {
        TRY_ASSIGN(auto slices, parse_endpoints(json));
        return Endpoints{std::move(slices)};
    }
};

}  // namespace

ServiceSources::ServiceSources(ObjectStore& store, EngineSettings settings, bool watch_nodes, ServiceEngine& engine,
                               Callbacks callbacks)
    : store_(store),
      settings_(std::move(settings)),
      watch_nodes_(watch_nodes),
      engine_(engine),
      callbacks_(std::move(callbacks)) {}

ServiceSources::~ServiceSources() = default;

void ServiceSources::start() {
    // The node comes first: its labels decide what Services mean. 1 more: until all watches exist.
    unsynced_ = 5;
    const auto synced = [this] { one_synced(); };
    if (watch_nodes_) {
        watches_.push_back(watch_objects<Node>(store_, resources::kNode,
                                               {.upserted =
                                                    [this](const ObjectKey& key, const Node& node) {
                                                        if (key.name == settings_.node_name)
                                                            set_node(service_node(node.metadata.labels));
                                                    },
                                                .deleted = [](const ObjectKey&) {},
                                                .synced = synced,
                                                .verdicts = callbacks_.verdicts},
                                               {.fields = {{"metadata.name", settings_.node_name}}}));
    } else {
        one_synced();
    }
    watches_.push_back(watch_objects<Service>(
        store_, resources::kService,
        {.upserted = [this](const ObjectKey& key, const Service& object) { service(key, object); },
         .deleted =
             [this](const ObjectKey& key) {
                 const std::string where = "Service " + key.to_string();
                 if (refused_.erase(where) != 0) callbacks_.verdicts.accepted(where);
                 node_dependent_.erase(key);
                 engine_.remove_service({key.name_space, key.name});
                 callbacks_.changed();
             },
         .synced = synced,
         .verdicts = callbacks_.verdicts}));
    watches_.push_back(watch_objects<EndpointSlice>(
        store_, resources::kEndpointSlice,
        {.upserted =
             [this](const ObjectKey& key, const EndpointSlice& slice) {
                 std::vector<SliceData> data;
                 if (slice.family != Family::kNone) data.push_back(slice_data(slice));
                 slices(key, ServiceEngine::SliceKind::kEndpointSlice, slice.service_name(), std::move(data));
             },
         .deleted = [this](const ObjectKey& key) { slices(key, ServiceEngine::SliceKind::kEndpointSlice, {}, {}); },
         .synced = synced,
         .verdicts = callbacks_.verdicts}));
    // There they are the same once more.
    if (store_.mirrors_endpoints()) {
        one_synced();
        return one_synced();
    }
    watches_.push_back(watch_objects<Endpoints>(
        store_, resources::kEndpoints,
        {.upserted =
             [this](const ObjectKey& key, const Endpoints& endpoints) {
                 std::vector<SliceData> data;
                 for (const EndpointSlice& slice : endpoints.slices) data.push_back(slice_data(slice));
                 slices(key, ServiceEngine::SliceKind::kEndpoints, key.name, std::move(data));
             },
         .deleted = [this](const ObjectKey& key) { slices(key, ServiceEngine::SliceKind::kEndpoints, key.name, {}); },
         .synced = synced,
         .verdicts = callbacks_.verdicts}));
    one_synced();
}

void ServiceSources::one_synced() {
    if (--unsynced_ == 0) callbacks_.synced();
}

void ServiceSources::service(const ObjectKey& key, const Service& service) {
    const std::string where = "Service " + key.to_string();
    if (depends_on_node(service)) {
        node_dependent_.insert_or_assign(key, service);
    } else {
        node_dependent_.erase(key);
    }
    auto definition = define(service, settings_, node_);
    if (!definition) {
        refused_.insert(where);
        callbacks_.verdicts.rejected(where, definition.error());
        return;
    }
    if (refused_.erase(where) != 0) callbacks_.verdicts.accepted(where);
    engine_.set_service({key.name_space, key.name}, std::move(*definition));
    callbacks_.changed();
}

void ServiceSources::slices(const ObjectKey& key, ServiceEngine::SliceKind kind, const std::string& service,
                            std::vector<SliceData> data) {
    engine_.set_slices({key.name_space, service}, kind, key.name, std::move(data));
    callbacks_.changed();
}

void ServiceSources::set_node(ServiceNode node) {
    if (node == node_) return;
    engine_.set_zone(node.zone);
    engine_.set_health_addresses(node.addresses);
    const bool labels = node.labels != node_.labels;
    node_ = std::move(node);
    callbacks_.changed();
    if (!labels) return;
    const std::map<ObjectKey, Service> concerned = node_dependent_;
    for (const auto& [key, object] : concerned) service(key, object);
}

}  // namespace axo::service
