#include "app/cli/service_text.h"

#include <algorithm>

#include "app/cli/output/tab_writer.h"
#include "bpf/api/types.h"

namespace axo::cli {
namespace {

std::string address_text(const Json& address) {
    const std::string ip = text(address, "ip");
    const bool v6 = ip.find(':') != std::string::npos;
    std::string protocol = text(address, "protocol");
    std::ranges::transform(protocol, protocol.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return (v6 ? "[" + ip + "]" : ip) + ":" + std::to_string(number(address, "port")) +
           (protocol.empty() ? "" : "/" + protocol) + (text(address, "scope") == "internal" ? "/i" : "");
}

std::vector<std::string> backend_texts(const Json& spec, bool affinity) {
    std::vector<std::string> lines;
    const Json& backends = field(spec, "backend-addresses");
    if (!backends.is_array()) return lines;
    for (const Json& backend : backends) {
        lines.push_back(std::to_string(lines.size() + 1) + " => " + address_text(backend) + " (" +
                        text(backend, "state") + ")" + (affinity && flag(backend, "preferred") ? " (preferred)" : ""));
    }
    return lines;
}

const char* type_text(const lb_service& service) {
    if ((service.flags2 & LB_F2_LOCAL_REDIRECT) != 0) return "LocalRedirect";
    if ((service.flags & LB_F_EXTERNAL_IP) != 0) return "ExternalIPs";
    if ((service.flags & LB_F_NODE_PORT) != 0) return "NodePort";
    if ((service.flags & LB_F_HOST_PORT) != 0) return "HostPort";
    if ((service.flags & LB_F_LOAD_BALANCER) != 0) return "LoadBalancer";
    return "ClusterIP";
}

std::string slot(std::size_t number) {
    return "(" + std::to_string(number) + ")";
}

std::string hex(unsigned value) {
    char buffer[16];
    std::snprintf(buffer, sizeof(buffer), "0x%x", value);
    return buffer;
}

// Without protocol, as reverse translation has no need of it.
std::string endpoint(const IpAddress& ip, std::uint16_t port) {
    return (ip.is_v6() ? "[" + ip.to_string() + "]" : ip.to_string()) + ":" + std::to_string(port);
}

}  // namespace

std::string service_list_text(const Json& services, bool affinity) {
    TabWriter w(5, 3);
    w.closed_row({"ID", "Frontend", "Service Type", "Backend"});
    std::vector<const Json*> sorted;
    if (services.is_array()) {
        for (const Json& service : services) sorted.push_back(&service);
    }
    std::ranges::stable_sort(sorted, {}, [](const Json* service) { return number(*service, "spec.id"); });
    for (const Json* service : sorted) {
        const Json& spec = field(*service, "status.realized").is_object() ? field(*service, "status.realized")
                                                                          : field(*service, "spec");
        const std::vector<std::string> backends = backend_texts(spec, affinity);
        w.closed_row({std::to_string(number(spec, "id")), address_text(field(spec, "frontend-address")),
                      text(spec, "flags.type"), backends.empty() ? "" : backends.front()});
        for (std::size_t i = 1; i < backends.size(); ++i) w.closed_row({"", "", "", backends[i]});
    }
    return w.str();
}

std::string service_get_text(const Json& service) {
    const Json& spec = field(service, "status.realized");
    const std::string name = text(spec, "flags.namespace") + "/" + text(spec, "flags.name");
    std::string out = address_text(field(spec, "frontend-address")) + " => " + text(spec, "flags.type") + " " + name +
                      ", external traffic: " + text(spec, "flags.extTrafficPolicy") +
                      ", internal traffic: " + text(spec, "flags.intTrafficPolicy") + "\n";
    for (const std::string& backend : backend_texts(spec, true)) out += "\t\t" + backend + "\n";
    return out;
}

std::string lb_flags_text(const lb_service& service, const LbFrontend&) {
    std::vector<std::string> words{type_text(service)};
    const auto add = [&words](bool on, const char* word) {
        if (on) words.emplace_back(word);
    };
    add((service.flags & LB_F_EXT_LOCAL_SCOPE) != 0, "Local");
    add((service.flags2 & LB_F2_INT_LOCAL_SCOPE) != 0, "InternalLocal");
    add((service.flags2 & LB_F2_TWO_SCOPES) != 0, "two-scopes");
    add((service.flags & LB_F_AFFINITY) != 0, "sessionAffinity");
    add((service.flags & LB_F_ROUTABLE) == 0, "non-routable");
    add((service.flags & LB_F_SOURCE_RANGE) != 0, "check source-range");
    add((service.flags2 & LB_F2_SOURCE_RANGE_DENY) != 0, "deny");
    add((service.flags2 & LB_F2_NAT46X64) != 0, "46x64");
    add((service.flags2 & LB_F2_L7) != 0, "l7-load-balancer");
    add((service.flags2 & LB_F2_LOOPBACK_HOST_PORT) != 0, "loopback");
    add((service.flags2 & LB_F2_DSR) != 0, "dsr");
    return join(words, ", ");
}

Rows lb_list_rows(const LbListing& listing) {
    Rows rows;
    for (const LbListing::Frontend& frontend : listing.frontends) {
        const std::string key = frontend.key.to_string() + " ";
        const std::string number = "(" + std::to_string(frontend.service.rev_nat_index) + ") ";
        const std::string nobody = frontend.key.address.is_v6() ? "[::]:0 " : "0.0.0.0:0 ";
        rows.emplace_back(key + slot(0),
                          nobody + number + slot(0) + " [" + lb_flags_text(frontend.service, frontend.key) + "] ");
        for (std::size_t i = 0; i < frontend.backends.size(); ++i) {
            const auto backend = listing.backends.find(frontend.backends[i]);
            if (backend == listing.backends.end()) continue;
            rows.emplace_back(key + slot(i + 1), backend->second.address.to_string() + " " + number + slot(i + 1));
        }
    }
    return rows;
}

Rows lb_frontend_rows(const LbListing& listing) {
    Rows rows;
    for (const LbListing::Frontend& frontend : listing.frontends) {
        const lb_service& service = frontend.service;
        const std::string number = " (" + std::to_string(service.rev_nat_index) + ") ";
        rows.emplace_back(frontend.key.to_string() + " " + slot(0), "0 " + std::to_string(service.backends) + "[0]" +
                                                                        number + "[" + hex(service.flags) + " " +
                                                                        hex(service.flags2) + "]");
        for (std::size_t i = 0; i < frontend.backends.size(); ++i) {
            rows.emplace_back(frontend.key.to_string() + " " + slot(i + 1),
                              std::to_string(frontend.backends[i]) + " 0[0]" + number + "[0x0 0x0]");
        }
    }
    return rows;
}

Rows lb_backend_rows(const LbListing& listing) {
    Rows rows;
    for (const auto& [id, backend] : listing.backends) {
        rows.emplace_back(std::to_string(id), lb_protocol_name(backend.address.protocol) + "://" +
                                                  endpoint(backend.address.address, backend.address.port));
    }
    return rows;
}

Rows lb_rev_nat_rows(const LbListing& listing) {
    std::map<std::uint16_t, std::string> by_number;
    for (const LbListing::Frontend& frontend : listing.frontends) {
        if (!frontend.key.is_wildcard())
            by_number.emplace(frontend.service.rev_nat_index, endpoint(frontend.key.address, frontend.key.port));
    }
    Rows rows;
    for (const auto& [number, address] : by_number) rows.emplace_back(std::to_string(number), address);
    return rows;
}

Rows lb_source_range_rows(const std::vector<LbSourceRange>& ranges, const LbListing& listing) {
    std::map<std::uint16_t, const LbListing::Frontend*> by_number;
    for (const LbListing::Frontend& frontend : listing.frontends) {
        if (!frontend.key.is_wildcard()) by_number.emplace(frontend.service.rev_nat_index, &frontend);
    }
    std::vector<LbSourceRange> sorted = ranges;
    std::ranges::sort(sorted);
    Rows rows;
    for (const LbSourceRange& range : sorted) {
        const auto frontend = by_number.find(range.rev_nat_index);
        const std::string number = " (" + std::to_string(range.rev_nat_index) + ")";
        const bool deny =
            frontend != by_number.end() && (frontend->second->service.flags2 & LB_F2_SOURCE_RANGE_DENY) != 0;
        rows.emplace_back((frontend == by_number.end() ? "-" : frontend->second->key.to_string()) + number,
                          range.prefix.to_string() + (deny ? " [deny]" : ""));
    }
    return rows;
}

Rows lb_affinity_rows(const std::vector<LbAffinityRow>& affinity, const LbListing& listing, std::uint32_t now_tick) {
    std::map<std::uint32_t, std::string> pods;
    for (const auto& [id, backend] : listing.backends)
        pods.emplace(backend.pod_id, backend.address.address.to_string());
    std::map<std::uint32_t, std::uint32_t> timeouts;
    for (const LbListing::Frontend& frontend : listing.frontends)
        timeouts.emplace(frontend.service.affinity_group, frontend.service.affinity_timeout);
    Rows rows;
    for (const LbAffinityRow& row : affinity) {
        const std::string client =
            row.client ? row.client.to_string() : "netns cookie " + std::to_string(row.netns_cookie);
        const auto pod = pods.find(row.pod_id);
        const auto timeout = timeouts.find(row.group);
        const std::uint64_t age = (std::uint64_t{now_tick - row.last_used} << AXO_TICK_SHIFT) / 1'000'000'000;
        rows.emplace_back(client + " (" + std::to_string(row.group) + ")",
                          (pod == pods.end() ? "pod " + std::to_string(row.pod_id) : pod->second) +
                              " Age=" + std::to_string(age) + "sec" +
                              (timeout == timeouts.end() ? "" : " Timeout=" + std::to_string(timeout->second) + "sec"));
    }
    std::ranges::sort(rows);
    return rows;
}

Rows lb_maglev_rows(const std::vector<std::pair<std::uint16_t, std::vector<std::uint32_t>>>& tables) {
    Rows rows;
    for (const auto& [number, table] : tables) {
        std::string ids;
        for (const std::uint32_t id : table) ids += (ids.empty() ? "" : " ") + std::to_string(id);
        rows.emplace_back(std::to_string(number), "[" + ids + "]");
    }
    return rows;
}

}  // namespace axo::cli
