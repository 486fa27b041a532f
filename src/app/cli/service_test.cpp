// Goldens of the service commands, laid out as the seeds and contracts have Cilium's. A "·" stands for a blank at the
// end of a line.
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "app/cli/service_text.h"
#include "app/cli/tables.h"
#include "bpf/api/types.h"

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

// Where a column's width says nothing that the line does not.
std::string without_blanks(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') out.erase(out.find_last_not_of(' ') + 1);
        out += c;
    }
    return out;
}

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

Json service(int id, const char* address, int port, const char* protocol, const char* type, const Json& backends,
             const char* scope = "external") {
    Json spec{{"id", id},
              {"frontend-address", {{"ip", address}, {"port", port}, {"protocol", protocol}, {"scope", scope}}},
              {"backend-addresses", backends},
              {"flags",
               {{"type", type},
                {"name", "web"},
                {"namespace", "default"},
                {"extTrafficPolicy", "Local"},
                {"intTrafficPolicy", "Cluster"}}}};
    return {{"spec", spec}, {"status", {{"realized", spec}}}};
}

Json backend(const char* address, int port, const char* protocol, const char* state = "active", bool preferred = true) {
    return {{"ip", address}, {"port", port}, {"protocol", protocol}, {"state", state}, {"preferred", preferred}};
}

TEST(ServiceTables, List) {
    const Json answer = Json::array(
        {service(
             2, "10.96.0.10", 53, "UDP", "ClusterIP",
             Json::array({backend("10.0.0.115", 53, "UDP"), backend("10.0.0.63", 53, "UDP", "terminating", false)})),
         service(12, "192.168.122.233", 31355, "TCP", "NodePort", Json::array(), "internal"),
         service(3, "fd00:96::a", 53, "UDP", "LoadBalancer", Json::array({backend("fd00::73", 53, "UDP")})),
         service(1, "10.96.0.1", 443, "TCP", "ClusterIP", Json::array({backend("192.168.122.233", 6443, "TCP")}))});
    EXPECT_EQ(visible(service_list_text(answer, false)),
              R"_(ID   Frontend                      Service Type   Backend··································
1    10.96.0.1:443/TCP             ClusterIP      1 => 192.168.122.233:6443/TCP (active)···
2    10.96.0.10:53/UDP             ClusterIP      1 => 10.0.0.115:53/UDP (active)··········
                                                  2 => 10.0.0.63:53/UDP (terminating)······
3    [fd00:96::a]:53/UDP           LoadBalancer   1 => [fd00::73]:53/UDP (active)··········
12   192.168.122.233:31355/TCP/i   NodePort················································
)_");
    EXPECT_NE(service_list_text(answer, true).find("1 => 10.0.0.115:53/UDP (active) (preferred)"), std::string::npos);
    EXPECT_EQ(service_list_text(answer, true).find("(terminating) (preferred)"), std::string::npos);
}

TEST(ServiceTables, Get) {
    EXPECT_EQ(service_get_text(
                  service(2, "10.96.0.10", 53, "UDP", "ClusterIP", Json::array({backend("10.0.0.115", 53, "UDP")}))),
              "10.96.0.10:53/UDP => ClusterIP default/web, external traffic: Local, internal traffic: Cluster\n"
              "\t\t1 => 10.0.0.115:53/UDP (active) (preferred)\n");
}

LbListing listing() {
    LbListing all;
    const auto add_backend = [&all](std::uint32_t id, const char* address, std::uint16_t port, std::uint8_t protocol,
                                    std::uint32_t pod) {
        all.backends.emplace(id, LbBackendRow{.id = id, .address = {ip(address), port, protocol}, .pod_id = pod});
    };
    add_backend(7, "10.0.0.115", 53, IPPROTO_UDP, 3);
    add_backend(8, "10.0.0.63", 53, IPPROTO_UDP, 4);
    add_backend(9, "2001:db8:1::10", 80, IPPROTO_TCP, 5);
    const auto add = [&all](const char* address, std::uint16_t port, std::uint8_t protocol, std::uint8_t scope,
                            const lb_service& service, std::vector<std::uint32_t> backends) {
        all.frontends.push_back(
            {.key = {ip(address), port, protocol, scope}, .service = service, .backends = std::move(backends)});
    };
    add("0.0.0.0", 31355, IPPROTO_TCP, LB_SCOPE_EXTERNAL, {.rev_nat_index = 6, .flags = LB_F_NODE_PORT}, {});
    add("10.96.0.10", 0, 0, LB_SCOPE_EXTERNAL, {}, {});
    add("10.96.0.10", 53, IPPROTO_UDP, LB_SCOPE_EXTERNAL,
        {.affinity_timeout = 10800, .affinity_group = 5, .rev_nat_index = 2, .backends = 2, .flags = LB_F_AFFINITY},
        {7, 8});
    add("192.0.2.3", 80, IPPROTO_TCP, LB_SCOPE_INTERNAL,
        {.rev_nat_index = 4,
         .backends = 1,
         .flags = LB_F_LOAD_BALANCER | LB_F_ROUTABLE | LB_F_EXT_LOCAL_SCOPE | LB_F_SOURCE_RANGE,
         .flags2 = LB_F2_TWO_SCOPES | LB_F2_SOURCE_RANGE_DENY | LB_F2_DSR | LB_F2_INT_LOCAL_SCOPE},
        {7});
    add("2001:db8:10:96::a", 80, IPPROTO_TCP, LB_SCOPE_EXTERNAL,
        {.rev_nat_index = 3, .backends = 1, .flags = LB_F_EXTERNAL_IP | LB_F_ROUTABLE}, {9});
    return all;
}

