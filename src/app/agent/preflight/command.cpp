#include <algorithm>
#include <cstdio>
#include <iostream>
#include <sstream>

#include "app/agent/config_internal.h"
#include "app/agent/node_record.h"
#include "app/agent/preflight/findings.h"
#include "kernel/procfs.h"

namespace axo::preflight {

namespace {

constexpr const char* kUsage =
    "axoneme preflight: what will not work on this node, and the way out; nothing is changed\n\n"
    "  -o json            for programs\n"
    "  -o lines           errors and warnings only, one line each: for a container's last words\n"
    "  --first-time-only  look at nothing where an agent has been already: for an init container, so that an agent\n"
    "                     that starts again does not depend on it\n"
    "  --no-store         without asking the object store\n"
    "  --timeout=5s       how long to wait for the object store\n"
    "  --config-dir and the agent's other flags: as the agent will be started\n\n"
    "Exit status 1 when there are errors; warnings and information leave it 0.\n";

constexpr std::pair<Severity, const char*> kSeverities[] = {
    {Severity::kError, "error"}, {Severity::kWarning, "warning"}, {Severity::kInfo, "info"}};

// Lines of at most 110 columns, those after the first indented.
std::string wrapped(const std::string& text, std::size_t indent) {
    constexpr std::size_t kWidth = 110;
    std::string out;
    std::size_t column = indent;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        if (column + word.size() + 1 > kWidth && column > indent) {
            out += "\n" + std::string(indent, ' ');
            column = indent;
        } else if (column > indent) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
    }
    return out;
}

std::string plural(std::size_t count, const std::string& what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

void print_text(const Config& config, const NodeView& view, const Findings& findings) {
    std::cout << "Node " << config.node_name << ", kernel " << (view.features ? view.features->release : "unknown")
              << "\n\n";
    constexpr std::size_t kIndent = 10;
    for (const auto& [severity, name] : kSeverities) {
        for (const Finding& finding : findings.all()) {
            if (finding.severity != severity) continue;
            std::string label = name;
            label.resize(kIndent, ' ');
            std::cout << label << wrapped("[" + finding.check + "] " + finding.what, kIndent) << "\n";
            if (!finding.way_out.empty())
                std::cout << std::string(kIndent, ' ') << wrapped("→ " + finding.way_out, kIndent + 2) << "\n";
        }
    }
    std::string passed;
    for (const std::string& check : findings.passed()) passed += (passed.empty() ? "" : ", ") + check;
    if (!passed.empty()) std::cout << "ok        " << wrapped(passed, kIndent) << "\n";
    std::cout << "\n"
              << plural(findings.count(Severity::kError), "error") << ", "
              << plural(findings.count(Severity::kWarning), "warning") << "\n";
}

void print_lines(const Findings& findings) {
    for (const Finding& finding : findings.all()) {
        if (finding.severity == Severity::kInfo) continue;
        std::cout << (finding.severity == Severity::kError ? "error" : "warning") << ": [" << finding.check << "] "
                  << finding.what << " → " << finding.way_out << "\n";
    }
}

void print_json(const Config& config, const NodeView& view, const Findings& findings) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Finding& finding : findings.all()) {
        const auto* name = std::ranges::find(kSeverities, finding.severity, &std::pair<Severity, const char*>::first);
        list.push_back({{"severity", name->second},
                        {"check", finding.check},
                        {"message", finding.what},
                        {"way-out", finding.way_out}});
    }
    const nlohmann::ordered_json report{{"node", config.node_name},
                                        {"kernel", view.features ? view.features->release : ""},
                                        {"findings", std::move(list)},
                                        {"passed", findings.passed()},
                                        {"errors", findings.count(Severity::kError)},
                                        {"warnings", findings.count(Severity::kWarning)}};
    std::cout << report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

int refuse(const std::string& message) {
    std::fprintf(stderr, "Error: %s\n", message.c_str());
    return 2;
}

}  // namespace

int preflight_command(const std::vector<std::string>& arguments) {
    enum class Form { kText, kLines, kJson };
    Form form = Form::kText;
    bool ask_store = true, first_time_only = false;
    std::chrono::milliseconds patience = std::chrono::seconds(5);
    std::vector<std::string> rest;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument == "-h" || argument == "--help") {
            std::fputs(kUsage, stdout);
            return 0;
        }
        if (argument == "-o" || argument.starts_with("-o=") || argument.starts_with("--output")) {
            const auto equals = argument.find('=');
            const std::string name = equals != std::string::npos ? argument.substr(equals + 1)
                                     : i + 1 < arguments.size()  ? arguments[++i]
                                                                 : "";
            if (name != "json" && name != "lines") return refuse("output \"" + name + "\": accepted: json, lines");
            form = name == "json" ? Form::kJson : Form::kLines;
        } else if (argument == "--first-time-only") {
            first_time_only = true;
        } else if (argument == "--no-store") {
            ask_store = false;
        } else if (argument.starts_with("--timeout=")) {
            const auto duration = axo::parse_duration(argument.substr(10));
            if (!duration) return refuse(argument + ": accepted: " + duration.error().message);
            patience = std::chrono::duration_cast<std::chrono::milliseconds>(*duration);
        } else {
            rest.push_back(argument);
        }
    }
    const auto parsed = parse_config(rest, process_environment());
    if (!parsed) return refuse(parsed.error().message);
    const Config& config = parsed->config;
    if (const auto procfs = config.given.find("procfs"); procfs != config.given.end()) set_procfs(procfs->second);
    std::error_code error;
    if (first_time_only && std::filesystem::exists(node_record_path(config.state_dir), error)) return 0;
    set_log_level(LogLevel::kError);
    const NodeView view = read_node_view(config, ask_store ? std::optional(patience) : std::nullopt);
    Findings findings = check_node(config, view);
    for (const std::string& warning : parsed->warnings) findings.info("configuration", warning);
    switch (form) {
        case Form::kText: print_text(config, view, findings); break;
        case Form::kLines: print_lines(findings); break;
        case Form::kJson: print_json(config, view, findings);
    }
    return findings.count(Severity::kError) == 0 ? 0 : 1;
}

}  // namespace axo::preflight
