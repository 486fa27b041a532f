// Goldens of `status` and `monitor` from canned answers. A "·" stands for a blank at the end of a line.
#include <gtest/gtest.h>

#include "app/cli/monitor_text.h"
#include "app/cli/status_text.h"

namespace axo::cli {
namespace {

std::string without_trailing_blanks(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') {
            while (!out.empty() && out.back() == ' ') out.pop_back();
        }
        out += c;
    }
    return out;
}

constexpr std::int64_t kNow = 1767225612;  // 2026-01-01T00:00:12Z

const char* const kStatus =
    R"_({"kvstore":{"state":"Disabled","msg":""},"kubernetes":{"state":"Ok","msg":"1.33 (v1.33.1) [linux/amd64]","k8s-api-versions":["core/v1::Pods","cilium/v2::CiliumNode"]},"kube-proxy-replacement":{"mode":"True","deviceList":[{"name":"eth0","ip":["192.168.122.233","fe80::1"]}],"directRoutingDevice":"eth0","features":{"nodePort":{"enabled":true,"mode":"DSR","dsrMode":"Geneve","algorithm":"Maglev","lutSize":16381,"acceleration":"Native","portMin":30000,"portMax":32767},"socketLB":{"enabled":true},"sessionAffinity":{"enabled":true},"hostPort":{"enabled":true},"externalIPs":{"enabled":true},"annotations":["service.cilium.io/node"]}},
