// Flows as lines of JSON in files, as Hubble's exporter writes them: filters, field masks, aggregation.
//
// One thread reads the ring like a client: it is never in the way of flows, and what it misses is written into the
// files as lost events. Thread: any.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "hubble/core/observer.h"
#include "hubble/server/export_file.h"

namespace axo::hubble {

struct ExportSettings {
    std::string name;  // "": the static one
    ExportFileSettings file;
    std::vector<std::string> field_mask, aggregate;
    std::chrono::milliseconds aggregation_interval{0};  // 0: every flow is written
    std::vector<std::string> include, exclude;          // FlowFilters as JSON
    std::int64_t end_ns = std::numeric_limits<std::int64_t>::max();
    friend bool operator==(const ExportSettings&, const ExportSettings&) = default;
};

// hubble-flowlogs-config-path: the YAML of ConfigMap cilium-flowlog-config.
Result<std::map<std::string, ExportSettings>> parse_flow_logs(const std::string& yaml);

class Exporters {
public:
    explicit Exporters(Observer& observer);
    ~Exporters();
    // Of filters and masks: what is wrong with them.
    static axo::Status check(const ExportSettings& settings);
    // Whatever is not in it ends, with what it has aggregated written.
    void set(std::vector<ExportSettings> wanted);

    struct Status {
        std::size_t active = 0, ended = 0;
        // By name. Where something was lost or cut short, how often since it began: a file cannot be written; there are
        // more groups than one interval may have, which is written before its end then.
        std::map<std::string, std::string> errors;
        std::map<std::string, bool> up;
        std::map<std::string, std::uint64_t> lost, cut_short;
    };
    [[nodiscard]] Status status() const;

private:
    class One;
    void run();

    Observer& observer_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, std::shared_ptr<One>> exporters_;
    std::map<std::string, std::string> not_made_;  // and why
    std::vector<std::shared_ptr<One>> leaving_;    // the thread ends them
    bool stopping_ = false;
    std::thread thread_;  // once there is something to export
};

}  // namespace axo::hubble
