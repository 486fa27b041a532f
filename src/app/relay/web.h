// The web API and the page that speaks it (docs/hubble.md, "Web API"), over HTTP.
//
//   /api/v1/flows       web_flows      a stream of lines, from one FlowQuery
//   /api/v1/history     web_history    counts per time, cached
//   /api/v1/status, namespaces, policies
//   everything else     web_files      the built page
//
// Thread: the loop's.
#pragma once

#include <memory>
#include <string>

#include "hubble/relay/service.h"
#include "io/http.h"
#include "io/object_store.h"
#include "runtime/event_loop.h"

namespace axo {

struct WebSettings {
    std::string root;  // the folder of the built page
    std::string cluster_name;
};

class WebApi {
public:
    // All of them outlive it; store: where policies are, may be null.
    WebApi(EventLoop& loop, relay_server::RelayService& service, ObjectStore* store, WebSettings settings);
    ~WebApi();
    WebApi(const WebApi&) = delete;
    WebApi& operator=(const WebApi&) = delete;

    void handle(const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// {"error": "…"}
HttpResponse web_error(int status, const std::string& message);
HttpResponse web_error(const Error& error);

}  // namespace axo
