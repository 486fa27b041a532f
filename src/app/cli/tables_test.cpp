// Goldens: what an operator reads, from canned answers of the agent, laid out as contracts have Cilium's.
// A "·" stands for a blank at the end of a line.
#include "app/cli/tables.h"

#include <gtest/gtest.h>

#include "app/cli/health_text.h"

namespace axo::cli {
namespace {

std::string visible(std::string text) {
    for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', end + 1)) {
        std::size_t blanks = 0;
        while (blanks < end && text[end - 1 - blanks] == ' ') ++blanks;
        std::string dots;
        for (std::size_t i = 0; i < blanks; ++i) dots += "·";
        text.replace(end - blanks, blanks, dots);
        end += dots.size() - blanks;
    }
    return text;
}

TEST(Tables, EndpointList) {
    const Json answer = Json::parse(
        R"_([{"id":1234,"status":{"identity":{"id":1,"labels":["reserved:host"]},"policy":{"realized":{"policy-enabled":"none"}},
"networking":{"addressing":[{}]},"state":"ready"}},
{"id":811,"status":{"identity":{"id":28723,"labels":["k8s:io.kubernetes.pod.namespace=default","k8s:app=nginx"]},"policy":{"realized":{"policy-enabled":"audit-ingress"}},
"networking":{"addressing":[{"ipv4":"10.0.0.63","ipv6":"fd00::3f"}]},"state":"ready"}}])_");
    EXPECT_EQ(
        visible(endpoint_list_text(answer, true)),
        R"_(ENDPOINT   POLICY (ingress)   POLICY (egress)   IDENTITY   LABELS (source:key[=value])               IPv6       IPv4        STATUS···
           ENFORCEMENT        ENFORCEMENT····························································································
811        Disabled (Audit)   Disabled          28723      k8s:app=nginx                             fd00::3f   10.0.0.63   ready····
                                                           k8s:io.kubernetes.pod.namespace=default···································
1234       Disabled           Disabled          1          reserved:host                                                    ready····
)_");
}

TEST(Tables, EndpointLog) {
    const Json answer = Json::parse(
        R"_([{"timestamp":"2026-01-01T00:00:00Z","code":"ok","message":"Successfully regenerated endpoint program","state":"ready"}])_");
    EXPECT_EQ(visible(endpoint_log_text(answer)), R"_(Timestamp              Status   State   Message
2026-01-01T00:00:00Z   OK       ready   Successfully regenerated endpoint program
)_");
}

TEST(Tables, EndpointHealth) {
    const Json answer = Json::parse(R"_({"overallHealth":"OK","bpf":"OK","policy":"OK","connected":true})_");
    EXPECT_EQ(visible(endpoint_health_text(answer)), R"_(Overall Health:   OK
BPF Health:       OK
Policy Health:    OK
Connected:        yes
)_");
}

TEST(Tables, EndpointLabels) {
    const Json answer = Json::parse(
        R"_({"spec":{"user":[]},"status":{"security-relevant":["k8s:app=nginx"],"disabled":["k8s:pod-template-hash=5"]}})_");
    EXPECT_EQ(visible(endpoint_labels_text(answer)), R"_(k8s:app=nginx             Enabled
k8s:pod-template-hash=5   Disabled
)_");
}

TEST(Tables, IdentityList) {
    const Json answer = Json::parse(R"_([{"id":1,"labels":["reserved:host"]},
{"id":16777217,"labels":["cidr:10.1.0.0/16","reserved:world"]},
{"id":28723,"labels":["k8s:app=nginx","k8s:io.kubernetes.pod.namespace=default"]}])_");
    EXPECT_EQ(visible(identity_list_text(answer, false)), R"_(ID         LABELS
1          reserved:host
28723      k8s:app=nginx
           k8s:io.kubernetes.pod.namespace=default
16777217   cidr:10.1.0.0/16
           reserved:world
)_");
}

TEST(Tables, IdentityEndpoints) {
    const Json answer = Json::parse(R"_([{"identity":{"id":28723,"labels":["k8s:app=nginx"]},"refCount":2}])_");
    EXPECT_EQ(visible(identity_list_text(answer, true)), R"_(ID      LABELS          REFCOUNT
28723   k8s:app=nginx   2
)_");
}

