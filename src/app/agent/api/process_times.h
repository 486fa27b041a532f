// How long requests of the API take, for cilium_agent_api_process_time_seconds. Thread: the loop's.
#pragma once

#include <memory>
#include <string>

#include "io/http.h"
#include "runtime/metrics.h"

namespace axo {

class ProcessTimes : public std::enable_shared_from_this<ProcessTimes> {
public:
    // A responder that notes the time from now to the answer, or to a stream's beginning. path: of the route, so that
    // clients do not decide how many series there are.
    std::shared_ptr<HttpResponder> timed(std::shared_ptr<HttpResponder> responder, std::string path,
                                         std::string method);
    void observe(const std::string& path, const std::string& method, int status, double seconds) {
        times_.observe({{"method", method}, {"path", path}, {"return_code", std::to_string(status)}}, seconds);
    }
    // The set must not outlive this.
    void add_to(MetricSet& set) const { times_.add_to(set); }

private:
    MetricTimes times_{"agent_api_process_time_seconds",
                       "Duration of processed API calls labeled by path, method and return code"};
};

}  // namespace axo