"host-firewall":{"mode":"Disabled"},"srv6":{"enabled":false},"cni-chaining":{"mode":"none"},"cni-file":{"state":"Ok","msg":"successfully wrote CNI configuration file to /etc/cni/net.d/05-cilium.conflist"},"cilium":{"state":"Ok","msg":"0.1.0 (axoneme v0.1.0)"},"nodeMonitor":{"cpus":16,"npages":64,"pagesize":4096,"lost":3,"unknown":0},"cluster":{"ciliumHealth":{"state":"Ok","msg":""},"self":"default/node1","nodes":[]},"ipam":{"status":"IPv4: 3/254 allocated from 10.0.0.0/24","allocations":{"10.0.0.115":"default/nginx","10.0.0.141":"router","10.0.0.200":"health"}},
"cluster-mesh":{"clusters":[]},"ipv4-big-tcp":{"enabled":false},"ipv6-big-tcp":{"enabled":true,"maxGRO":196608,"maxGSO":196608},"bandwidth-manager":{"enabled":true,"devices":["eth0"],"congestionControl":"bbr"},"routing":{"inter-host-routing-mode":"Tunnel","intra-host-routing-mode":"BPF","tunnel-protocol":"vxlan"},"attach-mode":"tcx","datapath-mode":"veth","masquerading":{"enabled":true,"mode":"BPF","enabledProtocols":{"ipv4":true,"ipv6":false},"snat-exclusion-cidr-v4":"10.0.0.0/8"},"clock-source":{"mode":"ktime"},"controllers":[{"name":"b-controller","status":{"success-count":3,"last-success-timestamp":"2026-01-01T00:00:00Z","last-failure-timestamp":"0001-01-01T00:00:00Z","consecutive-failure-count":0}},
{"name":"a-failing","status":{"last-success-timestamp":"0001-01-01T00:00:00Z","last-failure-timestamp":"2026-01-01T00:00:10Z","consecutive-failure-count":2,"last-failure-msg":"no route"}}],"proxy":{"ip":"10.0.0.141","port-range":"10000-20000","total-redirects":1,"envoy-deployment-mode":"external","redirects":[{"name":"811:ingress:TCP:80:","proxy":"http","proxy-port":11767}]},"identity-range":{"min-identity":256,"max-identity":65535},"hubble":{"state":"Ok","msg":"","observer":{"max-flows":4095,"current-flows":4095,"seen-flows":755,"uptime":"1m40s"}},
"hubble-metrics":{"state":"Ok"},"bpf-maps":{"dynamic-size-ratio":0.0025,"maps":[{"name":"Endpoints","size":65535},
{"name":"IP cache","size":512000}]},"encryption":{"mode":"Disabled"},"axoneme":{"start-ms":120,"datapath-ready-ms":140,"datapath":{"programs":"adopted","maps-created":0,"maps-adopted":11,"links-attached":0,"links-updated":0,"links-adopted":8,"devices-created":0,"reasons":[{"what":"attach mode","choice":"tcx","reason":"the kernel has it (6.6)"},
{"what":"host routing","choice":"BPF","reason":"redirect_peer and redirect_neigh are there"}]},"reconcilers":[{"name":"cilium_lxc","unchanged-at-start":7,"added":1,"updated":0,"removed":0,"failed":0,"errors":[]},
{"name":"routes","unchanged-at-start":4,"added":0,"updated":0,"removed":0,"failed":1,"errors":[{"object":"10.0.2.0/24","message":"network is unreachable"}]}],"maps":[{"name":"cilium_lxc","bytes":8912896,"entries":7,"max-entries":65535},
{"name":"cilium_flows4","bytes":1048576,"entries":112,"max-entries":524288}],"events":{"seen":12034,"lost":3},"health-probe-interval-ns":96566000000,"node-health":[{"name":"default/node1","local":true,"ip":"192.168.122.233","endpoint-ip":"10.0.0.200","host-icmp":{"status":"","latency-ns":31000},"host-http":{"status":"","latency-ns":210000},"endpoint-icmp":{"status":"","latency-ns":41000},"endpoint-http":{"status":"","latency-ns":310000},"last-probed":"2026-01-01T00:00:00Z"},
{"name":"default/node2","ip":"192.168.122.123","endpoint-ip":"10.0.1.200","host-icmp":{"status":"connection timed out","latency-ns":0},"host-http":{"status":"","latency-ns":1210000},"endpoint-icmp":{"status":"","latency-ns":41000},"endpoint-http":{"status":"","latency-ns":310000},"last-probed":"2026-01-01T00:00:05Z"}],"services":{"problems":[{"where":"manifests/bad.yaml","message":"line 3: mapping values are not allowed here"},{"where":"NAT TCP 172.18.1.11 -> 192.0.2.1:443","message":"31130 of 32768 source ports (95 %) are in use"}]},"rejected-objects":[{"where":"manifests/bad.yaml","message":"line 3: mapping values are not allowed here"}],"rejected-state":[{"path":"/var/run/cilium/state/12","message":"torn"}]}})_";

