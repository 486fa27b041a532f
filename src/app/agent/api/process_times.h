// How long requests of the API take, for cilium_agent_api_process_time_seconds. Thread: the loop's.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "io/http.h"
#include "runtime/metrics.h"

namespace axo {

class ProcessTimes : public std::enable_shared_from_this<ProcessTimes> {
public:
    // A responder that notes the time from now to the answer, or to a stream's beginning. path: of the route, so that
    // clients do not decide how many series there are.
    std::shared_ptr<HttpResponder> timed(std::shared_ptr<HttpResponder> responder, std::string path,
                                         std::string method);
    void observe(const std::string& path, const std::string& method, int status, double seconds);
    // The set must not outlive this.
    void add_to(MetricSet& set) const;

private:
    std::map<std::tuple<std::string, std::string, int>, MetricHistogram> times_;  // by path, method, status
};

}  // namespace axo
