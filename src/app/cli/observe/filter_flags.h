// The filter flags of `observe` and the FlowFilters that they stand for.
//
// A flag that comes again adds a value (or), different flags have to hold together (and); --not sends the next flag
// into the deny list. A flag about "either end" needs two filters, one per end. Thread: main's.
#pragma once

#include <flow/filter.pb.h>

#include <functional>
#include <string>
#include <vector>

#include "app/cli/observe/flags.h"
#include "base/result.h"

namespace axo::cli {

class FilterFlags {
public:
    FilterFlags();
    FilterFlags(const FilterFlags&) = delete;
    FilterFlags& operator=(const FilterFlags&) = delete;

    [[nodiscard]] const FlagSet& set() const { return set_; }
    // After parsing. An error for a --not that nothing follows.
    [[nodiscard]] Status check() const;
    [[nodiscard]] std::vector<flow::FlowFilter> allow() const { return allow_.filters(); }
    [[nodiscard]] std::vector<flow::FlowFilter> deny() const { return deny_.filters(); }

private:
    struct Side {
        bool touched = false;
        flow::FlowFilter left, right;  // either may match
        std::vector<std::string> either_ns, source_ns, destination_ns;
        std::vector<std::string> used;

        [[nodiscard]] std::vector<flow::FlowFilter> filters() const;
    };
    using Change = std::function<Status(Side&, const std::string&)>;

    void add(std::string name, char shorthand, std::string help, Change change, std::string if_bare = "");
    // The same change for both filters.
    void add_both(std::string name, std::string help,
                  std::function<Status(flow::FlowFilter&, const std::string&)> change, char shorthand = 0,
                  std::string if_bare = "");
    using EndChange = std::function<Status(flow::FlowFilter&, bool source, const std::string&)>;
    // --from-NAME, --NAME and --to-NAME.
    void add_ends(const std::string& name, const std::string& what, EndChange change, char shorthand = 0);
    void add_namespaces();
    void add_flow_flags();
    void add_l7_flags();
    Status apply(const std::string& name, const std::string& value, const Change& change);

    FlagSet set_{"Filters"};
    Side allow_, deny_;
    bool negate_ = false;
};

// "{json}" FlowFilters as --allowlist and --denylist take them; several may follow one another.
Result<std::vector<flow::FlowFilter>> parse_raw_filters(const std::string& flag, const std::vector<std::string>& texts);
// What --print-raw-filters prints: YAML that --config reads.
std::string raw_filters_yaml(const std::vector<flow::FlowFilter>& allow, const std::vector<flow::FlowFilter>& deny);

}  // namespace axo::cli
