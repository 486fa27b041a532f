// `observe [flows|agent-events|debug-events]`. Thread: main's.
#pragma once

#include <observer/observer.pb.h>

#include <optional>
#include <string>
#include <vector>

#include "app/cli/observe/filter_flags.h"
#include "app/cli/observe/flags.h"
#include "app/cli/observe/printer.h"
#include "app/cli/observe/settings.h"
#include "base/result.h"

namespace axo::cli {

class ObserveCommand {
public:
    explicit ObserveCommand(Settings& settings);

    [[nodiscard]] std::vector<const FlagSet*> flag_sets(const std::string& what) const;
    // what: "flows", "agent-events", "debug-events".
    Status run(const std::string& what);

    // From the flags as they are; now: what relative times count from.
    [[nodiscard]] Result<observer::GetFlowsRequest> flows_request(WallTime now) const;
    [[nodiscard]] Result<PrinterOptions> printer_options(bool terminal) const;

private:
    struct Window {
        std::optional<google::protobuf::Timestamp> since, until;
    };
    [[nodiscard]] Result<Window> window(WallTime now) const;
    template <class Request>
    [[nodiscard]] Result<Request> events_request() const;
    Status flows();
    Status agent_events();
    Status debug_events();

    Settings& settings_;
    FilterFlags filters_;
    FlagSet selectors_{"Selectors"}, raw_filters_{"Raw Filters"}, formatting_{"Formatting"},
        flow_format_{"Flow Format"}, other_{"Other"};
    bool all_ = false, follow_ = false;
    std::uint64_t last_ = 0, first_ = 0;
    std::string since_, until_, output_ = "compact", time_format_ = "StampMilli", colour_ = "auto", input_file_;
    bool node_name_ = false, policy_names_ = false, numeric_ = false, translate_ = true, silent_ = false,
         print_raw_ = false, default_masks_ = false, explain_ = false;
    std::vector<std::string> field_mask_, allow_list_, deny_list_;
};

}  // namespace axo::cli