TEST(StatusText, Verbose) {
    EXPECT_EQ(without_trailing_blanks(status_text(Json::parse(kStatus), StatusDetails::all(), kNow)),
              R"_(KVStore:                Disabled
Kubernetes:             Ok         1.33 (v1.33.1) [linux/amd64]
Kubernetes APIs:        ["cilium/v2::CiliumNode", "core/v1::Pods"]
KubeProxyReplacement:   True   [eth0 192.168.122.233 fe80::1 (Direct Routing)]
Host firewall:          Disabled
SRv6:                   Disabled
CNI Chaining:           none
CNI Config file:        successfully wrote CNI configuration file to /etc/cni/net.d/05-cilium.conflist
Cilium:                 Ok   0.1.0 (axoneme v0.1.0)
NodeMonitor:            Listening for events on 16 CPUs with 64x4096 of shared memory
                        3 events lost, 0 unknown notifications
Cilium health daemon:   Ok
IPAM:                   IPv4: 3/254 allocated from 10.0.0.0/24
Allocated addresses:
  10.0.0.115 (default/nginx)
  10.0.0.141 (router)
  10.0.0.200 (health)
ClusterMesh:            0/0 remote clusters ready
IPv4 BIG TCP:           Disabled
IPv6 BIG TCP:           Enabled   [196608]
BandwidthManager:       EDT with BPF [BBR] [eth0]
Routing:                Network: Tunnel [vxlan]   Host: BPF
Attach Mode:            TCX
Device Mode:            veth
Masquerading:           BPF   [eth0]   10.0.0.0/8 [IPv4: Enabled, IPv6: Disabled]
Clock Source for BPF:   ktime
Controller Status:      1/2 healthy
  Name           Last success   Last error   Count   Message
  a-failing      never          2s ago       2       no route
  b-controller   12s ago        never        0       no error
Proxy Status:   OK, ip 10.0.0.141, 1 redirects active on ports 10000-20000, Envoy: external
  Protocol   Redirect              Proxy Port
  http       811:ingress:TCP:80:   11767
Global Identity Range:   min 256, max 65535
Hubble:                  Ok   Current/Max Flows: 4095/4095 (100.00%), Flows/s: 7.55   Metrics: Ok
KubeProxyReplacement Details:
  Status:                True
  Socket LB:             Enabled
  Socket LB Tracing:     Disabled
  Socket LB Coverage:    Full
  Devices:               eth0 192.168.122.233 fe80::1 (Direct Routing)
  Mode:                  DSR
    DSR Dispatch Mode:   Geneve
  Backend Selection:     Maglev (Table Size: 16381)
  Session Affinity:      Enabled
  NAT46/64 Support:      Disabled
  XDP Acceleration:      Native
  Services:
  - ClusterIP:      Enabled
  - NodePort:       Enabled (Range: 30000-32767)
  - LoadBalancer:   Enabled
  - externalIPs:    Enabled
  - HostPort:       Enabled
  Annotations:
  - service.cilium.io/node
BPF Maps:   dynamic sizing: on (ratio: 0.002500)
  Name        Size
  Endpoints   65535
  IP cache    512000
Encryption:           Disabled
Cluster health:       1/2 reachable     (2026-01-01T00:00:05Z)   (Probe interval: 1m36.566s)
Name                  IP                Node                     Endpoints
  node1 (localhost)   192.168.122.233   1/1                      1/1
  node2               192.168.122.123   0/1                      1/1
Modules Health:       Stopped(0) Degraded(1) OK(1)
Datapath:
  Programs:   adopted
  Maps:       0 created, 11 adopted
  Links:      0 attached, 0 updated, 8 adopted
  Devices:    0 created
Start:        120 ms to healthy, 140 ms to datapath ready
Decisions:
  What           Choice   Reason
  attach mode    tcx      the kernel has it (6.6)
  host routing   BPF      redirect_peer and redirect_neigh are there
Reconcilers:
  Name         Unchanged at start   Added   Updated   Removed   Failed
  cilium_lxc   7                    1       0         0         0
  routes       4                    0       0         0         1
  routes 10.0.2.0/24: network is unreachable
BPF map memory:   9.5 MiB in 2 maps
  Name            Memory    Entries   Max
  cilium_lxc      8.5 MiB   7         65535
  cilium_flows4   1.0 MiB   112       524288
Node health:
  Node            IP                ICMP to node           HTTP to agent   Health endpoint   ICMP   HTTP    Last probed
  default/node1   192.168.122.233   31µs                   210µs           10.0.0.200        41µs   310µs   2026-01-01T00:00:00Z
  default/node2   192.168.122.123   connection timed out   1.21ms          10.0.1.200        41µs   310µs   2026-01-01T00:00:05Z
Events:   12034 seen, 3 lost
Rejected objects:
  manifests/bad.yaml: line 3: mapping values are not allowed here
Problems of services:
  NAT TCP 172.18.1.11 -> 192.0.2.1:443: 31130 of 32768 source ports (95 %) are in use
Rejected state:
  /var/run/cilium/state/12: torn
)_");
}

