// SliceWriter: keeps CiliumEndpointSlices as the CiliumEndpoints are (enable-cilium-endpoint-slice).
//
// At most 10 slices are written per second, 20 at once: changes of the endpoints of one slice in between are one write.
// Endpoints without an identity or an address are nobody's business yet. Thread: the loop's only.
#pragma once

#include <memory>

#include "features/operator/endpoint_slices.h"
#include "io/object_watch.h"
#include "runtime/controller.h"

namespace axo {

class SliceWriter {
public:
    SliceWriter(EventLoop& loop, ControllerRegistry& registry, ObjectStore& store, std::size_t limit);

    [[nodiscard]] const EndpointSlices& slices() const { return slices_; }

private:
    void synced();
    Task<Status> work();
    Task<Status> write(std::string name);
    bool take_token();

    EventLoop& loop_;
    ObjectStore& store_;
    EndpointSlices slices_;
    bool endpoints_synced_ = false, slices_synced_ = false;
    double tokens_;
    std::chrono::steady_clock::time_point refilled_;
    Controller controller_;
    EventLoop::Handle later_;
    std::unique_ptr<ObjectStore::Watch> endpoint_watch_, slice_watch_;
};

}  // namespace axo
