// GET /api/v1/flows: one FlowQuery as lines of JSON. Thread: the loop's.
#pragma once

#include <memory>
#include <set>

#include "app/relay/loop_gate.h"
#include "hubble/relay/service.h"
#include "io/http.h"
#include "runtime/event_loop.h"

namespace axo {

class WebFlows {
public:
    WebFlows(EventLoop& loop, relay_server::RelayService& service);
    ~WebFlows();
    void serve(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder);

private:
    class Stream;
    relay_server::RelayService& service_;
    std::set<std::shared_ptr<Stream>> streams_;
    EventLoop::Handle timer_;
    LoopGate gate_;
};

}  // namespace axo
