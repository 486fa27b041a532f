// Keys of address management and of what is published about this node.
#include "app/agent/config_parse.h"
#include "features/ipam/node_pools.h"
#include "model/names.h"

namespace axo {

using namespace config_parse;

void add_ipam_options(std::vector<ConfigOption>& all) {
    const auto add = [&](std::string key, std::string fallback, std::string help, Parse parse) {
        const bool boolean = fallback == "true" || fallback == "false";
        all.push_back({std::move(key), std::move(fallback), std::move(help), boolean, std::move(parse)});
    };
    add("annotate-k8s-node", "false", "write this node's pod CIDRs and addresses as annotations of its Node",
        flag(FIELD(annotate_node)));
    add("enable-cilium-endpoint-slice", "false", "read pods of other nodes from CiliumEndpointSlices",
        flag(FIELD(endpoint_slices)));
    const auto mode = [](const char* name) { return [name](Config& c) { c.ipam = name; }; };
    add("ipam", "cluster-pool", "cluster-pool, kubernetes or multi-pool",
        one_of({{"cluster-pool", mode("cluster-pool")},
                {"kubernetes", mode("kubernetes")},
                {"multi-pool", mode("multi-pool")}},
               " (other modes are not available in this version)"));
    add("ipam-default-ip-pool", "default", "multi-pool: the CiliumPodIPPool of pods that have no other",
        [](Config& c, const std::string& value) -> Status {
            if (!is_dns_subdomain(value)) return not_accepted("the name of a CiliumPodIPPool");
            c.default_pool = value;
            return {};
        });
    add("ipam-multi-pool-pre-allocation", "",
        "multi-pool: POOL=N,…: addresses to have ready; default: 8 of the default pool",
        [](Config& c, const std::string& value) -> Status {
            auto counts = parse_pre_allocation(value);
            if (!counts) return not_accepted("POOL=N[,POOL=N…] with N from 0 to 65536");
            c.pre_allocate = std::move(*counts);
            return {};
        });
    // With ipam=kubernetes they are required anyway, of the families that are on.
    for (const char* key : {"k8s-require-ipv4-pod-cidr", "k8s-require-ipv6-pod-cidr"}) {
        add(key, "false", "wait for the Node's pod CIDR; ipam=kubernetes always does",
            [](Config&, const std::string& value) -> Status {
                TRY(parse_bool(value));
                return {};
            });
    }
}

void check_ipam(Config& config, std::vector<std::string>& errors, std::vector<std::string>& warnings) {
    for (const char* key : {"ipam-default-ip-pool", "ipam-multi-pool-pre-allocation"}) {
        if (config.ipam != "multi-pool" && config.given.contains(key) && !config.given.at(key).empty())
            warnings.push_back(std::string(key) + ": has no effect with ipam=" + config.ipam);
    }
    for (const auto& [key, on] :
         {std::pair{"k8s-require-ipv4-pod-cidr", config.ipv4}, {"k8s-require-ipv6-pod-cidr", config.ipv6}}) {
        const auto given = config.given.find(key);
        const bool required = given != config.given.end() && parse_bool(given->second).value_or(false);
        if (!required) continue;
        if (!on) errors.push_back(std::string(key) + "=true: the family is off");
        if (config.ipam != "kubernetes")
            warnings.push_back(std::string(key) + "=true: has no effect with ipam=" + config.ipam);
    }
    if (config.ipam == "multi-pool" && !config.given.contains("ipam-multi-pool-pre-allocation"))
        config.pre_allocate = {{config.default_pool, 8}};
    // The node's own addresses are from the default pool: an agent cannot start without one.
    if (config.ipam == "multi-pool" && config.pre_allocate[config.default_pool] == 0)
        config.pre_allocate[config.default_pool] = 1;
}

}  // namespace axo
