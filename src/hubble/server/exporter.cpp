#include "hubble/server/exporter.h"

#include <google/protobuf/util/field_mask_util.h>
#include <google/protobuf/util/json_util.h>
#include <observer/observer.pb.h>

#include "base/duration.h"
#include "base/log.h"
#include "hubble/server/filter.h"
#include "hubble/server/flow_query.h"
#include "model/json_text.h"
#include "model/time.h"
#include "model/yaml.h"

namespace axo::hubble {

namespace {

using google::protobuf::FieldMask;
using google::protobuf::util::FieldMaskUtil;

constexpr std::chrono::milliseconds kInterval{200};
constexpr std::size_t kMaxGroups = 100'000;

std::int64_t now_ns() {
    return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

Result<FlowFilterSet::Filters> parse_filters(const std::string& name, const std::vector<std::string>& texts) {
    FlowFilterSet::Filters filters;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto status = google::protobuf::util::JsonStringToMessage(texts[i], filters.Add());
        if (!status.ok())
            return fail(Code::kInvalidArgument, name + "[" + std::to_string(i) + "]: \"" + texts[i] +
                                                    "\" is no FlowFilter: " + std::string(status.message()));
    }
    return filters;
}

Result<FieldMask> parse_mask(const std::string& name, const std::vector<std::string>& paths) {
    FieldMask mask;
    for (const std::string& path : paths) {
        if (!FieldMaskUtil::IsValidPath<::flow::Flow>(path))
            return fail(Code::kInvalidArgument, name + ": \"" + path + "\": flow.Flow has no such field");
        mask.add_paths(path);
    }
    return mask;
}

}  // namespace

class Exporters::One {
public:
    static Result<std::shared_ptr<One>> make(const ExportSettings& settings, const Observer& observer) {
        auto one = std::make_shared<One>();
        one->settings_ = settings;
        one->context_ = flow_context(observer);
        TRY_ASSIGN(const auto include, parse_filters("includeFilters", settings.include));
        TRY_ASSIGN(const auto exclude, parse_filters("excludeFilters", settings.exclude));
        TRY_ASSIGN(one->filter_,
                   FlowFilterSet::compile(include, exclude, one->context_, "includeFilters", "excludeFilters"));
        TRY_ASSIGN(one->mask_, parse_mask("fieldMask", settings.field_mask));
        TRY_ASSIGN(one->aggregate_, parse_mask("fieldAggregate", settings.aggregate));
        one->context_.counters = FieldMaskUtil::IsPathInFieldMask("extensions", one->mask_);
        one->file_ = std::make_unique<ExportFile>(settings.file);
        one->position_ = observer.ring().span().next;
        one->next_export_ = std::chrono::steady_clock::now() + settings.aggregation_interval;
        return one;
    }

    [[nodiscard]] const ExportSettings& settings() const { return settings_; }
    [[nodiscard]] bool ended() const { return now_ns() > settings_.end_ns; }
    void add_to(Status& status) const {
        const std::lock_guard lock(error_mutex_);
        const std::string& name = settings_.name;
        ++(ended() ? status.ended : status.active);
        status.up[name] = !ended() && error_.empty();
        if (!error_.empty() || !trouble_.empty()) status.errors[name] = error_.empty() ? trouble_ : error_;
        if (lost_ != 0) status.lost[name] = lost_;
        if (cut_short_ != 0) status.cut_short[name] = cut_short_;
    }

    // One turn. True: there is more.
    bool work(Observer& observer) {
        if (ended()) {
            finish();
            return false;
        }
        std::vector<FlowRecord> records;
        std::uint64_t missed = 0;
        position_ = observer.ring().read(position_, 1024, records, missed);
        if (missed != 0) {
            observer.count_ring_lost(missed);
            FlowRecord lost;
            lost.lost = missed;
            lost.lost_source = LostSource::kHubbleRing;
            lost.time_ns = now_ns();
            one_line(lost);
        }
        for (const FlowRecord& record : records) take(record);
        if (aggregates() && std::chrono::steady_clock::now() >= next_export_) export_groups();
        write();
        return records.size() == 1024;
    }

    void finish() {
        export_groups();
        write();
    }

private:
    struct Group {
        ::flow::Flow flow;
        std::uint32_t ingress = 0, egress = 0, unknown = 0;
    };

    [[nodiscard]] bool aggregates() const { return settings_.aggregation_interval.count() != 0; }

