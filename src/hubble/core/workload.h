// Which workload a pod belongs to. Pure. Thread: any.
#pragma once

#include <optional>

#include "hubble/core/record.h"
#include "model/meta.h"

namespace axo::hubble {

// By who controls it, as Cilium does: a ReplicaSet with a template's hash is its Deployment's, a Job with a time in its
// name its CronJob's, what nobody controls is its own.
std::optional<Workload> workload_of(const ObjectMeta& pod);
// Of a pod whose object is not at hand: only what a Deployment's pods are called says enough.
std::optional<Workload> workload_by_name(const std::string& pod);

}  // namespace axo::hubble
