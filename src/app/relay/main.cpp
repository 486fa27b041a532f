// axoneme-relay: flows of all nodes from one address, and what goes with them over HTTP (metrics).
#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "app/relay/listen.h"
#include "app/relay/metrics.h"
#include "app/relay/options.h"
#include "app/relay/web.h"
#include "app/relay/web_files.h"
#include "runtime/event_loop.h"
#include "runtime/heap_trimmer.h"
#include "runtime/metrics.h"

namespace {

int refuse(const axo::Error& error) {
    std::fprintf(stderr, "axoneme-relay: %s\n", error.message.c_str());
    return 1;
}

std::string host_name() {
    char name[256] = "hubble-relay";
    ::gethostname(name, sizeof(name) - 1);
    return name;
}

}  // namespace

int main(int argc, char** argv) {
    // gRPC's threads come and go; an arena for each of them would keep what they once needed.
    ::mallopt(M_ARENA_MAX, 2);
    auto options = axo::parse_relay_options({argv + std::min(argc, 1), argv + argc});
    if (!options) return refuse(options.error());
    if (options->print) {
        std::fputs(options->print->c_str(), stdout);
        return 0;
    }
    axo::set_log_level(options->log_level);
    std::signal(SIGPIPE, SIG_IGN);
    const axo::Logger log("hubble-relay");

    axo::EventLoop loop;
    const axo::HeapTrimmer trimmer(loop);
    auto pool = axo::relay_server::PeerPool::create(options->relay);
    if (!pool) return refuse(pool.error());
    axo::relay_server::RelayService service(options->relay, **pool, host_name());
    axo::HttpServer metrics(
        loop, [&](const axo::HttpRequest& request, const std::shared_ptr<axo::HttpResponder>& responder) {
            if (request.path == "/metrics")
                responder->send({.status = 200,
                                 .body = axo::relay_metrics(service),
                                 .content_type = std::string(axo::kMetricsContentType)});
            else
                responder->send({.status = 404, .body = "not found\n", .content_type = "text/plain"});
        });
    if (!options->metrics_address.empty())
        if (auto listening = axo::listen_http(metrics, options->metrics_address); !listening)
            return refuse(std::move(listening).error().with_context("--metrics-listen-address"));
    std::unique_ptr<axo::ObjectStore> store;
    if (!options->object_store.empty()) {
        auto opened = axo::open_object_store(options->object_store, loop, {.user_agent = "axoneme-relay"});
        if (!opened) return refuse(std::move(opened).error().with_context("--object-store"));
        store = std::move(*opened);
    }
    if (options->web_root.empty()) options->web_root = axo::default_web_root();
    axo::WebApi web_api(loop, service, store.get(), {options->web_root, options->relay.cluster_name});
    axo::HttpServer web(loop,
                        [&](const axo::HttpRequest& request, const std::shared_ptr<axo::HttpResponder>& responder) {
                            web_api.handle(request, responder);
                        });
    if (!options->web_address.empty())
        if (auto web_listening = axo::listen_http(web, options->web_address); !web_listening)
            return refuse(std::move(web_listening).error().with_context("--web-listen-address"));
    const auto listening = service.listen(options->listen_address, options->health_address);
    if (!listening) return refuse(listening.error());
    (*pool)->start();
    log.info("serving", {{"address", options->listen_address},
                         {"port", *listening},
                         {"web", options->web_address},
                         {"peer-service", options->relay.peer_service},
                         {"server-tls", options->relay.server.enabled},
                         {"client-tls", options->relay.client.enabled}});
    const auto stop = [&](int number) {
        log.info("stopping", {{"signal", number}});
        loop.stop();
    };
    const auto on_term = loop.on_signal(SIGTERM, stop);
    const auto on_int = loop.on_signal(SIGINT, stop);
    loop.run();
    service.stop();
    (*pool)->stop();
    return 0;
}
