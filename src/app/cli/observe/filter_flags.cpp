#include "app/cli/observe/filter_flags.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

#include "hubble/text/proto_json.h"

namespace axo::cli {
namespace {

using Texts = google::protobuf::RepeatedPtrField<std::string>;

bool contains(const std::vector<std::string>& list, std::string_view text) {
    return std::ranges::find(list, text) != list.end();
}

Status check_conflicts(const std::vector<std::string>& used) {
    // Flags of one group exclude one another: they write the same fields.
    static const std::vector<std::vector<std::string>> kConflicts = {
        {"from-fqdn", "from-ip", "ip", "fqdn", "from-namespace", "namespace", "from-all-namespaces", "all-namespaces"},
        {"from-fqdn", "from-ip", "ip", "fqdn", "from-pod", "pod"},
        {"to-fqdn", "to-ip", "ip", "fqdn", "to-namespace", "namespace", "to-all-namespaces", "all-namespaces"},
        {"to-fqdn", "to-ip", "ip", "fqdn", "to-pod", "pod"},
        {"to-pod", "namespace", "all-namespaces"},
        {"from-pod", "namespace", "all-namespaces"},
        {"to-service", "namespace", "all-namespaces"},
        {"from-service", "namespace", "all-namespaces"},
        {"label", "from-label"},
        {"label", "to-label"},
        {"service", "from-service"},
        {"service", "to-service"},
        {"port", "to-port"},
        {"port", "from-port"},
        {"identity", "to-identity"},
        {"identity", "from-identity"},
        {"workload", "to-workload"},
        {"workload", "from-workload"},
        {"encrypted", "unencrypted"},
    };
    for (const auto& group : kConflicts)
        for (const std::string& flag : group)
            for (const std::string& other : group)
                if (flag != other && contains(used, flag) && contains(used, other))
                    return fail(Code::kInvalidArgument,
                                "filters --" + flag + " and --" + other + " cannot be combined");
    return {};
}

std::string namespace_of(const std::string& name) {
    const std::size_t slash = name.find('/');
    return slash == std::string::npos ? "" : name.substr(0, slash);
}

Status check_namespace(const std::vector<std::string>& namespaces, const Texts& names) {
    for (const std::string& ns : namespaces)
        for (const std::string& name : names)
            if (const std::string of = namespace_of(name); !of.empty() && of != ns)
                return fail(Code::kInvalidArgument,
                            "namespace conflict: \"" + ns + "\" does not contain \"" + name + "\"");
    return {};
}

Status check_services(const Texts& pods, const Texts& services) {
    for (const std::string& pod : pods) {
        const std::string ns = namespace_of(pod);
        if (ns.empty()) continue;
        for (const std::string& service : services)
            if (namespace_of(service) != ns)
                return fail(Code::kInvalidArgument,
                            "namespace of service \"" + service + "\" conflict with pod \"" + ns + "\"");
    }
    return {};
}

// "name" becomes "ns/name" for each of the namespaces.
void prefix_names(Texts& names, const std::vector<std::string>& namespaces) {
    if (names.empty()) return;
    Texts prefixed;
    for (const std::string& name : names) {
        if (name.find('/') != std::string::npos)
            *prefixed.Add() = name;
        else
            for (const std::string& ns : namespaces) *prefixed.Add() = ns + "/" + name;
    }
    names.Swap(&prefixed);
}

void limit_source(flow::FlowFilter& filter, const std::vector<std::string>& namespaces) {
    if (filter.source_pod().empty() && filter.source_service().empty()) filter.add_source_pod("");
    prefix_names(*filter.mutable_source_pod(), namespaces);
    prefix_names(*filter.mutable_source_service(), namespaces);
}

void limit_destination(flow::FlowFilter& filter, const std::vector<std::string>& namespaces) {
    if (filter.destination_pod().empty() && filter.destination_service().empty()) filter.add_destination_pod("");
    prefix_names(*filter.mutable_destination_pod(), namespaces);
    prefix_names(*filter.mutable_destination_service(), namespaces);
}

}  // namespace

std::vector<flow::FlowFilter> FilterFlags::Side::filters() const {
    if (!touched) return {};
    flow::FlowFilter a = left, b = right;
    if (!destination_ns.empty()) {
        limit_destination(a, destination_ns);
        limit_destination(b, destination_ns);
    }
    if (!source_ns.empty()) {
        limit_source(a, source_ns);
        limit_source(b, source_ns);
    }
    if (!either_ns.empty()) {
        limit_source(a, either_ns);
        limit_destination(b, either_ns);
    }
    if (google::protobuf::util::MessageDifferencer::Equals(a, b)) return {a};
    return {a, b};
}

FilterFlags::FilterFlags() {
    set_.add({.name = "not",
              .shorthand = 0,
              .type = "filter",
              .if_bare = "true",
              .help = "Reverses the next filter: flows that match it are left out, e.g. --not --from-ip 2.2.2.2",
              .preset = "",
              .set = [this](const std::string&) -> Status {
                  if (negate_) return fail(Code::kInvalidArgument, "consecutive --not statements");
                  negate_ = true;
                  return {};
              }});
    add_flow_flags();
    add_l7_flags();
    add_namespaces();
}

Status FilterFlags::check() const {
    if (negate_) return fail(Code::kInvalidArgument, "trailing --not found in the arguments");
    return {};
}

Status FilterFlags::apply(const std::string& name, const std::string& value, const Change& change) {
    Side& side = negate_ ? deny_ : allow_;
    negate_ = false;
    side.touched = true;
    if (!contains(side.used, name)) side.used.push_back(name);
    TRY(check_conflicts(side.used));
    TRY(change(side, value));
    for (const flow::FlowFilter* filter : {&side.left, &side.right}) {
        for (const auto& [namespaces, names] : {std::pair{&side.either_ns, &filter->source_pod()},
                                                {&side.either_ns, &filter->source_service()},
                                                {&side.either_ns, &filter->destination_pod()},
                                                {&side.either_ns, &filter->destination_service()},
                                                {&side.source_ns, &filter->source_pod()},
                                                {&side.source_ns, &filter->source_service()},
                                                {&side.destination_ns, &filter->destination_pod()},
                                                {&side.destination_ns, &filter->destination_service()}})
            TRY(check_namespace(*namespaces, *names));
        TRY(check_services(filter->source_pod(), filter->source_service()));
        TRY(check_services(filter->destination_pod(), filter->destination_service()));
    }
    return {};
}

void FilterFlags::add(std::string name, char shorthand, std::string help, Change change, std::string if_bare) {
    set_.add({.name = name,
              .shorthand = shorthand,
              .type = "filter",
              .if_bare = std::move(if_bare),
              .help = std::move(help),
              .preset = "",
              .set = [this, name, change = std::move(change)](const std::string& value) {
                  return apply(name, value, change);
              }});
}

void FilterFlags::add_both(std::string name, std::string help,
                           std::function<Status(flow::FlowFilter&, const std::string&)> change, char shorthand,
                           std::string if_bare) {
    add(
        std::move(name), shorthand, std::move(help),
        [change = std::move(change)](Side& side, const std::string& value) -> Status {
            TRY(change(side.left, value));
            return change(side.right, value);
        },
        std::move(if_bare));
}

void FilterFlags::add_ends(const std::string& name, const std::string& what, EndChange change, char shorthand) {
    const auto both = [change](bool source) {
        return [change, source](Side& side, const std::string& value) -> Status {
            TRY(change(side.left, source, value));
            return change(side.right, source, value);
        };
    };
    add("from-" + name, 0, "Show flows that come from " + what, both(true));
    add(name, shorthand, "Show flows that come from or go to " + what,
        [change](Side& side, const std::string& value) -> Status {
            TRY(change(side.left, true, value));
            return change(side.right, false, value);
        });
    add("to-" + name, 0, "Show flows that go to " + what, both(false));
}

void FilterFlags::add_namespaces() {
    const auto into = [](std::vector<std::string> Side::* list, bool all) {
        return [list, all](Side& side, const std::string& value) -> Status {
            (side.*list).push_back(all ? "" : value);
            return {};
        };
    };
    add("from-namespace", 0, "Show flows that come from the namespace", into(&Side::source_ns, false));
    add("namespace", 'n', "Show flows that come from or go to the namespace", into(&Side::either_ns, false));
    add("to-namespace", 0, "Show flows that go to the namespace", into(&Side::destination_ns, false));
    add("from-all-namespaces", 0, "Show flows that come from any namespace", into(&Side::source_ns, true), "true");
    add("all-namespaces", 'A', "Show flows of any namespace", into(&Side::either_ns, true), "true");
    add("to-all-namespaces", 0, "Show flows that go to any namespace", into(&Side::destination_ns, true), "true");
}

Result<std::vector<flow::FlowFilter>> parse_raw_filters(const std::string& flag,
                                                        const std::vector<std::string>& texts) {
    std::vector<flow::FlowFilter> filters;
    for (const std::string& text : texts) {
        const auto wrong = [&](const Error& error) {
            return fail(Code::kInvalidArgument,
                        "invalid --" + flag + " flag: failed to decode '" + text + "': " + error.message);
        };
        const auto objects = split_json_objects(text);
        if (!objects) return wrong(objects.error());
        for (const std::string& object : *objects)
            if (const Status read = parse_proto_json(object, UnknownFields::kRefuse, filters.emplace_back()); !read)
                return wrong(read.error());
    }
    return filters;
}

std::string raw_filters_yaml(const std::vector<flow::FlowFilter>& allow, const std::vector<flow::FlowFilter>& deny) {
    std::string out;
    const auto list = [&](const char* name, const std::vector<flow::FlowFilter>& filters) {
        if (!filters.empty()) out += std::string(name) + ":\n";
        for (const flow::FlowFilter& filter : filters) {
            out += "    - '";
            for (const char c : proto_json(filter)) out += c == '\'' ? std::string("''") : std::string(1, c);
            out += "'\n";
        }
    };
    list("allowlist", allow);
    list("denylist", deny);
    return out.empty() ? "{}\n" : out;
}

}  // namespace axo::cli
