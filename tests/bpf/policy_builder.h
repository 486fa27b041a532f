// Policy images for tests, built the plain way: every identity that is named is a class of its own, every port of a
// protocol that some rule names is looked at. Knows nothing of the agent's builder.
#pragma once

#include <linux/in.h>

#include <bit>
#include <map>
#include <span>
#include <vector>

#include "bpf/api/policy.h"

namespace axo::test {

struct PolicyRule {
    std::uint32_t cookie = 0;
    policy_action action = POLICY_ALLOW;
    std::vector<std::uint32_t> peers{};  // identities; empty: everybody
    int protocol = -1;                   // -1: every protocol and port
    std::uint16_t first = 0, last = 65535;
};

// In order of precedence.
struct PolicySide {
    bool enforced = false;
    std::uint32_t default_cookie = 0;
    std::vector<PolicyRule> rules{};
};

class PolicyImageBuilder {
public:
    // Rows of the identity table at least; more of them means less probing.
    static std::vector<policy_row> build(const PolicySide& ingress, const PolicySide& egress) {
        std::vector<policy_row> rows(2);
        add(rows, 0, ingress);
        add(rows, 1, egress);
        return rows;
    }
    static policy_slot slot_of(int protocol) {
        switch (protocol) {
            case IPPROTO_TCP: return POLICY_SLOT_TCP;
            case IPPROTO_UDP: return POLICY_SLOT_UDP;
            case IPPROTO_SCTP: return POLICY_SLOT_SCTP;
            case IPPROTO_ICMP: return POLICY_SLOT_ICMP;
            case IPPROTO_ICMPV6: return POLICY_SLOT_ICMPV6;
            case 112: return POLICY_SLOT_VRRP;
            case IPPROTO_IGMP: return POLICY_SLOT_IGMP;
            default: return POLICY_SLOT_OTHER;
        }
    }

private:
    using Set = std::vector<bool>;

    static std::uint32_t append(std::vector<policy_row>& rows, const std::vector<Set>& sets, std::size_t stride) {
        const std::size_t first = rows.size();
        rows.resize(first + sets.size() * stride);
        for (std::size_t set = 0; set < sets.size(); ++set) {
            for (std::size_t rule = 0; rule < sets[set].size(); ++rule) {
                if (!sets[set][rule]) continue;
                rows[first + set * stride + (rule >> 8)].rules[(rule >> 6) & 3] |= std::uint64_t{1} << (rule & 63);
            }
        }
        return static_cast<std::uint32_t>(first);
    }

    static bool has_port(const PolicyRule& rule, policy_slot slot, std::uint32_t port) {
        if (rule.protocol < 0) return true;
        return slot != POLICY_SLOT_OTHER && slot_of(rule.protocol) == slot && port >= rule.first && port <= rule.last;
    }

