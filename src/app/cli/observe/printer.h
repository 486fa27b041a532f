// What `observe`, `status` and their like print, as Hubble prints it. Text goes through an escaper: what a flow carries
// (names, URLs) cannot steer the terminal. Thread: main's.
#pragma once

#include <observer/observer.pb.h>

#include <cstdio>
#include <set>
#include <string>

#include "app/cli/observe/go_time.h"
#include "app/cli/output/tab_writer.h"
#include "base/result.h"

namespace axo::cli {

enum class ObserveOutput { kCompact, kDict, kJson, kJsonLegacy, kTable };

struct PrinterOptions {
    ObserveOutput output = ObserveOutput::kCompact;
    TimeLayout time = TimeLayout::kStampMilli;
    bool colour = false;
    bool translate_ips = true;
    bool node_name = false;
    bool policy_names = false;
    bool debug = false;          // also what is only of interest then: nodes that connect or go
    bool silent_errors = false;  // nothing to standard error
    bool explain = false;        // behind each drop: why, and what would allow it
};

class FlowPrinter {
public:
    // Out and err: what is to be written to standard output and standard error.
    struct Text {
        std::string out, err;
    };
    explicit FlowPrinter(PrinterOptions options) : options_(options) {}

    Text print(const observer::GetFlowsResponse& response);
    Text print(const observer::GetAgentEventsResponse& response);
    Text print(const observer::GetDebugEventsResponse& response);
    std::string print(const observer::ServerStatusResponse& status);
    // A table is laid out when all of it is known.
    std::string finish();

private:
    [[nodiscard]] std::string paint(const char* colour, const std::string& text) const;
    [[nodiscard]] std::string time(const google::protobuf::Timestamp& time, bool present) const;
    [[nodiscard]] std::string verdict(const flow::Flow& flow) const;
    [[nodiscard]] std::string identity(std::uint32_t number) const;
    [[nodiscard]] std::string host(const flow::Flow& flow, bool source) const;
    [[nodiscard]] std::string summary(const flow::Flow& flow) const;
    std::string explanation(const flow::Flow& flow);
    std::string flow_text(const observer::GetFlowsResponse& response);
    std::string lost_text(const observer::GetFlowsResponse& response);
    std::string node_text(const observer::GetFlowsResponse& response);
    // Key: value lines, keys right-aligned, one block after another.
    std::string dict(const std::vector<std::pair<std::string, std::string>>& fields, std::size_t width);
    void table(const std::vector<std::string>& head, const std::vector<std::string>& cells);

    PrinterOptions options_;
    std::uint64_t lines_ = 0;
    TabWriter table_;
    std::set<std::string> explained_;
};

// Escape sequences and carriage returns of others become visible; our own colours are put on after this.
std::string safe(const std::string& text);
// "compact", "json" …; an error names what is none.
Result<ObserveOutput> parse_observe_output(const std::string& name);
// "1,234,567"
std::string grouped(std::uint64_t number);

}  // namespace axo::cli
