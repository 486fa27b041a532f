// Random clusters of policies by labels, and real packets: the programs decide, and name who decided, as an oracle says
// that knows nothing of engine, images and maps.
#include "datapath_fixture.h"
#include "features/policy/oracle_fixture.h"

namespace axo::test {
namespace {

using namespace policy;
using oracle::World;

const MacAddress kFrom({2, 0, 0, 0, 9, 1}), kTo({2, 0, 0, 0, 9, 2});

// What the programs of one hook have seen of a packet of one subject.
class Asked {
public:
    Asked() : netdev_("netdev", {.host_firewall = true}), pod_("pod", {.host_firewall = true}) {}

    void know(const World& world) {
        std::set<IdentityId> peers{IdentityId(4711)};
        for (const auto& [id, known] : world.identities) peers.insert(id);
        for (const IdentityId id : peers) {
            if (addresses_.contains(id)) continue;
            const std::string number = std::to_string(addresses_.size() + 1);
            addresses_[id] = {"10.0.7." + number, "fd00:7::" + number};
            for (Datapath* each : {&netdev_, &pod_}) {
                each->add_ipcache(("10.0.7." + number + "/32").c_str(), id.value);
                each->add_ipcache(("fd00:7::" + number + "/128").c_str(), id.value);
            }
        }
    }
    // In force for the pod, or for the node.
    void use(const PolicyImage& image, bool host) {
        for (Datapath* each : {&netdev_, &pod_}) {
            const std::uint32_t flags = image.ref_flags & ~POLICY_REF_F_READY;
            if (host)
                each->set_host_policy(image.rows, flags);
            else
                each->set_policy(1, image.rows, flags);
        }
    }
    // The program's verdict on the first packet of a new connection, and the rule that the event names.
    std::pair<bool, std::optional<std::uint32_t>> ask(bool host, Direction direction, IdentityId peer,
                                                      std::uint8_t protocol, std::uint16_t port, bool v6) {
        const bool ingress = direction == Direction::kIngress;
        const char* own = host ? (v6 ? "fd00:18::2" : "172.18.0.2") : (v6 ? "fd00:10:1::1" : "10.0.1.1");
        const std::string other = v6 ? addresses_.at(peer).second : addresses_.at(peer).first;
        const char* source = ingress ? other.c_str() : own;
        const char* destination = ingress ? own : other.c_str();
        PacketBuilder packet;
        packet.eth(kFrom, kTo);
        v6 ? packet.ipv6(source, destination) : packet.ipv4(source, destination);
        const auto fresh = static_cast<std::uint16_t>(1 + ++connections_ % 65535);
        if (protocol == IPPROTO_TCP)
            packet.tcp(fresh, port, tcp::kSyn);
        else if (protocol == IPPROTO_UDP)
            packet.udp(fresh, port);
        else
            packet.icmp(static_cast<std::uint8_t>(port), 0, fresh, 1, v6);
        Datapath& datapath = ingress || host ? netdev_ : pod_;
        const char* program = ingress ? "cil_from_netdev" : host ? "cil_to_netdev" : "cil_from_container";
        const std::uint32_t verdict =
            datapath.run(program, packet.build(), ingress || host ? "eth0" : "lxc1").return_value;
        std::optional<std::uint32_t> cookie;
        for (const flow_event& event : datapath.events()) {
            if (event.type == EVENT_POLICY_VERDICT) cookie = event.rule_cookie;
        }
        return {verdict != kDrop, cookie};
    }

private:
    Datapath netdev_, pod_;
    std::map<IdentityId, std::pair<std::string, std::string>> addresses_;
    std::uint32_t connections_ = 0;
};

TEST(PolicyOracle, ProgramsSayWhatTheRulesSay) {
    const char* count = std::getenv("AXO_RANDOM_WORLDS");
    const int worlds = count != nullptr ? std::atoi(count) : 300;
    Asked asked;
    std::map<std::string, int> seen;
    for (int seed = 1; seed <= worlds; ++seed) {
        oracle::Worlds random(static_cast<std::uint64_t>(seed) + 3'000'000);
        const World world = random.world();
        PolicyEngine engine(world.settings);
        oracle::fill(engine, world);
        engine.changes();
        asked.know(world);
        const oracle::Oracle oracle(world);
        for (const auto& [id, subject] : world.subjects) {
            asked.use(*engine.image(id), subject.host);
            for (int probe = 0; probe < 8; ++probe) {
                const Direction direction = random.one_in(2) ? Direction::kIngress : Direction::kEgress;
                const IdentityId peer = random.peer(world);
                const bool v6 = random.one_in(2);
                // Of ICMP echo requests: other types are no connections, errors belong to some.
                const std::uint8_t icmp = v6 ? std::uint8_t{IPPROTO_ICMPV6} : std::uint8_t{IPPROTO_ICMP};
                std::uint8_t protocol = random.one_in(3) ? IPPROTO_UDP : IPPROTO_TCP;
                std::uint16_t port = random.port();
                if (random.one_in(5)) {
                    protocol = icmp;
                    port = v6 ? 128 : 8;
                }
                // With both families the world is one of its halves.
                const IdentityId half = v6 ? identity::kWorldIpv6 : identity::kWorldIpv4;
                const IdentityId known_as = peer == identity::kWorld ? half : peer;
                const oracle::Verdict expected = oracle.verdict(subject, direction, known_as, protocol, port);
                const auto [passed, cookie] = asked.ask(subject.host, direction, peer, protocol, port, v6);
                const std::string where = "seed " + std::to_string(seed) + " endpoint " + id.to_string() +
                                          (subject.host ? " (host) " : " ") + direction_text(direction) + " peer " +
                                          peer.to_string() + " protocol " + std::to_string(protocol) + " port " +
                                          std::to_string(port) + (v6 ? " IPv6" : " IPv4");
                ASSERT_EQ(passed, expected.allowed) << where;
                ++seen[expected.decider.kind + (passed ? " allows" : " denies")];
                if (!cookie) {  // nothing is enforced in this direction
                    ASSERT_EQ(expected.decider.kind, "none") << where;
                    continue;
                }
                const std::optional<RuleInfo> rule = engine.rule(*cookie);
                ASSERT_TRUE(rule) << where;
                ASSERT_EQ(oracle::decider_of(*rule), expected.decider) << where;
            }
        }
    }
    for (const char* outcome : {"rule allows", "rule denies", "default denies", "localhost allows", "none allows"})
        EXPECT_GE(seen[outcome], worlds / 20) << outcome;
}

}  // namespace
}  // namespace axo::test