TEST(StatusText, PlainShowsOnlyWhatFails) {
    const std::string out = status_text(Json::parse(kStatus), StatusDetails{}, kNow);
    EXPECT_EQ(out.find("b-controller"), std::string::npos);
    EXPECT_NE(out.find("  a-failing   never          2s ago       2       no route   \n"), std::string::npos) << out;
    EXPECT_EQ(out.find("node1 (localhost)"), std::string::npos);
    EXPECT_NE(out.find("node2"), std::string::npos);
    EXPECT_EQ(out.find("Reconcilers"), std::string::npos);
}

TEST(StatusText, BriefNamesTheFirstTrouble) {
    Json status = Json::parse(kStatus);
    EXPECT_EQ(status_brief(status), "error in controller a-failing: no route");
    EXPECT_TRUE(status_is_healthy(status));
    status["controllers"][1]["status"]["consecutive-failure-count"] = 0;
    EXPECT_EQ(status_brief(status), "OK");
    // Something to warn of is not ill health, as with cilium-dbg.
    status["kubernetes"] = {{"state", "Warning"}, {"msg", "1.20; the client certificate expires"}};
    EXPECT_EQ(status_brief(status), "error in kubernetes: 1.20; the client certificate expires");
    EXPECT_TRUE(status_is_healthy(status));
    status["kubernetes"]["state"] = "Ok";
    status["cilium"] = {{"state", "Failure"}, {"msg", "waiting for pod CIDRs"}};
    EXPECT_EQ(status_brief(status), "error in cilium: waiting for pod CIDRs");
    EXPECT_FALSE(status_is_healthy(status));
}

TEST(StatusText, OddAnswersDoNotThrow) {
    for (
        const char* text :
        {"null", "[]", "{}",
         R"({"axoneme":{"datapath":[],"reconcilers":[1],"maps":{},"node-health":[null]},"controllers":[{}],"cluster-mesh":{"clusters":[{}]},
        "kube-proxy-replacement":{"features":{}},"kubernetes":{},"hubble":{},"bpf-maps":{},"encryption":{},"ipam":{"allocations":[]}})"}) {
        EXPECT_NO_THROW(status_text(Json::parse(text), StatusDetails::all(), kNow)) << text;
    }
}

std::string line(const char* event, bool numeric = false) {
    return monitor_text(Json::parse(event), {numeric, false});
}

TEST(MonitorText, LinesAreCiliums) {
    EXPECT_EQ(line(R"_({"type": "start", "cpus": 16, "ring-bytes": 262144})_"),
              "Listening for events on 16 CPUs with 64x4096 of shared memory\nPress Ctrl-C to quit\n");
    EXPECT_EQ(
        line(
            R"_({"type": "trace", "observation-point": "to-endpoint", "trace-reason": "established", "ifindex": 13, "interface": "lxc501bb35ff726", "src": "10.0.0.115", "dst": "10.0.0.63", "sport": 53, "dport": 40542, "proto": "TCP", "tcp-flags": "ACK", "identity-src": 28723, "identity-dst": 28723, "endpoint-dst": 811, "hash": 1511730237, "ipv6": false})_"),
        "-> endpoint 811 flow 0x5a1b2c3d , identity 28723->28723 state established ifindex lxc501bb35ff726 orig-ip 10.0.0.115: 10.0.0.115:53 -> 10.0.0.63:40542 tcp ACK\n");
    EXPECT_EQ(
        line(
            R"_({"type": "trace", "observation-point": "to-stack", "trace-reason": "new", "ifindex": 0, "interface": "", "src": "10.0.0.63", "dst": "8.8.8.8", "proto": "ICMPv4", "icmp-type": 8, "icmp-code": 0, "identity-src": 28723, "identity-dst": 2, "endpoint-src": 811, "hash": 0})_"),
        "-> stack flow 0x0 , identity 28723->world state new ifindex 0 orig-ip 0.0.0.0: 10.0.0.63 -> 8.8.8.8 EchoRequest\n");
    EXPECT_EQ(
        line(
            R"_({"type": "drop", "reason": "Unknown L3 target address", "subtype": "x", "ifindex": 13, "interface": "lxc501bb35ff726", "src": "fd00::1", "dst": "fd00::99", "sport": 51234, "dport": 80, "proto": "TCP", "tcp-flags": "SYN", "identity-src": 2, "identity-dst": 28723, "endpoint-dst": 0, "hash": 1, "file": "pod.bpf.c", "line": 2141, "ext-error": 0, "ipv6": true})_"),
        "xx drop (Unknown L3 target address) flow 0x1 to endpoint 0, ifindex 13, file pod.bpf.c:2141, , identity world->28723: [fd00::1]:51234 -> [fd00::99]:80 tcp SYN | nobody has this address; ask: axoneme bpf ipcache get fd00::99\n");
    EXPECT_EQ(
        line(
            R"_({"type": "policy-verdict", "direction": "ingress", "local-endpoint": 811, "remote-identity": 28723, "src": "10.0.0.115", "dst": "10.0.0.63", "sport": 34000, "dport": 80, "proto": "TCP", "tcp-flags": "SYN", "identity-src": 28723, "identity-dst": 28723, "endpoint-dst": 811, "hash": 1})_"),
        "Policy verdict log: flow 0x1 local EP ID 811, remote ID 28723, proto 6, ingress, action allow, auth: disabled, match none, 10.0.0.115:34000 -> 10.0.0.63:80 tcp SYN\n");
    EXPECT_EQ(line(R"_({"type": "lost", "count": 5})_"),
              "Lost 5 events: this reader is too slow for them; narrow them down with -t, --from, --to\n");
}