    void take(const FlowRecord& record) {
        if (!filter_.matches(record)) return;
        if (!aggregates() || record.is_lost()) return one_line(record);
        ::flow::Flow flow;
        to_proto(record, context_, flow);
        ::flow::Flow key = flow;
        if (aggregate_.paths_size() != 0) {
            FieldMaskUtil::TrimMessage(aggregate_, &key);
        } else {
            // Whatever tells one flow of a kind from the next.
            key.clear_uuid();
        }
        key.clear_time();
        std::string which = key.SerializeAsString();
        if (groups_.size() >= kMaxGroups && !groups_.contains(which)) cut_short();
        Group& group = groups_[std::move(which)];
        ++(record.direction == Direction::kIngress  ? group.ingress
           : record.direction == Direction::kEgress ? group.egress
                                                    : group.unknown);
        if (group.ingress + group.egress + group.unknown > 1) return;
        *key.mutable_time() = flow.time();
        group.flow = aggregate_.paths_size() != 0 ? std::move(key) : std::move(flow);
    }

    void cut_short() {
        {
            const std::lock_guard lock(error_mutex_);
            if (cut_short_++ == 0)
                Logger("hubble").warn("Flows differ too much to be aggregated for the whole interval",
                                      {{"file", settings_.file.path}, {"groups", kMaxGroups}});
        }
        export_groups();
    }

    void export_groups() {
        next_export_ = std::chrono::steady_clock::now() + settings_.aggregation_interval;
        for (auto& [key, group] : groups_) {
            ::observer::ExportEvent event;
            event.set_node_name(context_.node_name);
            *event.mutable_time() = group.flow.time();
            auto& aggregate = *group.flow.mutable_aggregate();
            aggregate.set_ingress_flow_count(group.ingress);
            aggregate.set_egress_flow_count(group.egress);
            aggregate.set_unknown_direction_flow_count(group.unknown);
            event.mutable_flow()->Swap(&group.flow);
            line(event);
        }
        groups_.clear();
    }

    void one_line(const FlowRecord& record) {
        ::observer::ExportEvent event;
        event.set_node_name(context_.node_name);
        to_timestamp(record.time_ns, *event.mutable_time());
        if (record.is_lost()) {
            to_proto(record, *event.mutable_lost_events());
        } else {
            to_proto(record, context_, *event.mutable_flow());
            if (mask_.paths_size() != 0) FieldMaskUtil::TrimMessage(mask_, event.mutable_flow());
        }
        line(event);
    }

    void line(const ::observer::ExportEvent& event) {
        google::protobuf::util::JsonPrintOptions options;
        options.preserve_proto_field_names = true;
        if (google::protobuf::util::MessageToJsonString(event, &lines_, options).ok()) {
            lines_ += '\n';
            ++line_count_;
        }
        if (lines_.size() > 262144) write();
    }

    void write() {
        if (lines_.empty()) return;
        const auto written = file_->write(lines_);
        lines_.clear();
        const std::uint64_t lines = std::exchange(line_count_, 0);
        const std::lock_guard lock(error_mutex_);
        if (!written && error_.empty())
            Logger("hubble").error("Flows cannot be exported", {{"file", settings_.file.path}, written.error()});
        error_ = written ? "" : written.error().message;
        if (!written) lost_ += lines;
        if (trouble_ == file_->trouble()) return;
        trouble_ = file_->trouble();
        if (!trouble_.empty())
            Logger("hubble").warn("Exported flows' older files stay as they are",
                                  {{"file", settings_.file.path}, {"error", trouble_}});
    }

