// Random policies and random packets: the programs decide as the agent's own reading of the image says, and as a plain
// walk over the rules does.
#include <random>

#include "datapath_fixture.h"
#include "features/policy/image.h"
#include "policy_builder.h"

namespace axo::test {
namespace {

constexpr std::uint32_t kPeers = 40;  // identities of the packets' sender

struct Expected {
    bool allowed;
    std::uint32_t cookie;
};

bool matches(const PolicyRule& rule, std::uint32_t peer, int protocol, std::uint16_t port) {
    if (!rule.peers.empty() && std::ranges::find(rule.peers, peer) == rule.peers.end()) return false;
    return rule.protocol < 0 || (rule.protocol == protocol && port >= rule.first && port <= rule.last);
}

Expected first_match(const PolicySide& side, std::uint32_t peer, int protocol, std::uint16_t port) {
    for (const PolicyRule& rule : side.rules) {
        if (matches(rule, peer, protocol, port)) return {rule.action == POLICY_ALLOW, rule.cookie};
    }
    return {!side.enforced, side.default_cookie};
}

class Random {
public:
    explicit Random(std::uint32_t seed) : engine_(seed) {}
    std::uint32_t below(std::uint32_t bound) {
        return std::uniform_int_distribution<std::uint32_t>(0, bound - 1)(engine_);
    }
    bool one_in(std::uint32_t n) { return below(n) == 0; }
    std::uint16_t port() {
        static constexpr std::uint16_t kEdges[] = {0,   1,   80,   255,   256,   257,   443,
                                                   511, 512, 8080, 65279, 65280, 65534, 65535};
        return one_in(2) ? kEdges[below(std::size(kEdges))] : static_cast<std::uint16_t>(below(65536));
    }

private:
    std::mt19937 engine_;
};

std::uint32_t peer_identity(std::uint32_t number) {
    return 70000 + number * 13;
}

PolicySide random_side(Random& random) {
    static constexpr int kProtocols[] = {-1, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_TCP};
    PolicySide side{.enforced = !random.one_in(5), .default_cookie = 90000, .rules = {}};
    const std::uint32_t count = random.one_in(8) ? 200 + random.below(400) : random.below(12);
    for (std::uint32_t i = 0; i < count; ++i) {
        PolicyRule rule{.cookie = 100 + i};
        rule.action = random.one_in(3) ? POLICY_DENY : POLICY_ALLOW;
        const std::uint32_t peers = random.one_in(4) ? 0 : 1 + random.below(count > 100 ? 3 : 12);
        for (std::uint32_t p = 0; p < peers; ++p) rule.peers.push_back(peer_identity(random.below(kPeers * 2)));
        rule.protocol = kProtocols[random.below(std::size(kProtocols))];
        if (rule.protocol >= 0) {
            rule.first = random.port();
            rule.last = random.one_in(2) ? rule.first : random.port();
            if (rule.first > rule.last) std::swap(rule.first, rule.last);
        }
        side.rules.push_back(std::move(rule));
    }
    std::ranges::stable_sort(side.rules, {}, [](const PolicyRule& rule) { return rule.action == POLICY_DENY ? 0 : 1; });
    return side;
}

// The same rules for the agent's builder.
policy::PolicyImage agents_image(const PolicySide& side) {
    std::vector<std::uint32_t> identities;
    for (std::uint32_t i = 0; i < kPeers * 2; ++i) identities.push_back(peer_identity(i));
    std::vector<std::vector<policy::Slot>> members(side.rules.size());
    policy::ImageDirection ingress{.enforced = side.enforced, .default_cookie = side.default_cookie, .rules = {}};
    for (std::size_t i = 0; i < side.rules.size(); ++i) {
        const PolicyRule& rule = side.rules[i];
        for (const std::uint32_t peer : rule.peers) members[i].push_back((peer - 70000) / 13);
        std::ranges::sort(members[i]);
        members[i].erase(std::unique(members[i].begin(), members[i].end()), members[i].end());
        policy::ImageRule out{
            .everybody = rule.peers.empty(), .members = {}, .all_ports = rule.protocol < 0, .ports = {}};
        if (!out.everybody) out.members.push_back(&members[i]);
        if (!out.all_ports)
            out.ports.push_back({static_cast<policy::Protocol>(rule.protocol), rule.first, rule.last, ""});
        out.verdict = {
            .cookie = rule.cookie, .proxy_port = 0, .action = static_cast<std::uint8_t>(rule.action), .auth_type = 0};
        ingress.rules.push_back(std::move(out));
    }
    policy::ImageBuilder builder;
    auto image = builder.build(ingress, {}, identities);
    EXPECT_TRUE(image) << image.error().to_string();
    return std::move(*image);
}

TEST(PolicyRandom, ProgramsDecideAsTheRulesSay) {
    Datapath datapath("netdev");
    for (std::uint32_t peer = 0; peer < kPeers; ++peer)
        datapath.add_ipcache(("10.0.7." + std::to_string(peer) + "/32").c_str(), peer_identity(peer));
    const char* count = std::getenv("AXO_RANDOM_POLICIES");
    const int policies = count != nullptr ? std::atoi(count) : 120;
    const char* seed = std::getenv("AXO_RANDOM_SEED");
    Random random(seed != nullptr ? static_cast<std::uint32_t>(std::atoi(seed)) : 20261121);
    std::optional<PolicyLocation> before;
    int allowed = 0, denied = 0;
    for (int round = 0; round < policies; ++round) {
        const PolicySide side = random_side(random);
        const policy::PolicyImage image = agents_image(side);
        const bool plain = side.rules.size() < 20 && random.one_in(4);  // it is slow
        const auto placed = datapath.slabs().place(plain ? PolicyImageBuilder::build(side, {}) : image.rows);
        ASSERT_TRUE(placed) << placed.error().to_string();
        datapath.generations().set_policy(Datapath::endpoint_id(1), placed->reference(POLICY_REF_F_INGRESS));
        if (before) datapath.slabs().retire(*before);
        before = *placed;
        if (round % 16 == 15) {
            const auto batch = datapath.slabs().take_retired();
            ASSERT_TRUE(batch.wait());
            datapath.slabs().free(batch);
        }
        for (int probe = 0; probe < 40; ++probe) {
            const std::uint32_t peer = random.below(kPeers);
            const bool udp = random.one_in(3);
            const std::uint16_t port = random.port();
            const int protocol = udp ? IPPROTO_UDP : IPPROTO_TCP;
            const std::string source = "10.0.7." + std::to_string(peer);
            PacketBuilder packet;
            packet.eth(MacAddress({2, 0, 0, 0, 9, 1}), MacAddress({2, 0, 0, 0, 9, 2})).ipv4(source.c_str(), "10.0.1.1");
            // Another source port each time: always a new connection.
            const auto source_port = static_cast<std::uint16_t>(1 + (round * 40 + probe) % 65535);
            if (udp) {
                packet.udp(source_port, port);
            } else {
                packet.tcp(source_port, port, tcp::kSyn);
            }
            const Expected expected = first_match(side, peer_identity(peer), protocol, port);
            const auto read = policy::lookup(image.rows, policy::Direction::kIngress, IdentityId(peer_identity(peer)),
                                             static_cast<std::uint8_t>(protocol), port);
            const bool passed = datapath.run("cil_from_netdev", packet.build(), "eth0").return_value == kRedirect;
            const std::string what = "policy " + std::to_string(round) + ", peer " + std::to_string(peer) +
                                     (udp ? ", UDP " : ", TCP ") + std::to_string(port);
            ASSERT_EQ(passed, expected.allowed) << what;
            ASSERT_EQ(read.allowed(), expected.allowed) << what;
            ASSERT_EQ(read.cookie, expected.cookie) << what;
            ++(passed ? allowed : denied);
            const auto events = datapath.events();
            ASSERT_FALSE(events.empty());
            ASSERT_EQ(events[0].type, EVENT_POLICY_VERDICT) << what;
            ASSERT_EQ(events[0].rule_cookie, expected.cookie) << what;
        }
    }
    EXPECT_GT(allowed, policies * 5);
    EXPECT_GT(denied, policies * 5);
}

}  // namespace
}  // namespace axo::test
