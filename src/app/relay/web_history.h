// GET /api/v1/history: how many flows per time and verdict. A page asks again every few seconds: what was counted is
// kept, and only what came since is asked of the nodes. Thread: the loop's.
#pragma once

#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hubble/relay/service.h"
#include "io/http.h"
#include "runtime/event_loop.h"

namespace axo {

struct VerdictCounts {
    std::uint64_t forwarded = 0, dropped = 0, audit = 0, error = 0;
};

class WebHistory {
public:
    WebHistory(EventLoop& loop, relay_server::RelayService& service);
    ~WebHistory();
    void serve(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder);

private:
    struct Series;  // of one set of filters and one step
    struct Count;   // a count that is being made
    void answer(const Series& series, std::int64_t since, std::int64_t until, HttpResponder& responder) const;
    bool pump(Count& count);
    void finish(Count& count);

    relay_server::RelayService& service_;
    std::list<std::shared_ptr<Series>> series_;  // the latest used first
    std::set<std::shared_ptr<Count>> counts_;
    EventLoop::Handle timer_;
};

}  // namespace axo
