// .status of CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: whether the policy is valid, and why not.
// Thread: any.
#pragma once

#include <optional>
#include <string>

#include "model/json.h"
#include "model/time.h"

namespace axo {

// The object's status with condition Valid set to what is known now, everything else in it as it was; nothing when it
// already says so. The time of a transition is kept while only the message changes.
std::optional<Json> status_with_validity(const Json& object, bool valid, const std::string& message, WallTime now);

}  // namespace axo