    ExportSettings settings_;
    FlowContext context_;
    FlowFilterSet filter_;
    FieldMask mask_, aggregate_;
    std::unique_ptr<ExportFile> file_;
    std::uint64_t position_ = 1;
    std::map<std::string, Group> groups_;
    std::chrono::steady_clock::time_point next_export_;
    std::string lines_;
    std::uint64_t line_count_ = 0;  // in lines_
    mutable std::mutex error_mutex_;
    std::string error_, trouble_;
    std::uint64_t lost_ = 0, cut_short_ = 0;
};

axo::Status Exporters::check(const ExportSettings& settings) {
    const Observer nobody({.cluster = "c", .node = "n", .node_labels = {}, .version = "", .capacity = 1}, nullptr);
    if (auto made = One::make(settings, nobody); !made) return forward_error(std::move(made).error());
    return {};
}

Result<std::map<std::string, ExportSettings>> parse_flow_logs(const std::string& yaml) {
    TRY_ASSIGN(const Json document, parse_yaml(yaml));
    const JsonReader reader(document, "flow logs");
    std::map<std::string, ExportSettings> all;
    std::map<std::string, std::string> paths;
    reader.each("flowLogs", [&](const JsonReader& item) {
        ExportSettings one;
        one.name = item.string("name");
        one.file.path = item.string("filePath");
        one.field_mask = item.strings("fieldMask");
        one.aggregate = item.strings("fieldAggregate");
        one.file.max_bytes = static_cast<std::uint64_t>(item.integer("fileMaxSizeMb", 0, 1'000'000, 10)) << 20;
        one.file.max_backups = static_cast<std::size_t>(item.integer("fileMaxBackups", 0, 100'000, 5));
        if (one.file.max_bytes == 0) one.file.max_bytes = 10U << 20;
        if (one.file.max_backups == 0) one.file.max_backups = 5;
        one.file.compress = item.boolean("fileCompress");
        if (const std::string text = item.string("aggregationInterval"); !text.empty()) {
            const auto interval = parse_duration(text);
            if (!interval)
                item.reject("aggregationInterval", "a duration, e.g. 10s");
            else
                one.aggregation_interval = std::chrono::duration_cast<std::chrono::milliseconds>(*interval);
        }
        item.each("includeFilters", [&](const JsonReader& filter) { one.include.push_back(json_text(filter.json())); });
        item.each("excludeFilters", [&](const JsonReader& filter) { one.exclude.push_back(json_text(filter.json())); });
        if (const std::string end = item.string("end"); !end.empty()) {
            const auto time = parse_time(end);
            if (!time)
                item.reject("end", "a time, e.g. 2026-01-02T15:04:05Z");
            else
                one.end_ns = std::chrono::nanoseconds(time->time_since_epoch()).count();
        }
        if (one.name.empty()) item.reject("name", "a name");
        if (one.file.path.empty()) item.reject("filePath", "a file's path, or stdout");
        if (!one.name.empty() && all.contains(one.name)) item.reject("name", "a name that no other flow log has");
        if (!paths.emplace(one.file.path, one.name).second)
            item.reject("filePath", "a path that no other flow log has");
        all.emplace(one.name, std::move(one));
    });
    TRY(reader.status());
    for (const auto& [name, settings] : all) {
        if (auto checked = Exporters::check(settings); !checked)
            return forward_error(std::move(checked).error().with_context("flow log " + name));
    }
    return all;
}

Exporters::Exporters(Observer& observer) : observer_(observer) {}

Exporters::~Exporters() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Exporters::set(std::vector<ExportSettings> wanted) {
    std::map<std::string, std::shared_ptr<One>> next;
    const std::lock_guard lock(mutex_);
    not_made_.clear();
    for (const ExportSettings& settings : wanted) {
        const auto known = exporters_.find(settings.name);
        if (known != exporters_.end() && known->second->settings() == settings) {
            next.insert(exporters_.extract(known));
            continue;
        }
        auto made = One::make(settings, observer_);
        if (!made) {
            Logger("hubble").error("An exporter cannot be made", {{"name", settings.name}, made.error()});
            not_made_[settings.name] = made.error().message;
            continue;
        }
        next.emplace(settings.name, std::move(*made));
    }
    for (auto& [name, gone] : exporters_) leaving_.push_back(std::move(gone));
    exporters_ = std::move(next);
    if (!exporters_.empty() && !thread_.joinable()) thread_ = std::thread([this] { run(); });
}

Exporters::Status Exporters::status() const {
    const std::lock_guard lock(mutex_);
    Status status;
    for (const auto& [name, one] : exporters_) one->add_to(status);
    for (const auto& [name, error] : not_made_) {
        status.errors[name] = error;
        status.up[name] = false;
    }
    return status;
}

void Exporters::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        const auto leaving = std::exchange(leaving_, {});
        const auto all = exporters_;
        lock.unlock();
        for (const auto& gone : leaving) gone->finish();
        bool more = false;
        for (const auto& [name, one] : all) more = one->work(observer_) || more;
        lock.lock();
        if (!more) changed_.wait_for(lock, kInterval, [this] { return stopping_; });
    }
    for (const auto& [name, one] : exporters_) one->finish();
}

}  // namespace axo::hubble
