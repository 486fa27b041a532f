// What a request of the web API asks for, as Hubble's request. Pure. Thread: any.
#pragma once

#include <observer/observer.pb.h>

#include <chrono>
#include <cstdint>

#include "base/result.h"
#include "io/http.h"

namespace axo {

// since, until, follow, last, filter, exclude. Errors name the parameter, its value and what is accepted.
Result<observer::GetFlowsRequest> web_flows_request(const HttpRequest& request);
// "10s", "1m", "2h", "10": whole seconds, at least one.
Result<std::int64_t> web_step_seconds(const std::string& text);
std::string to_text(std::int64_t nanoseconds);  // RFC 3339, UTC

}  // namespace axo
