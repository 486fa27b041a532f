#include "hubble/server/filter.h"

#include <re2/re2.h>

#include <charconv>
#include <cctype>

#include "base/glob.h"
#include "hubble/core/label_query.h"

namespace axo::hubble {

namespace {

using Test = FlowFilterSet::Test;
using Texts = ::google::protobuf::RepeatedPtrField<std::string>;

const Test kNever = [](const FlowRecord&) { return false; };

bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

std::string canonical_name(std::string text) {
    while (!text.empty() && text.front() == ' ') text.erase(0, 1);
    while (!text.empty() && text.back() == ' ') text.pop_back();
    if (text.ends_with('.')) text.pop_back();
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

bool is_pattern(std::string_view text) {
    return !text.empty() && !text.ends_with('.') &&
           std::ranges::all_of(text, [](char c) { return in_name(c) || c == '*'; });
}

// Compiles one FlowFilter, field by field.
class Compiler {
public:
    Compiler(std::string where, const FlowContext& context) : where_(std::move(where)), context_(context) {}

    Result<std::vector<Test>> compile(const ::flow::FlowFilter& filter) {
        ends(filter);
        numbers(filter);
        nodes(filter);
        layer7(filter);
        if (filter.experimental().cel_expression_size() != 0)
            wrong("experimental.cel_expression", filter.experimental().cel_expression(0), "CEL is not available");
        if (error_) return forward_error(*error_);
        return std::move(tests_);
    }

private:
    using End = EndpointRef FlowRecord::*;

    void wrong(const std::string& field, const std::string& value, const std::string& why) {
        if (!error_) error_ = Error{Code::kInvalidArgument, where_ + "." + field + ": \"" + value + "\": " + why, 0};
    }
    void add(Test test) { tests_.push_back(std::move(test)); }

    void ends(const ::flow::FlowFilter& f) {
        addresses("source_ip", f.source_ip(), &FlowRecord::source_ip);
        addresses("destination_ip", f.destination_ip(), &FlowRecord::destination_ip);
        for (const std::string& text : f.source_ip_xlated()) (void)prefix("source_ip_xlated", text);
        // Which address a packet had before, the datapath does not tell.
        if (f.source_ip_xlated_size() != 0) add(kNever);
        pods("source_pod", f.source_pod(), &FlowRecord::source);
        pods("destination_pod", f.destination_pod(), &FlowRecord::destination);
        services("source_service", f.source_service(), &FlowRecord::source_service);
        services("destination_service", f.destination_service(), &FlowRecord::destination_service);
        names("source_fqdn", f.source_fqdn(), &FlowRecord::source_names);
        names("destination_fqdn", f.destination_fqdn(), &FlowRecord::destination_names);
        labels("source_label", f.source_label(), &FlowRecord::source);
        labels("destination_label", f.destination_label(), &FlowRecord::destination);
        workloads(f.source_workload(), &FlowRecord::source);
        workloads(f.destination_workload(), &FlowRecord::destination);
        clusters("source_cluster_name", f.source_cluster_name(), &FlowRecord::source);
        clusters("destination_cluster_name", f.destination_cluster_name(), &FlowRecord::destination);
        identities(f.source_identity(), &FlowRecord::source);
        identities(f.destination_identity(), &FlowRecord::destination);
        ports("source_port", f.source_port(), &FlowRecord::source_port);
        ports("destination_port", f.destination_port(), &FlowRecord::destination_port);
    }

    // One of the values equals what `get` says.
    template <class Values, class Get>
    void one_of(const Values& values, Get get) {
        if (values.empty()) return;
        std::vector<std::int64_t> wanted(values.begin(), values.end());
        add([wanted = std::move(wanted), get](const FlowRecord& record) {
            return std::ranges::find(wanted, static_cast<std::int64_t>(get(record))) != wanted.end();
        });
    }

    void numbers(const ::flow::FlowFilter& f) {
        one_of(f.verdict(), [](const FlowRecord& r) { return r.verdict; });
        one_of(f.traffic_direction(), [](const FlowRecord& r) { return r.direction; });
        one_of(f.drop_reason_desc(), [](const FlowRecord& r) { return r.drop_reason(); });
        one_of(f.ip_version(), [](const FlowRecord& r) { return !r.has_ip() ? 0 : r.is_v6() ? 2 : 1; });
        if (f.reply_size() != 0) {
            const bool yes = std::ranges::find(f.reply(), true) != f.reply().end();
            const bool no = std::ranges::find(f.reply(), false) != f.reply().end();
            add([=](const FlowRecord& r) { return r.reply == Reply::kYes ? yes : r.reply == Reply::kNo && no; });
        }
        // Nothing is encrypted here.
        if (f.encrypted_size() != 0 && std::ranges::find(f.encrypted(), false) == f.encrypted().end()) add(kNever);
        if (f.ip_trace_id_size() != 0) add(kNever);
        event_types(f);
        tcp_flags(f);
        protocols(f.protocol());
        interfaces(f);
        if (f.uuid_size() != 0) {
            add([wanted = std::vector<std::string>(f.uuid().begin(), f.uuid().end())](const FlowRecord& r) {
                return std::ranges::find(wanted, flow_uuid(r.sequence)) != wanted.end();
            });
        }
    }

    void event_types(const ::flow::FlowFilter& f) {
        if (f.event_type_size() == 0) return;
        add([types = std::vector(f.event_type().begin(), f.event_type().end())](const FlowRecord& r) {
            return std::ranges::any_of(types, [&](const ::flow::EventTypeFilter& type) {
                return (type.type() == 0 || type.type() == r.event.type) &&
                       (!type.match_sub_type() || type.sub_type() == r.event.subtype);
            });
        });
    }

    void tcp_flags(const ::flow::FlowFilter& f) {
        if (f.tcp_flags_size() == 0) return;
        std::vector<unsigned> wanted;
        for (const ::flow::TCPFlags& flags : f.tcp_flags()) {
            // NS is of no packet that is told of: nothing has it.
            wanted.push_back((flags.fin() ? 0x01U : 0) | (flags.syn() ? 0x02U : 0) | (flags.rst() ? 0x04U : 0) |
                             (flags.psh() ? 0x08U : 0) | (flags.ack() ? 0x10U : 0) | (flags.urg() ? 0x20U : 0) |
                             (flags.ece() ? 0x40U : 0) | (flags.cwr() ? 0x80U : 0) | (flags.ns() ? 0x100U : 0));
        }
        add([wanted = std::move(wanted)](const FlowRecord& r) {
            return r.has_l4() && r.event.proto == 6 && std::ranges::any_of(wanted, [&](unsigned flags) {
                       return (flags & ~static_cast<unsigned>(r.event.tcp_flags)) == 0;
                   });
        });
    }

    void protocols(const Texts& texts) {
        if (texts.empty()) return;
        static const std::map<std::string, std::vector<std::uint8_t>> kNumbers = {
            {"icmp", {1, 58}}, {"icmpv4", {1}}, {"icmpv6", {58}}, {"tcp", {6}}, {"udp", {17}}, {"sctp", {132}},
            {"vrrp", {112}},   {"igmp", {2}},   {"dns", {}},      {"http", {}}, {"kafka", {}}};
        std::vector<std::uint8_t> wanted;
        for (const std::string& text : texts) {
            const auto known = kNumbers.find(canonical_name(text));
            if (known == kNumbers.end()) return wrong("protocol", text, "no protocol that flows have");
            wanted.insert(wanted.end(), known->second.begin(), known->second.end());
        }
        const bool dns = std::ranges::any_of(texts, [](const auto& text) { return canonical_name(text) == "dns"; });
        add([wanted = std::move(wanted), dns](const FlowRecord& r) {
            return (dns && r.dns) || (r.has_l4() && std::ranges::find(wanted, r.event.proto) != wanted.end());
        });
    }

    void interfaces(const ::flow::FlowFilter& f) {
        if (f.interface_size() == 0) return;
        add([wanted = std::vector(f.interface().begin(), f.interface().end())](const FlowRecord& r) {
            return r.event.ifindex != 0 && std::ranges::any_of(wanted, [&](const ::flow::NetworkInterface& one) {
                       return (one.index() == 0 || one.index() == r.event.ifindex) &&
                              (one.name().empty() || (r.interface && one.name() == *r.interface));
                   });
        });
    }

    Prefix prefix(const std::string& field, const std::string& text) {
        // A bare address is its host's prefix.
        const auto parsed = Prefix::parse(text);
        if (!parsed) {
            wrong(field, text, "no IP address and no CIDR");
            return {};
        }
        return *parsed;
    }

    void addresses(const std::string& field, const Texts& texts, IpAddress (FlowRecord::*get)() const) {
        if (texts.empty()) return;
        std::vector<Prefix> wanted;
        for (const std::string& text : texts) wanted.push_back(prefix(field, text));
        add([wanted = std::move(wanted), get](const FlowRecord& r) {
            const IpAddress address = (r.*get)();
            return address && std::ranges::any_of(wanted, [&](const Prefix& p) { return p.contains(address); });
        });
    }

    struct NamePrefix {
        std::string name_space, name;
        bool any_namespace = false;
        [[nodiscard]] bool fits(const std::string& its_namespace, const std::string& its_name) const {
            return (any_namespace || its_namespace == name_space) && its_name.starts_with(name);
        }
    };
    // "ns/prefix", "ns/", "/prefix" of every namespace, "prefix" of namespace default.
    std::vector<NamePrefix> name_prefixes(const std::string& field, const Texts& texts) {
        std::vector<NamePrefix> all;
        for (const std::string& text : texts) {
            const std::size_t slash = text.find('/');
            NamePrefix one{"default", text};
            if (slash != std::string::npos) one = {text.substr(0, slash), text.substr(slash + 1)};
            one.any_namespace = one.name_space.empty();
            if (one.name.empty() && (one.any_namespace || slash == std::string::npos))
                wrong(field, text, "must be [namespace/]name-prefix or namespace/");
            all.push_back(std::move(one));
        }
        return all;
    }

    void pods(const std::string& field, const Texts& texts, End end) {
        if (texts.empty()) return;
        add([wanted = name_prefixes(field, texts), end](const FlowRecord& r) {
            const EndpointRef& info = r.*end;
            return info && !(info->name_space.empty() && info->pod.empty()) &&
                   std::ranges::any_of(wanted,
                                       [&](const NamePrefix& p) { return p.fits(info->name_space, info->pod); });
        });
    }

    void services(const std::string& field, const Texts& texts, ServiceRef FlowRecord::* service) {
        if (texts.empty()) return;
        add([wanted = name_prefixes(field, texts), service](const FlowRecord& r) {
            const ServiceRef& name = r.*service;
            return name && std::ranges::any_of(
                               wanted, [&](const NamePrefix& p) { return p.fits(name->name_space, name->name); });
        });
    }

    void names(const std::string& field, const Texts& texts, NamesRef FlowRecord::* names) {
        if (texts.empty()) return;
        std::vector<std::string> wanted;
        for (const std::string& text : texts) {
            wanted.push_back(canonical_name(text));
            if (!is_pattern(wanted.back()))
                wrong(field, text, "only letters, digits, '-', '_', '.' and '*' make up a DNS name's pattern");
        }
        add([wanted = std::move(wanted), names](const FlowRecord& r) {
            return r.*names && std::ranges::any_of(*(r.*names), [&](const std::string& name) {
                       return std::ranges::any_of(
                           wanted, [&](const std::string& pattern) { return matches_glob(pattern, name, in_name); });
                   });
        });
    }

    std::vector<LabelQuery> queries(const std::string& field, const Texts& texts) {
        std::vector<LabelQuery> all;
        for (const std::string& text : texts) {
            auto query = LabelQuery::parse(text);
            if (!query) {
                wrong(field, text, query.error().message);
                continue;
            }
            all.push_back(std::move(*query));
        }
        return all;
    }

    void labels(const std::string& field, const Texts& texts, End end) {
        if (texts.empty()) return;
        // Flows share their labels: each list is looked at once.
        auto known = std::make_shared<std::unordered_map<const LabelList*, std::pair<LabelsRef, bool>>>();
        add([wanted = queries(field, texts), known, end](const FlowRecord& r) {
            if (!(r.*end)) return false;
            const LabelsRef& list = (r.*end)->labels;
            if (const auto found = known->find(list.get()); found != known->end()) return found->second.second;
            const bool fits = std::ranges::any_of(wanted, [&](const LabelQuery& q) { return q.matches(list->labels); });
            if (known->size() >= 65536) known->clear();
            known->emplace(list.get(), std::pair(list, fits));
            return fits;
        });
    }

    template <class Workloads>
    void workloads(const Workloads& given, End end) {
        if (given.empty()) return;
        std::vector<Workload> wanted;
        for (const auto& workload : given) wanted.push_back({workload.name(), workload.kind()});
        add([wanted = std::move(wanted), end](const FlowRecord& r) {
            return (r.*end) && std::ranges::any_of((r.*end)->workloads, [&](const Workload& is) {
                       return std::ranges::any_of(wanted, [&](const Workload& one) {
                           return (one.name.empty() || one.name == is.name) &&
                                  (one.kind.empty() || one.kind == is.kind);
                       });
                   });
        });
    }

    void clusters(const std::string& field, const Texts& texts, End end) {
        if (texts.empty()) return;
        if (std::ranges::find(texts, "") != texts.end()) wrong(field, "", "a cluster's name must not be empty");
        add([wanted = std::vector<std::string>(texts.begin(), texts.end()), end](const FlowRecord& r) {
            return (r.*end) && std::ranges::find(wanted, (r.*end)->cluster) != wanted.end();
        });
    }

    template <class Numbers>
    void identities(const Numbers& numbers, End end) {
        one_of(numbers, [end](const FlowRecord& r) { return (r.*end) ? std::int64_t{(r.*end)->identity} : -1; });
    }

    void ports(const std::string& field, const Texts& texts, std::uint16_t (FlowRecord::*get)() const) {
        if (texts.empty()) return;
        std::vector<std::uint16_t> wanted;
        for (const std::string& text : texts) {
            std::uint16_t port = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
            if (error != std::errc{} || end != text.data() + text.size()) wrong(field, text, "no port, 0 to 65535");
            wanted.push_back(port);
        }
        add([wanted = std::move(wanted), get](const FlowRecord& r) {
            return r.has_ports() && std::ranges::find(wanted, (r.*get)()) != wanted.end();
        });
    }

    // Whether the names and labels of this node fit is known now.
    void nodes(const ::flow::FlowFilter& f) {
        bool fits = f.node_name_size() == 0;
        for (const std::string& text : f.node_name()) fits = node_fits(text) || fits;
        if (!fits) add(kNever);
        if (f.node_labels_size() == 0) return;
        const LabelsRef own = make_labels(context_.node_labels);
        const auto wanted = queries("node_labels", f.node_labels());
        if (!std::ranges::any_of(wanted, [&](const LabelQuery& query) { return query.matches(own->labels); }))
            add(kNever);
    }

    // "node", "cluster/node"; '*' within each; an empty part means every one.
    bool node_fits(const std::string& text) {
        const std::size_t slash = text.find('/');
        const std::size_t own = context_.node_name.find('/');
        std::string cluster = slash == std::string::npos ? "" : text.substr(0, slash);
        std::string node = slash == std::string::npos ? text : text.substr(slash + 1);
        if (text.empty() || node.find('/') != std::string::npos) {
            wrong("node_name", text, "must be [cluster/]node, with '*' for any part of a name");
            return false;
        }
        const auto part_fits = [&](std::string& pattern, const std::string& name) {
            if (pattern.empty()) return true;
            pattern = canonical_name(pattern);
            if (is_pattern(pattern)) return matches_glob(pattern, name, in_name);
            wrong("node_name", text, "only letters, digits, '-', '_', '.' and '*' make up a name's pattern");
            return false;
        };
        const bool cluster_fits = part_fits(cluster, context_.node_name.substr(0, own));
        return part_fits(node, context_.node_name.substr(own + 1)) && cluster_fits;
    }

    std::vector<std::shared_ptr<const RE2>> regexes(const std::string& field, const Texts& texts) {
        std::vector<std::shared_ptr<const RE2>> all;
        for (const std::string& text : texts) {
            auto regex = std::make_shared<const RE2>(text, RE2::Quiet);
            if (!regex->ok()) wrong(field, text, "no regular expression: " + regex->error());
            all.push_back(std::move(regex));
        }
        return all;
    }

    // Of layer 7 the datapath tells DNS; mistakes in what asks for the rest are mistakes all the same.
    void layer7(const ::flow::FlowFilter& f) {
        if (auto wanted = regexes("dns_query", f.dns_query()); !wanted.empty()) {
            add([wanted = std::move(wanted)](const FlowRecord& r) {
                return r.dns && std::ranges::any_of(
                                    wanted, [&](const auto& regex) { return RE2::PartialMatch(r.dns->query, *regex); });
            });
        }
        if (!regexes("http_path", f.http_path()).empty()) add(kNever);
        if (!regexes("http_url", f.http_url()).empty()) add(kNever);
        static const RE2 kStatus("[1-5][0-9]{2}|[1-5][0-9]?\\+");
        for (const std::string& text : f.http_status_code()) {
            if (!RE2::FullMatch(text, kStatus))
                wrong("http_status_code", text, "must be a status like 404, or the beginning of one like 4+");
        }
        for (const ::flow::HTTPHeader& header : f.http_header()) {
            if (header.key().empty()) wrong("http_header", header.value(), "a header's name must not be empty");
        }
        if (f.http_status_code_size() + f.http_method_size() + f.http_header_size() + f.trace_id_size() != 0)
            add(kNever);
    }

    std::string where_;
    const FlowContext& context_;
    std::vector<Test> tests_;
    std::optional<Error> error_;
};

bool fits_all(const std::vector<Test>& tests, const FlowRecord& record) {
    return std::ranges::all_of(tests, [&](const Test& test) { return test(record); });
}

Status compile_list(const FlowFilterSet::Filters& filters, const FlowContext& context, const std::string& name,
                    std::vector<std::vector<Test>>& out) {
    for (int i = 0; i < filters.size(); ++i) {
        TRY_ASSIGN(auto tests, Compiler(name + "[" + std::to_string(i) + "]", context).compile(filters.Get(i)));
        out.push_back(std::move(tests));
    }
    return {};
}

}  // namespace

Result<FlowFilterSet> FlowFilterSet::compile(const Filters& allow, const Filters& deny, const FlowContext& context,
                                             const std::string& allow_name, const std::string& deny_name) {
    FlowFilterSet set;
    TRY(compile_list(allow, context, allow_name, set.allow_));
    TRY(compile_list(deny, context, deny_name, set.deny_));
    return set;
}

bool FlowFilterSet::matches(const FlowRecord& record) const {
    if (record.is_lost()) return true;
    const auto fits = [&](const std::vector<Test>& tests) { return fits_all(tests, record); };
    return (allow_.empty() || std::ranges::any_of(allow_, fits)) && std::ranges::none_of(deny_, fits);
}

}  // namespace axo::hubble
