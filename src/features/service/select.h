// Which endpoints of a Service's port its clients are led to: kube-proxy's rules. Thread: any (pure functions).
#pragma once

#include <string>
#include <vector>

#include "features/service/definition.h"

namespace axo::service {

// An endpoint of one port.
struct Candidate {
    LbAddress address;
    bool ready = true, serving = true, terminating = false, local = false;
    SharedText node, zone;
    const SliceData::Hints* hints = nullptr;
};

// Orders the candidates by address and makes one of those that several slices name: the one in the better state.
void normalise(std::vector<Candidate>& candidates);

// Under a policy of Cluster. Endpoints that are ready; with `hints` only those meant for this node or its zone, when
// all that are ready carry such hints and one of them fits. If none is ready, those that terminate but still serve.
Selection select_cluster(const std::vector<Candidate>& candidates, bool hints, SharedText node, SharedText zone);
// Under a policy of Local: the same of this node's endpoints; hints do not count.
Selection select_local(const std::vector<Candidate>& candidates);

}  // namespace axo::service
