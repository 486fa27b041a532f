// `health status`: connectivity to every node, as cilium-health prints it. Pure.
#pragma once

#include <string>

#include "app/cli/output/format.h"

namespace axo::cli {

// health: a HealthStatusResponse. succinct: a table of counts; verbose: secondary addresses too.
std::string health_text(const Json& health, bool succinct, bool verbose);

}  // namespace axo::cli