TEST(LbTables, List) {
    EXPECT_EQ(without_blanks(
                  two_column_text("SERVICE ADDRESS", "BACKEND ADDRESS (REVNAT_ID) (SLOT)", lb_list_rows(listing()))),
              R"_(SERVICE ADDRESS                  BACKEND ADDRESS (REVNAT_ID) (SLOT)
0.0.0.0:31355/TCP (0)            0.0.0.0:0 (6) (0) [NodePort, non-routable]
10.96.0.10:0/ANY (0)             0.0.0.0:0 (0) (0) [ClusterIP, non-routable]
10.96.0.10:53/UDP (0)            0.0.0.0:0 (2) (0) [ClusterIP, sessionAffinity, non-routable]
10.96.0.10:53/UDP (1)            10.0.0.115:53/UDP (2) (1)
10.96.0.10:53/UDP (2)            10.0.0.63:53/UDP (2) (2)
192.0.2.3:80/TCP/i (0)           0.0.0.0:0 (4) (0) [LoadBalancer, Local, InternalLocal, two-scopes, check source-range, deny, dsr]
192.0.2.3:80/TCP/i (1)           10.0.0.115:53/UDP (4) (1)
[2001:db8:10:96::a]:80/TCP (0)   [::]:0 (3) (0) [ExternalIPs]
[2001:db8:10:96::a]:80/TCP (1)   [2001:db8:1::10]:80/TCP (3) (1)
)_");
}

TEST(LbTables, FrontendsBackendsAndNumbers) {
    const Rows frontends = lb_frontend_rows(listing());
    EXPECT_EQ(frontends[2], (std::pair<std::string, std::string>("10.96.0.10:53/UDP (0)", "0 2[0] (2) [0x10 0x0]")));
    EXPECT_EQ(frontends[4], (std::pair<std::string, std::string>("10.96.0.10:53/UDP (2)", "8 0[0] (2) [0x0 0x0]")));
    EXPECT_EQ(lb_backend_rows(listing()),
              (Rows{{"7", "UDP://10.0.0.115:53"}, {"8", "UDP://10.0.0.63:53"}, {"9", "TCP://[2001:db8:1::10]:80"}}));
    // Other ports of a virtual address have no number of their own.
    EXPECT_EQ(
        lb_rev_nat_rows(listing()),
        (Rows{{"2", "10.96.0.10:53"}, {"3", "[2001:db8:10:96::a]:80"}, {"4", "192.0.2.3:80"}, {"6", "0.0.0.0:31355"}}));
}

TEST(LbTables, SourceRanges) {
    EXPECT_EQ(lb_source_range_rows({{4, Prefix::parse("198.51.100.0/24").value()},
                                    {2, Prefix::parse("10.0.0.0/8").value()},
                                    {99, Prefix::parse("fd00::/8").value()}},
                                   listing()),
              (Rows{{"10.96.0.10:53/UDP (2)", "10.0.0.0/8"},
                    {"192.0.2.3:80/TCP/i (4)", "198.51.100.0/24 [deny]"},
                    {"- (99)", "fd00::/8"}}));
}

TEST(LbTables, Affinity) {
    const std::uint32_t now = 1000;
    EXPECT_EQ(lb_affinity_rows(
                  {{.client = {}, .netns_cookie = 4711, .group = 5, .last_used = now - 75, .pod_id = 4},
                   {.client = ip("172.18.200.10"), .netns_cookie = 0, .group = 9, .last_used = now, .pod_id = 77}},
                  listing(), now),
              (Rows{{"172.18.200.10 (9)", "pod 77 Age=0sec"},
                    {"netns cookie 4711 (5)", "10.0.0.63 Age=10sec Timeout=10800sec"}}));
}

TEST(LbTables, Maglev) {
    EXPECT_EQ(visible(two_column_text("SVC ID", "LOOKUP TABLE", lb_maglev_rows({{2, {7, 8, 8, 7}}, {11, {9}}}))),
              R"_(SVC ID   LOOKUP TABLE···
2        [7 8 8 7]······
11       [9]············
)_");
}

}  // namespace
}  // namespace axo::cli
