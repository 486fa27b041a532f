#include <csignal>
#include <cstdio>
#include <random>
#include <unistd.h>

#include "app/operator/operator.h"
#include "runtime/heap_trimmer.h"

namespace {

std::map<std::string, std::string> environment() {
    std::map<std::string, std::string> all;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string text(*entry);
        const std::size_t equals = text.find('=');
        if (equals != std::string::npos) all.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return all;
}

// "<host>-<random>", as Cilium's operator calls itself.
std::string candidate_name() {
    char host[256] = "operator";
    gethostname(host, sizeof host - 1);
    std::random_device random;
    std::string name = std::string(host) + "-";
    for (int i = 0; i < 10; ++i) name += "bcdfghjklmnpqrstvwxz2456789"[random() % 27];
    return name;
}

int refuse(const axo::Error& error) {
    std::fprintf(stderr, "axoneme-operator: %s\n", error.message.c_str());
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    auto invocation = axo::parse_operator_config(argc, argv, environment());
    if (!invocation) return refuse(invocation.error());
    if (invocation->print) {
        std::fputs(invocation->print->c_str(), stdout);
        return 0;
    }
    const axo::OperatorConfig& config = invocation->config;
    axo::set_log_level(config.log_level);
    axo::set_log_format(config.log_format);
    std::signal(SIGPIPE, SIG_IGN);

    axo::EventLoop loop;
    const axo::HeapTrimmer trimmer(loop);
    auto store = axo::open_object_store(config.object_store, loop, config.kubernetes);
    if (!store) return refuse(std::move(store).error().with_context("--object-store"));

    axo::Operator the_operator(loop, **store, config, candidate_name());
    axo::HttpServer server(loop,
                           [&](const axo::HttpRequest& request, const std::shared_ptr<axo::HttpResponder>& responder) {
                               the_operator.handle(request, responder);
                           });
    if (config.api) {
        if (auto listening = axo::listen_at(server, *config.api); !listening)
            return refuse(std::move(listening).error().with_context("--operator-api-serve-addr"));
    }
    axo::HttpServer metrics(loop,
                            [&](const axo::HttpRequest& request, const std::shared_ptr<axo::HttpResponder>& responder) {
                                the_operator.handle_metrics(request, responder);
                            });
    if (config.serve_metrics && config.metrics) {
        if (auto listening = axo::listen_at(metrics, *config.metrics); !listening)
            return refuse(std::move(listening).error().with_context("--operator-prometheus-serve-addr"));
    }

    const axo::Logger log("operator");
    axo::TaskGroup tasks;
    const auto stop = [&](int signal_number) {
        if (!tasks.empty()) return loop.stop();  // a second signal does not wait
        log.info("stopping", {{"signal", signal_number}});
        tasks.spawn(the_operator.resign(), [&](const axo::Status& resigned) {
            if (!resigned) log.warn("The lease runs out by itself", {resigned.error()});
            loop.stop();
        });
    };
    const auto on_term = loop.on_signal(SIGTERM, stop);
    const auto on_int = loop.on_signal(SIGINT, stop);
    log.info("started", {{"cluster", config.cluster_name}, {"store", (*store)->describe()}});
    loop.run();
    return 0;
}