TEST(Tables, IpList) {
    const Json answer = Json::parse(
        R"_([{"cidr":"10.0.0.115/32","identity":28723,"hostIP":"192.168.122.233","encryptKey":0,"metadata":{"source":"custom-resource","name":"nginx","namespace":"default"}},
{"cidr":"0.0.0.0/0","identity":2,"hostIP":"0.0.0.0","metadata":{"source":"local"}}])_");
    EXPECT_EQ(
        visible(
            ip_list_text(answer, {{28723, {"k8s:app=nginx", "k8s:io.kubernetes.pod.namespace=default"}}}, false, true)),
        R"_(IP              IDENTITY                                  SOURCE            HOST              ENCRYPT_KEY
0.0.0.0/0       reserved:world                            local             0.0.0.0           0
10.0.0.115/32   k8s:app=nginx                             custom-resource   192.168.122.233   0
                k8s:io.kubernetes.pod.namespace=default···
)_");
}

TEST(Tables, NodeList) {
    const Json answer = Json::parse(
        R"_({"self":"default/master","nodes-added":[{"name":"default/master","primary-address":{"ipv4":{"ip":"192.168.122.233","alloc-range":"10.0.0.0/24"},"ipv6":{}},
"source":"local"}]})_");
    EXPECT_EQ(visible(node_list_text(answer)),
              R"_(Name             IPv4 Address      Endpoint CIDR   IPv6 Address   Endpoint CIDR   Source
default/master   192.168.122.233   10.0.0.0/24                                    local
)_");
}

TEST(Tables, NodeIdList) {
    const Json answer = Json::parse(R"_([{"id":0,"ips":["192.168.122.233","fd00::1"]}])_");
    EXPECT_EQ(visible(node_id_list_text(answer)), R"_(NODE ID   IP ADDRESSES
0         192.168.122.233
          fd00::1
)_");
}

TEST(Tables, MapList) {
    const Json answer = Json::parse(
        R"_({"maps":[{"path":"/sys/fs/bpf/tc/globals/cilium_lxc","cache":[{"key":"10.0.0.63:0","value":"x"}]},
{"path":"/sys/fs/bpf/tc/globals/cilium_flows4"}]})_");
    EXPECT_EQ(visible(map_list_text(answer)), R"_(Name            Num entries   Num errors   Cache enabled
cilium_flows4   0             0            false
cilium_lxc      1             0            true
)_");
}

TEST(Tables, MapGet) {
    const Json answer = Json::parse(
        R"_({"path":"/x/cilium_lxc","cache":[{"key":"192.168.122.233:0","value":"(localhost)","desired-action":"ok"},
{"key":"10.0.0.63:0","value":"id=811   sec_id=28723 flags=0x0000 ifindex=13  mac=8A:31:BC:72:83:96 nodemac=BE:7A:56:91:01:F7 parent_ifindex=0","desired-action":"insert","last-error":"no space"}]})_");
    EXPECT_EQ(
        visible(map_get_text(answer)),
        R"_(Key                 Value                                                                                                             State    Error
10.0.0.63:0         id=811   sec_id=28723 flags=0x0000 ifindex=13  mac=8A:31:BC:72:83:96 nodemac=BE:7A:56:91:01:F7 parent_ifindex=0   insert   no space
192.168.122.233:0   (localhost)                                                                                                       sync·····
)_");
}

TEST(Tables, Config) {
    const Json answer = Json::parse(
        R"_({"status":{"realized":{"options":{"Debug":"Disabled","MonitorAggregationLevel":"Medium"},"policy-enforcement":"default"},"immutable":{"x":"y"},"daemonConfigurationMap":{"enable-ipv4":"true","tunnel":{"port":8472}},
"nodeMonitor":{"npages":64}}})_");
    EXPECT_EQ(visible(config_text(answer, true, true)), R"_(#### Read-only configurations ####
enable-ipv4                       : true
tunnel
  port                            : 8472
k8s-configuration                 :·
k8s-endpoint                      :·
x                                 : y
##### Read-write configurations #####
Debug                             : Disabled
MonitorAggregationLevel           : Medium
MonitorNumPages                   : 64
PolicyEnforcement                 : default
)_");
}

