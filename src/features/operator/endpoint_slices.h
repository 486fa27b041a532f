// EndpointSlices: which CiliumEndpoint stands in which CiliumEndpointSlice (enable-cilium-endpoint-slice).
//
// An endpoint stays in its slice for life; a new one goes into the fullest slice of its namespace that has room, a
// slice without endpoints goes. What an operator finds at its start is adopted, so a change of leader changes nothing.
// Pure: it says which slices differ from what was last seen of them. Thread: any one at a time.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "io/object_store.h"
#include "model/cilium_endpoint_slice.h"

namespace axo {

class EndpointSlices {
public:
    // new_name: of a slice, never the same twice.
    EndpointSlices(std::size_t limit, std::function<std::string()> new_name)
        : limit_(limit), new_name_(std::move(new_name)) {}

    // A slice as the store has it. The first one that names an endpoint has it.
    void seen(const CiliumEndpointSlice& slice);
    void seen_gone(const std::string& name);
    void set_endpoint(const ObjectKey& key, CiliumEndpointSlice::Endpoint endpoint);
    void remove_endpoint(const ObjectKey& key);
    // Once all slices and all endpoints have been seen: what stands in slices and is no endpoint goes.
    void complete();

    // Slices that are not as they should be.
    [[nodiscard]] const std::set<std::string>& dirty() const { return dirty_; }
    // nullopt: there should be none of this name.
    [[nodiscard]] std::optional<CiliumEndpointSlice> wanted(const std::string& name) const;
    [[nodiscard]] std::size_t size() const { return slices_.size(); }

private:
    struct Slice {
        std::string name_space;
        std::set<std::string> endpoints;            // names
        std::optional<CiliumEndpointSlice> stored;  // without metadata but the name
    };
    void assign(const ObjectKey& key);
    void unassign(const ObjectKey& key);
    void check(const std::string& name);

    std::size_t limit_;
    std::function<std::string()> new_name_;
    bool complete_ = false;
    std::map<ObjectKey, CiliumEndpointSlice::Endpoint> endpoints_;
    std::map<ObjectKey, std::string> slice_of_;
    std::map<std::string, Slice> slices_;
    std::set<std::string> dirty_;
};

}  // namespace axo