TEST(MonitorText, NumericIdentitiesAndInterfaces) {
    const std::string text = line(
        R"({"type":"trace","observation-point":"from-endpoint","trace-reason":"new","ifindex":13,"interface":"lxc1","src":"10.0.0.1","dst":"10.0.0.2",
        "sport":1,"dport":2,"proto":"UDP","identity-src":2,"identity-dst":6,"endpoint-src":7,"hash":255})",
        true);
    EXPECT_EQ(
        text,
        "<- endpoint 7 flow 0xff , identity 2->6 state new ifindex 13 orig-ip 0.0.0.0: 10.0.0.1:1 -> 10.0.0.2:2 udp\n");
}

TEST(MonitorText, EveryDropReasonOfTheDatapathThatNeedsAdviceHasSome) {
    const auto advice = [](const char* reason) {
        return drop_advice({{"reason", reason}, {"src", "10.0.0.1"}, {"dst", "10.0.0.2"}, {"endpoint-dst", 7}});
    };
    EXPECT_NE(advice("Stale or unroutable IP").find("ip get 10.0.0.2"), std::string::npos);
    EXPECT_NE(advice("Endpoint policy program not available").find("endpoint log 7"), std::string::npos);
    EXPECT_NE(advice("Unknown sender").find("10.0.0.1"), std::string::npos);
    EXPECT_EQ(advice("something new"), "");
}

TEST(MonitorText, IcmpHasNames) {
    EXPECT_EQ(icmp_text(false, 8, 0), "EchoRequest");
    EXPECT_EQ(icmp_text(false, 3, 4), "DestinationUnreachable(FragmentationNeeded)");
    EXPECT_EQ(icmp_text(false, 3, 99), "DestinationUnreachable(99)");
    EXPECT_EQ(icmp_text(true, 2, 0), "PacketTooBig");
    EXPECT_EQ(icmp_text(true, 135, 0), "NeighborSolicitation");
    EXPECT_EQ(icmp_text(true, 250, 3), "250(3)");
}

TEST(MonitorText, OddEventsDoNotThrow) {
    for (const char* text : {"null", "{}", R"({"type":"drop"})", R"({"type":"trace","src":5})",
                             R"({"type":"policy-verdict","proto":6})"}) {
        EXPECT_NO_THROW(monitor_text(Json::parse(text), {false, true})) << text;
    }
}

}  // namespace
}  // namespace axo::cli
