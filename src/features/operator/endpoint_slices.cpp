#include "features/operator/endpoint_slices.h"

namespace axo {

void EndpointSlices::seen(const CiliumEndpointSlice& object) {
    Slice& slice = slices_[object.metadata.name];
    if (slice.name_space.empty()) slice.name_space = object.name_space;
    CiliumEndpointSlice stored = object;
    stored.metadata = {};
    stored.metadata.name = object.metadata.name;
    slice.stored = std::move(stored);
    for (const CiliumEndpointSlice::Endpoint& endpoint : object.endpoints) {
        const ObjectKey key{object.name_space, endpoint.name};
        if (object.name_space != slice.name_space || slice_of_.contains(key)) continue;
        if (complete_ && !endpoints_.contains(key)) continue;  // it went meanwhile
        slice_of_.emplace(key, object.metadata.name);
        slice.endpoints.insert(endpoint.name);
    }
    check(object.metadata.name);
}

void EndpointSlices::seen_gone(const std::string& name) {
    const auto slice = slices_.find(name);
    if (slice == slices_.end()) return;
    slice->second.stored.reset();
    check(name);
}

void EndpointSlices::set_endpoint(const ObjectKey& key, CiliumEndpointSlice::Endpoint endpoint) {
    endpoints_.insert_or_assign(key, std::move(endpoint));
    if (const auto slice = slice_of_.find(key); slice != slice_of_.end())
        check(slice->second);
    else if (complete_)
        assign(key);
}

void EndpointSlices::remove_endpoint(const ObjectKey& key) {
    endpoints_.erase(key);
    if (complete_) unassign(key);
}

void EndpointSlices::complete() {
    if (complete_) return;
    complete_ = true;
    std::set<ObjectKey> gone;
    for (const auto& [key, slice] : slice_of_) {
        if (!endpoints_.contains(key)) gone.insert(key);
    }
    for (const ObjectKey& key : gone) unassign(key);
    for (const auto& [key, endpoint] : endpoints_) {
        if (!slice_of_.contains(key)) assign(key);
    }
    std::set<std::string> names;
    for (const auto& [name, slice] : slices_) names.insert(name);
    for (const std::string& name : names) check(name);
}

void EndpointSlices::assign(const ObjectKey& key) {
    const std::string* fullest = nullptr;
    std::size_t most = 0;
    for (const auto& [name, slice] : slices_) {
        if (slice.name_space != key.name_space || slice.endpoints.size() >= limit_) continue;
        if (fullest != nullptr && slice.endpoints.size() <= most) continue;
        fullest = &name;
        most = slice.endpoints.size();
    }
    std::string name = fullest == nullptr ? new_name_() : *fullest;
    Slice& slice = slices_[name];
    slice.name_space = key.name_space;
    slice.endpoints.insert(key.name);
    slice_of_.insert_or_assign(key, name);
    check(name);
}

void EndpointSlices::unassign(const ObjectKey& key) {
    const auto known = slice_of_.find(key);
    if (known == slice_of_.end()) return;
    const std::string name = known->second;
    slice_of_.erase(known);
    slices_[name].endpoints.erase(key.name);
    check(name);
}

std::optional<CiliumEndpointSlice> EndpointSlices::wanted(const std::string& name) const {
    const auto slice = slices_.find(name);
    if (slice == slices_.end() || slice->second.endpoints.empty()) return std::nullopt;
    CiliumEndpointSlice object;
    object.metadata.name = name;
    object.name_space = slice->second.name_space;
    for (const std::string& endpoint : slice->second.endpoints) {
        if (const auto known = endpoints_.find({slice->second.name_space, endpoint}); known != endpoints_.end())
            object.endpoints.push_back(known->second);
    }
    return object;
}

void EndpointSlices::check(const std::string& name) {
    if (!complete_) return;
    const auto slice = slices_.find(name);
    if (slice == slices_.end()) return;
    if (wanted(name) != slice->second.stored) {
        dirty_.insert(name);
        return;
    }
    dirty_.erase(name);
    if (slice->second.endpoints.empty()) slices_.erase(slice);
}

}  // namespace axo