    static void add(std::vector<policy_row>& rows, std::size_t side, const PolicySide& policy) {
        policy_direction header{};
        header.flags = policy.enforced ? POLICY_DIR_F_ENFORCED : 0;
        header.default_cookie = policy.default_cookie;
        const std::vector<PolicyRule>& rules = policy.rules;
        header.stride = static_cast<std::uint16_t>((rules.size() + 255) / 256);
        if (!rules.empty()) {
            std::vector<Set> classes(1, Set(rules.size()));
            for (std::size_t r = 0; r < rules.size(); ++r) classes[0][r] = rules[r].peers.empty();
            std::map<std::uint32_t, std::uint16_t> class_of;
            for (std::size_t r = 0; r < rules.size(); ++r) {
                for (const std::uint32_t peer : rules[r].peers) {
                    const auto [at, inserted] = class_of.emplace(peer, static_cast<std::uint16_t>(classes.size()));
                    if (inserted) classes.push_back(Set(classes[0]));
                    classes[at->second][r] = true;
                }
            }
            std::vector<policy_row> table;
            for (std::size_t count = 1; table.empty(); count *= 2) table = identity_table(class_of, count);
            header.identities = static_cast<std::uint32_t>(rows.size());
            header.identity_mask = static_cast<std::uint32_t>(table.size() - 1);
            rows.insert(rows.end(), table.begin(), table.end());
            header.classes = append(rows, classes, header.stride);

            std::map<Set, std::uint16_t> numbers;
            std::vector<Set> segments;
            const auto number_of = [&](policy_slot slot, std::uint32_t port) {
                Set set(rules.size());
                for (std::size_t r = 0; r < rules.size(); ++r) set[r] = has_port(rules[r], slot, port);
                const auto [at, inserted] = numbers.emplace(set, static_cast<std::uint16_t>(segments.size()));
                if (inserted) segments.push_back(set);
                return at->second;
            };
            header.ports = static_cast<std::uint32_t>(rows.size());
            rows.emplace_back();
            std::uint32_t blocks = 0;
            const auto entry = [&](std::uint32_t block, std::uint32_t index) -> __u16& {
                return rows[header.ports + 1 + block * 16 + index / 16].shorts[index % 16];
            };
            for (int slot = 0; slot < POLICY_SLOTS; ++slot) {
                bool named = false;
                for (const PolicyRule& rule : rules)
                    named = named || (rule.protocol >= 0 && slot_of(rule.protocol) == slot && slot != 0);
                const auto which = static_cast<policy_slot>(slot);
                if (!named) {
                    rows[header.ports].protocols.segment[slot] = number_of(which, 0);
                    continue;
                }
                const std::uint32_t directory = blocks++;
                rows[header.ports].protocols.directory[slot] = static_cast<std::uint16_t>(directory + 1);
                rows.resize(rows.size() + 16);
                for (std::uint32_t high = 0; high < 256; ++high) {
                    std::vector<std::uint16_t> low(256);
                    bool same = true;
                    for (std::uint32_t port = 0; port < 256; ++port) {
                        low[port] = number_of(which, high << 8 | port);
                        same = same && low[port] == low[0];
                    }
                    if (same) {
                        entry(directory, high) = low[0];
                        continue;
                    }
                    const std::uint32_t block = blocks++;
                    rows.resize(rows.size() + 16);
                    entry(directory, high) = static_cast<std::uint16_t>(POLICY_PORT_BLOCK | block);
                    for (std::uint32_t port = 0; port < 256; ++port) entry(block, port) = low[port];
                }
            }
            header.segments = append(rows, segments, header.stride);
            header.verdicts = static_cast<std::uint32_t>(rows.size());
            rows.resize(rows.size() + (rules.size() + 3) / 4);
            for (std::size_t r = 0; r < rules.size(); ++r) {
                policy_verdict& verdict = rows[header.verdicts + r / 4].verdict[r & 3];
                verdict.cookie = rules[r].cookie;
                verdict.action = static_cast<std::uint8_t>(rules[r].action);
            }
        }
        rows[side].direction = header;
    }

    // Empty: with so few rows somebody would lie too far from where its search starts.
    static std::vector<policy_row> identity_table(const std::map<std::uint32_t, std::uint16_t>& class_of,
                                                  std::size_t count) {
        std::vector<policy_row> table(count);
        const auto mask = static_cast<std::uint32_t>(count - 1);
        for (const auto& [identity, number] : class_of) {
            bool placed = false;
            for (std::uint32_t probe = 0; probe < POLICY_MAX_PROBES && !placed; ++probe) {
                policy_bucket& bucket = table[(axo_policy_bucket(identity, mask) + probe) & mask].bucket;
                for (int i = 0; i < POLICY_BUCKET_SLOTS && !placed; ++i) {
                    if (bucket.identity[i] != 0) continue;
                    bucket.identity[i] = identity;
                    bucket.class_of[i] = number;
                    placed = true;
                }
                if (!placed) bucket.more = 1;
            }
            if (!placed) return {};
        }
        return table;
    }
};

}  // namespace axo::test
