// Flows from a file or standard input instead of a server: lines as `observe -o jsonpb` writes them. Filters, times,
// --first and --last are answered here as a server would. Thread: main's.
#pragma once

#include <observer/observer.pb.h>

#include <functional>
#include <istream>

#include "base/result.h"

namespace axo::cli {

// warn: of lines that are no flows; they are left out. Stops when `take` says false.
Status read_flows(std::istream& in, const observer::GetFlowsRequest& request,
                  const std::function<bool(const observer::GetFlowsResponse&)>& take,
                  const std::function<void(const std::string&)>& warn);

}  // namespace axo::cli