TEST(Tables, HealthStatus) {
    const Json answer = Json::parse(
        R"_({"local":{"name":"default/node1"},"timestamp":"2026-01-01T00:00:05Z","nodes":[{"name":"default/node2","host":{"primary-address":{"ip":"192.168.122.123","icmp":{"latency":0,"status":"connection timed out","lastProbed":"2026-01-01T00:00:05Z"},"http":{"latency":1210000,"status":"","lastProbed":"2026-01-01T00:00:05Z"}}},
"health-endpoint":{"primary-address":{"ip":"10.0.1.200","icmp":{"latency":41000,"status":"","lastProbed":"2026-01-01T00:00:05Z"},"http":{"latency":310000,"status":"","lastProbed":"2026-01-01T00:00:05Z"}}}},
{"name":"default/node1","host":{"primary-address":{"ip":"192.168.122.233","icmp":{"latency":31000,"status":"","lastProbed":"2026-01-01T00:00:05Z"},"http":{"latency":210000,"status":"","lastProbed":"2026-01-01T00:00:05Z"}}},
"health-endpoint":{}}]})_");
    EXPECT_EQ(visible(health_text(answer, false, false)), R"_(Probe time:   2026-01-01T00:00:05Z
Nodes:
  node1 (localhost):
    Host connectivity to 192.168.122.233:
      ICMP to stack:   OK, RTT=31µs    (Last probed: 2026-01-01T00:00:05Z)
      HTTP to agent:   OK, RTT=210µs   (Last probed: 2026-01-01T00:00:05Z)
  node2:
    Host connectivity to 192.168.122.123:
      ICMP to stack:   connection timed out   (Last probed: 2026-01-01T00:00:05Z)
      HTTP to agent:   OK, RTT=1.21ms         (Last probed: 2026-01-01T00:00:05Z)
    Endpoint connectivity to 10.0.1.200:
      ICMP to stack:   OK, RTT=41µs    (Last probed: 2026-01-01T00:00:05Z)
      HTTP to agent:   OK, RTT=310µs   (Last probed: 2026-01-01T00:00:05Z)
)_");
}

TEST(Tables, HealthSuccinct) {
    const Json answer = Json::parse(
        R"_({"local":{"name":"default/node1"},"timestamp":"2026-01-01T00:00:05Z","nodes":[{"name":"default/node2","host":{"primary-address":{"ip":"192.168.122.123","icmp":{"latency":0,"status":"connection timed out","lastProbed":"2026-01-01T00:00:05Z"},"http":{"latency":1210000,"status":"","lastProbed":"2026-01-01T00:00:05Z"}}},
"health-endpoint":{"primary-address":{"ip":"10.0.1.200","icmp":{"latency":41000,"status":"","lastProbed":"2026-01-01T00:00:05Z"},"http":{"latency":310000,"status":"","lastProbed":"2026-01-01T00:00:05Z"}}}},
{"name":"default/node1","host":{"primary-address":{"ip":"192.168.122.233","icmp":{"latency":31000,"status":"","lastProbed":"2026-01-01T00:00:05Z"},"http":{"latency":210000,"status":"","lastProbed":"2026-01-01T00:00:05Z"}}},
"health-endpoint":{}}]})_");
    EXPECT_EQ(visible(health_text(answer, true, false)), R"_(Probe time:           2026-01-01T00:00:05Z
Name                  IP                Node   Endpoints
  node1 (localhost)   192.168.122.233   1/1    0/0
  node2               192.168.122.123   0/1    1/1
)_");
}

TEST(Tables, AddressesSortByNumberNotByText) {
    EXPECT_TRUE(address_less("10.0.0.9/32", "10.0.0.10/32"));
    EXPECT_TRUE(address_less("10.0.0.9", "fd00::1"));
    EXPECT_TRUE(address_less("10.0.0.9", "not an address"));
    EXPECT_FALSE(address_less("not an address", "10.0.0.9"));
}

TEST(Tables, WrongShapesPrintHeadersAndDoNotThrow) {
    for (const char* text :
         {"null", "[]", "{}", "[1,null,\"x\",{}]", R"({"maps":[{}],"nodes-added":[{}],"cache":[{}],"nodes":[{}]})"}) {
        const Json odd = Json::parse(text);
        EXPECT_NO_THROW({
            endpoint_list_text(odd, true);
            identity_list_text(odd, true);
            ip_list_text(odd, {}, false, true);
            node_list_text(odd);
            node_id_list_text(odd);
            map_list_text(odd);
            map_get_text(odd);
            config_text(odd, true, true);
            health_text(odd, false, true);
            debuginfo_text(odd);
        }) << text;
    }
}

}  // namespace
}  // namespace axo::cli
