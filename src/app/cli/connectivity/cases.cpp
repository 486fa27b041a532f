#include "app/cli/connectivity/cases.h"

namespace axo::cli::connectivity {

namespace {

constexpr const char* kCilium = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n";
constexpr const char* kKubernetes = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n";
const std::string kClients = "endpointSelector: {matchLabels: {kind: client}}";
const std::string kEchoes = "endpointSelector: {matchLabels: {kind: echo}}";
const std::string kEverybody = "endpointSelector: {}";

std::string policy(const char* kind, const std::string& name, const std::string& spec) {
    return std::string(kind) + "metadata:\n  name: " + name + "\n  namespace: $NAMESPACE\nspec:\n" + spec + "---\n";
}
// Lines of a spec, indented.
std::string lines(const std::vector<std::string>& all) {
    std::string text;
    for (const std::string& line : all) text += "  " + line + "\n";
    return text;
}
std::string cnp(const std::string& name, const std::vector<std::string>& spec) {
    return policy(kCilium, name, lines(spec));
}
std::string knp(const std::string& name, const std::vector<std::string>& spec) {
    return policy(kKubernetes, name, lines(spec));
}

bool is(const Action& action, const char* scenario) {
    return action.scenario == scenario;
}
bool nothing(const Action&) {
    return false;
}
bool not_to_world(const Action& action) {
    return !is(action, "pod-to-world");
}
bool only_to_world(const Action& action) {
    return is(action, "pod-to-world");
}
bool to_echo_by_tcp(const Action& action) {
    return is(action, "pod-to-pod") && action.kind == "tcp";
}
bool from_client2(const Action& action) {
    return action.from.name == "client2";
}
bool not_from_client2(const Action& action) {
    return !from_client2(action);
}
// Clients' own ingress is closed but for client2.
bool to_client_from_client2(const Action& action) {
    return !is(action, "client-to-client") || action.to.name != "client" || from_client2(action);
}

const std::vector<Scenario> kPodToPod{pod_to_pod};
const std::vector<Scenario> kPodsAndWorld{pod_to_pod, pod_to_world};

void add_plain(std::vector<Case>& all) {
    all.push_back({.name = "no-policies",
                   .policies = "",
                   .scenarios = {pod_to_pod, client_to_client, pod_to_service, pod_to_host_port, pod_to_world,
                                 pod_to_host, host_to_pod, host_to_host},
                   .allowed = {}});
    all.push_back(
        {.name = "no-policies-extra",
         .policies = "",
         .scenarios = {pod_to_local_node_port, pod_to_remote_node_port, host_to_node_port, outside_to_node_port},
         .allowed = {}});
    all.push_back({.name = "allow-all-except-world",
                   .policies = cnp("allow-all-except-world",
                                   {kEverybody, "ingress: [{fromEntities: [cluster, host, remote-node]}]",
                                    "egress: [{toEntities: [cluster, host, remote-node]}]"}),
                   .scenarios = {pod_to_pod, client_to_client, pod_to_service, pod_to_host, host_to_pod, pod_to_world},
                   .allowed = not_to_world});
}

void add_denials(std::vector<Case>& all) {
    all.push_back({.name = "all-ingress-deny",
                   .policies = cnp("all-ingress-deny", {kEverybody, "ingress: [{}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = only_to_world});
    all.push_back({.name = "all-ingress-deny-knp",
                   .policies = knp("all-ingress-deny", {"podSelector: {}", "policyTypes: [Ingress]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = only_to_world});
    all.push_back({.name = "all-egress-deny",
                   .policies = cnp("all-egress-deny", {kEverybody, "egress: [{}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = nothing});
    all.push_back({.name = "all-egress-deny-knp",
                   .policies = knp("all-egress-deny", {"podSelector: {}", "policyTypes: [Egress]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = nothing});
    all.push_back({.name = "all-entities-deny",
                   .policies = cnp("all-entities-deny", {kEverybody, "ingressDeny: [{fromEntities: [all]}]",
                                                         "egressDeny: [{toEntities: [all]}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = nothing});
    const std::string allow_all = "ingress: [{fromEntities: [all]}]";
    const std::string allow_out = "egress: [{toEntities: [all]}]";
    all.push_back({.name = "echo-ingress-from-other-client-deny",
                   .policies = cnp("echo-ingress-deny", {kEchoes, allow_all,
                                                         "ingressDeny: [{fromEndpoints: [{matchLabels: {other: "
                                                         "client}}]}]"}),
                   .scenarios = kPodToPod,
                   .allowed = not_from_client2});
    all.push_back(
        {.name = "client-ingress-from-other-client-icmp-deny",
         .policies = cnp("client-ingress-icmp-deny",
                         {kClients, allow_all, "ingressDeny:", "- fromEndpoints: [{matchLabels: {other: client}}]",
                          "  icmps: [{fields: [{type: 8, family: IPv4}, {type: 128, family: IPv6}]}]"}),
         .scenarios = {client_to_client},
         .allowed = not_from_client2});
    all.push_back({.name = "client-egress-to-echo-deny",
                   .policies = cnp("client-egress-deny",
                                   {kClients, allow_out, "egressDeny:", "- toEndpoints: [{matchLabels: {kind: echo}}]",
                                    "  toPorts: [{ports: [{port: \"8080\", protocol: TCP}]}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = [](const Action& action) { return !to_echo_by_tcp(action); }});
    all.push_back({.name = "client-egress-to-echo-named-port-deny",
                   .policies = cnp("client-egress-deny",
                                   {kClients, allow_out, "egressDeny:", "- toEndpoints: [{matchLabels: {kind: echo}}]",
                                    "  toPorts: [{ports: [{port: http-8080, protocol: TCP}]}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = [](const Action& action) { return !to_echo_by_tcp(action); }});
    all.push_back(
        {.name = "client-egress-to-cidr-deny",
         .policies = cnp("client-egress-cidr-deny", {kClients, allow_out, "egressDeny: [{toCIDR: [$OUTSIDE]}]"}),
         .scenarios = kPodsAndWorld,
         .allowed = not_to_world,
         .needs_outside = true});
}

void add_entities(std::vector<Case>& all) {
    all.push_back({.name = "cluster-entity",
                   .policies = cnp("cluster-entity", {kClients, "egress: [{toEntities: [cluster]}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = not_to_world});
    all.push_back({.name = "host-entity-egress",
                   .policies = cnp("host-entity-egress", {kClients, "egress: [{toEntities: [host, remote-node]}]"}),
                   .scenarios = {pod_to_host, pod_to_pod},
                   .allowed = [](const Action& action) { return is(action, "pod-to-host"); }});
    all.push_back({.name = "host-entity-ingress",
                   .policies = cnp("host-entity-ingress", {kEchoes, "ingress: [{fromEntities: [host, remote-node]}]"}),
                   .scenarios = {host_to_pod, pod_to_pod},
                   .allowed = [](const Action& action) { return is(action, "host-to-pod"); }});
    all.push_back({.name = "to-entities-world",
                   .policies = cnp("to-entities-world", {kClients, "egress: [{toEntities: [world]}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = only_to_world,
                   .needs_outside = true});
}

void add_allowances(std::vector<Case>& all) {
    all.push_back({.name = "client-ingress",
                   .policies = cnp("client-ingress", {"endpointSelector: {matchLabels: {name: client}}",
                                                      "ingress: [{fromEndpoints: [{matchLabels: {name: client2}}]}]"}),
                   .scenarios = {client_to_client, pod_to_pod},
                   .allowed = to_client_from_client2});
    all.push_back({.name = "client-ingress-knp",
                   .policies = knp("client-ingress", {"podSelector: {matchLabels: {name: client}}",
                                                      "ingress: [{from: [{podSelector: {matchLabels: {name: "
                                                      "client2}}}]}]"}),
                   .scenarios = {client_to_client, pod_to_pod},
                   .allowed = to_client_from_client2});
    all.push_back({.name = "client-ingress-icmp",
                   .policies = cnp("client-ingress-icmp",
                                   {"endpointSelector: {matchLabels: {name: client}}",
                                    "ingress:", "- fromEndpoints: [{matchLabels: {name: client2}}]",
                                    "  icmps: [{fields: [{type: 8, family: IPv4}, {type: 128, family: IPv6}]}]"}),
                   .scenarios = {client_to_client},
                   .allowed = to_client_from_client2});
    const std::string port = "  toPorts: [{ports: [{port: \"8080\", protocol: TCP}]}]";
    all.push_back({.name = "echo-ingress",
                   .policies = cnp("echo-ingress",
                                   {kEchoes, "ingress:", "- fromEndpoints: [{matchLabels: {other: client}}]", port}),
                   .scenarios = kPodToPod,
                   .allowed = [](const Action& action) { return to_echo_by_tcp(action) && from_client2(action); }});
    all.push_back({.name = "echo-ingress-knp",
                   .policies = knp("echo-ingress", {"podSelector: {matchLabels: {kind: echo}}", "ingress:",
                                                    "- from: [{podSelector: {matchLabels: {other: client}}}]",
                                                    "  ports: [{port: 8080, protocol: TCP}]"}),
                   .scenarios = kPodToPod,
                   .allowed = [](const Action& action) { return to_echo_by_tcp(action) && from_client2(action); }});
    all.push_back(
        {.name = "client-egress",
         .policies = cnp("client-egress", {kClients, "egress:", "- toEndpoints: [{matchLabels: {kind: echo}}]", port}),
         .scenarios = kPodsAndWorld,
         .allowed = to_echo_by_tcp});
    all.push_back(
        {.name = "client-egress-knp",
         .policies = knp("client-egress", {"podSelector: {matchLabels: {kind: client}}", "policyTypes: [Egress]",
                                           "egress:", "- to: [{podSelector: {matchLabels: {kind: echo}}}]",
                                           "  ports: [{port: 8080, protocol: TCP}]"}),
         .scenarios = kPodsAndWorld,
         .allowed = to_echo_by_tcp});
    all.push_back(
        {.name = "client-egress-expression",
         .policies =
             cnp("client-egress-expression",
                 {"endpointSelector: {matchExpressions: [{key: kind, operator: In, values: "
                  "[client]}]}",
                  "egress:", "- toEndpoints: [{matchExpressions: [{key: kind, operator: In, values: [echo]}]}]", port}),
         .scenarios = kPodsAndWorld,
         .allowed = to_echo_by_tcp});
    all.push_back({.name = "client-egress-expression-knp",
                   .policies = knp("client-egress-expression",
                                   {"podSelector: {matchExpressions: [{key: kind, operator: In, values: [client]}]}",
                                    "policyTypes: [Egress]", "egress:",
                                    "- to: [{podSelector: {matchExpressions: [{key: kind, operator: NotIn, values: "
                                    "[client]}]}}]",
                                    "  ports: [{port: 8080, protocol: TCP}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = to_echo_by_tcp});
    all.push_back({.name = "to-cidr-external",
                   .policies = cnp("to-cidr-external", {kClients, "egress: [{toCIDR: [$OUTSIDE]}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = only_to_world,
                   .needs_outside = true});
    all.push_back({.name = "to-cidr-external-knp",
                   .policies = knp("to-cidr-external", {"podSelector: {matchLabels: {kind: client}}",
                                                        "policyTypes: [Egress]", "egress: [{to: [$BLOCKS]}]"}),
                   .scenarios = kPodsAndWorld,
                   .allowed = only_to_world,
                   .needs_outside = true});
}

void replace(std::string& text, const std::string& word, const std::string& by) {
    for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += by.size())
        text.replace(at, word.size(), by);
}

}  // namespace

const std::vector<Case>& cases() {
    static const std::vector<Case> all = [] {
        std::vector<Case> made;
        add_plain(made);
        add_allowances(made);
        add_entities(made);
        add_denials(made);
        made.push_back({.name = "health", .policies = "", .scenarios = {}, .allowed = {}, .health = true});
        return made;
    }();
    return all;
}

std::string policies_of(const Case& test, const World& world) {
    std::string text = test.policies;
    std::string cidrs, blocks;
    for (const IpAddress& ip : world.outside ? world.outside->addresses : std::vector<IpAddress>{}) {
        const std::string cidr = Prefix::host(ip).to_string();
        cidrs += (cidrs.empty() ? "\"" : ", \"") + cidr + "\"";
        blocks += (blocks.empty() ? "{ipBlock: {cidr: \"" : ", {ipBlock: {cidr: \"") + cidr + "\"}}";
    }
    replace(text, "$NAMESPACE", world.name_space);
    replace(text, "$OUTSIDE", cidrs);
    replace(text, "$BLOCKS", blocks);
    return text;
}

}  // namespace axo::cli::connectivity
