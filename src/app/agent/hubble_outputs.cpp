// Where flows go besides clients: history, files, metrics.
#include "app/agent/hubble.h"

namespace axo {

namespace {

// What a pod's last connections tell comes after it has gone.
constexpr std::chrono::seconds kPodMemory{10};

}  // namespace

void AgentHubble::keep_history() {
    if (config_.history.path.empty()) return;
    auto opened = hubble::HistoryStore::open(config_.history);
    if (!opened) {
        errors_[Part::kHistory] = opened.error().message;
        log_.error("The flow history cannot be kept", {opened.error()});
        return;
    }
    history_ = std::move(*opened);
}

void AgentHubble::start_exporters() {
    const auto apply = [this] {
        std::vector<hubble::ExportSettings> all;
        if (!config_.exported.file.path.empty()) all.push_back(config_.exported);
        for (const auto& [name, settings] : flow_logs_.all) all.push_back(settings);
        exporters_.set(std::move(all));
    };
    apply();
    if (config_.flow_logs.empty()) return;
    flow_logs_watch_ = std::make_unique<FileWatch>(
        loop_, config_.flow_logs, [this, apply](const Result<std::optional<std::string>>& content) {
            const std::string text = content ? content->value_or("") : "";
            auto parsed = !content
                              ? Result<std::map<std::string, hubble::ExportSettings>>(forward_error(content.error()))
                          : text.empty() ? std::map<std::string, hubble::ExportSettings>()
                                         : hubble::parse_flow_logs(text);
            if (!parsed) {
                ++flow_logs_.failed;
                log_.error("Flow logs stay as they are", {{"file", config_.flow_logs.string()}, parsed.error()});
                return;
            }
            flow_logs_.all = std::move(*parsed);
            flow_logs_.hash = std::hash<std::string>{}(text);
            ++flow_logs_.applied;
            flow_logs_.last_applied =
                std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
                    .count();
            apply();
        });
}

void AgentHubble::serve_metrics() {
    if (config_.metrics.empty()) return;
    auto parsed = hubble::FlowMetrics::parse(config_.metrics);
    if (!parsed) {
        metrics_error_ = parsed.error().message;
        return;
    }
    metrics_ = std::move(*parsed);
    metrics_server_ = std::make_unique<HttpServer>(
        loop_, [this](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
            HttpResponse response;
            response.content_type = kMetricsContentType;
            if (request.method != "GET" || request.path != "/metrics") {
                response.status = request.path == "/metrics" ? 405 : 404;
                response.body = "there is GET /metrics\n";
            } else {
                response.body = metrics_text();
            }
            responder->send(std::move(response));
        });
    const auto listening = listen_on_any(config_.metrics_addresses, [this](const IpAddress& address) {
        return metrics_server_->listen_tcp(address, config_.metrics_port);
    });
    if (listening) return;
    metrics_error_ = listening.error().message;
    log_.error("Hubble's metrics are not served", {listening.error()});
}

std::string AgentHubble::metrics_text() const {
    MetricSet set("");
    metrics_->add_to(set);
    set.counter("hubble_dns_unread_total", "Messages on DNS's port that could not be read",
                static_cast<double>(observer_.status().dns_unread));
    const hubble::Exporters::Status status = exporters_.status();
    const auto by_exporter = [&](const std::string& name, const char* help, const auto& counts) {
        set.declare(MetricSet::Kind::kCounter, name, help);
        for (const auto& [exporter, count] : counts)
            set.counter(name, help, static_cast<double>(count), {{"name", exporter}});
    };
    by_exporter("hubble_exporter_lost_events_total", "Events that could not be written into an exporter's file",
                status.lost);
    by_exporter("hubble_exporter_intervals_cut_short_total",
                "Aggregation intervals that ended early because their flows differed too much", status.cut_short);
    if (config_.flow_logs.empty()) return set.text();
    const auto gauge = [&](const std::string& name, const char* help, std::uint64_t value, MetricSet::Labels labels) {
        set.gauge("hubble_dynamic_exporter_" + name, help, static_cast<double>(value), std::move(labels));
    };
    const auto reconfigurations = [&](const char* op, std::uint64_t count) {
        set.counter("hubble_dynamic_exporter_reconfigurations_total", "Number of reconfigurations",
                    static_cast<double>(count), {{"op", op}});
    };
    gauge("exporters_total", "Number of configured exporters", status.active, {{"status", "active"}});
    gauge("exporters_total", "Number of configured exporters", status.ended, {{"status", "inactive"}});
    const char* const up_help = "Whether an exporter writes";
    set.declare(MetricSet::Kind::kGauge, "hubble_dynamic_exporter_up", up_help);
    for (const auto& [name, up] : status.up) {
        if (!name.empty()) gauge("up", up_help, up ? 1 : 0, {{"name", name}});
    }
    reconfigurations("update", flow_logs_.applied);
    reconfigurations("error", flow_logs_.failed);
    gauge("config_hash", "Hash of the last applied configuration", flow_logs_.hash >> 32, {});
    gauge("config_last_applied", "When it was applied, in seconds since the epoch",
          static_cast<std::uint64_t>(flow_logs_.last_applied), {});
    return set.text();
}

void AgentHubble::forget_pod(const std::string& name_space, const std::string& pod) {
    if (metrics_) gone_pods_.push_back({std::chrono::steady_clock::now() + kPodMemory, {name_space, pod}});
}

AgentHubble::Status AgentHubble::status() const {
    Status status{.error = {},
                  .warning = {},
                  .observer = observer_.status(),
                  .history = std::nullopt,
                  .exporters = exporters_.status()};
    const auto append = [](std::string& all, const std::string& one) { all += (all.empty() ? "" : "; ") + one; };
    for (const auto& [part, error] : errors_) {
        // Connections go on with the certificates before.
        const bool served = part == Part::kCertificates && listening_;
        append(served ? status.warning : status.error, error);
    }
    for (const auto& [name, error] : status.exporters.errors) append(status.warning, error);
    if (history_) status.history = history_->status();
    if (status.history && !status.history->error.empty()) append(status.warning, status.history->error);
    return status;
}

std::string AgentHubble::metrics_state() const {
    if (config_.metrics.empty()) return {};
    return metrics_error_.empty() ? "Ok" : metrics_error_;
}

}  // namespace axo
