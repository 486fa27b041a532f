#include "features/policy/image.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <unordered_map>

namespace axo::policy {
namespace {

constexpr std::size_t kWordsPerRow = POLICY_RULES_PER_ROW / 64;
constexpr std::size_t kMaxRules = std::size_t{POLICY_MAX_RULE_ROWS} * POLICY_RULES_PER_ROW;
constexpr std::size_t kMaxSegments = POLICY_PORT_BLOCK - 1;
constexpr std::size_t kMaxClasses = 65535;
constexpr std::size_t kMaxRows = std::size_t{POLICY_REF_ROW_MASK} + 1;
constexpr std::size_t kBlockEntries = 256;
constexpr std::size_t kBlockRows = kBlockEntries * sizeof(std::uint16_t) / sizeof(policy_row);

std::uint64_t mix(std::uint64_t hash, std::uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
    return hash ^ (hash >> 29);
}

// Distinct rule sets in the order in which they were first asked for.
class SetTable {
public:
    explicit SetTable(std::size_t words) : words_(words) {}

    std::uint32_t number_of(const std::uint64_t* set) {
        if (2 * (count_ + 1) > slots_.size()) grow();
        std::uint32_t& slot = find(set);
        if (slot == 0) {
            data_.insert(data_.end(), set, set + words_);
            slot = static_cast<std::uint32_t>(++count_);
        }
        return slot - 1;
    }
    [[nodiscard]] std::size_t size() const { return count_; }

    void append_to(std::vector<policy_row>& rows) const {
        const std::size_t first = rows.size();
        rows.resize(first + count_ * words_ / kWordsPerRow);
        std::memcpy(static_cast<void*>(rows.data() + first), data_.data(), data_.size() * sizeof(std::uint64_t));
    }

private:
    std::uint32_t& find(const std::uint64_t* set) {
        std::uint64_t hash = 0;
        for (std::size_t word = 0; word < words_; ++word) hash = mix(hash, set[word]);
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
            std::uint32_t& slot = slots_[at];
            if (slot == 0 || std::equal(set, set + words_, data_.data() + (slot - 1) * words_)) return slot;
        }
    }
    void grow() {
        slots_.assign(std::max<std::size_t>(16, slots_.size() * 2), 0);
        for (std::size_t set = 0; set < count_; ++set) {
            find(data_.data() + set * words_) = static_cast<std::uint32_t>(set + 1);
        }
    }

    std::size_t words_;
    std::size_t count_ = 0;
    std::vector<std::uint64_t> data_;
    std::vector<std::uint32_t> slots_;  // 1 + number of a set; open addressing
};

// Which slots the ports of a protocol belong to.
bool covers(Protocol protocol, policy_slot slot) {
    if (protocol == Protocol::kAny) {
        return slot == POLICY_SLOT_TCP || slot == POLICY_SLOT_UDP || slot == POLICY_SLOT_SCTP;
    }
    return slot != POLICY_SLOT_OTHER && slot_of_protocol(static_cast<std::uint8_t>(protocol)) == slot;
}

struct PortEdge {
    std::uint32_t port;
    std::uint32_t rule;
    std::int32_t delta;
};

// The ports of one protocol, cut where the set of rules changes.
struct Segment {
    std::uint32_t first;
    std::uint32_t number;
};

class PortTables {
public:
    PortTables(const std::vector<ImageRule>& rules, std::size_t words)
        : rules_(rules), segments_(words), set_(words), active_(rules.size()) {}

    Status build() {
        std::vector<std::vector<Segment>> cuts(POLICY_SLOTS);
        for (std::uint32_t slot = 0; slot < POLICY_SLOTS; ++slot) {
            cuts[slot] = cut(static_cast<policy_slot>(slot));
            if (segments_.size() > kMaxSegments) {
                return fail(Code::kResourceExhausted,
                            "its rules cut the ports into more than " + std::to_string(kMaxSegments) + " parts");
            }
        }
        for (std::uint32_t slot = 0; slot < POLICY_SLOTS; ++slot) {
            if (cuts[slot].size() == 1) {
                protocols_.segment[slot] = static_cast<std::uint16_t>(cuts[slot].front().number);
            } else {
                protocols_.directory[slot] = static_cast<std::uint16_t>(1 + add_directory(cuts[slot]));
            }
        }
        return {};
    }
    void append_protocols_to(std::vector<policy_row>& rows) const {
        rows.push_back({.protocols = protocols_});
        const std::size_t first = rows.size();
        rows.resize(first + blocks_.size() * kBlockRows);
        for (std::size_t block = 0; block < blocks_.size(); ++block) {
            std::memcpy(static_cast<void*>(rows.data() + first + block * kBlockRows), blocks_[block].data(),
                        sizeof(Block));
        }
    }
    [[nodiscard]] const SetTable& segments() const { return segments_; }

private:
    using Block = std::array<std::uint16_t, kBlockEntries>;

    void set_rule(std::uint32_t rule, bool on) {
        const std::uint64_t bit = std::uint64_t{1} << (rule & 63);
        if (on) {
            set_[rule >> 6] |= bit;
        } else {
            set_[rule >> 6] &= ~bit;
        }
    }

    std::vector<Segment> cut(policy_slot slot) {
        std::vector<PortEdge> edges;
        std::ranges::fill(set_, 0);
        for (std::uint32_t rule = 0; rule < rules_.size(); ++rule) {
            if (rules_[rule].all_ports) {
                set_rule(rule, true);
                continue;
            }
            for (const PortRange& range : rules_[rule].ports) {
                if (!covers(range.protocol, slot) || range.first > range.last) continue;
                edges.push_back({range.first, rule, +1});
                edges.push_back({std::uint32_t{range.last} + 1, rule, -1});
            }
        }
        std::ranges::sort(edges, {}, &PortEdge::port);
        std::vector<Segment> segments;
        std::ranges::fill(active_, 0);
        std::size_t edge = 0;
        std::uint32_t port = 0;
        while (true) {
            for (; edge < edges.size() && edges[edge].port == port; ++edge) {
                std::int32_t& active = active_[edges[edge].rule];
                active += edges[edge].delta;
                set_rule(edges[edge].rule, active > 0);
            }
            const std::uint32_t number = segments_.number_of(set_.data());
            if (segments.empty() || segments.back().number != number) segments.push_back({port, number});
            if (edge == edges.size() || edges[edge].port > 65535 || segments_.size() > kMaxSegments) return segments;
            port = edges[edge].port;
        }
    }

    std::uint16_t add_block(const Block& block) {
        const auto [at, inserted] = block_numbers_.emplace(block, static_cast<std::uint16_t>(blocks_.size()));
        if (inserted) blocks_.push_back(block);
        return at->second;
    }

    std::uint16_t add_directory(const std::vector<Segment>& segments) {
        Block directory;
        std::size_t at = 0;  // the segment that holds the port looked at
        for (std::uint32_t high = 0; high < kBlockEntries; ++high) {
            const std::uint32_t first = high << 8;
            while (at + 1 < segments.size() && segments[at + 1].first <= first) ++at;
            if (at + 1 == segments.size() || segments[at + 1].first > first + 255) {
                directory[high] = static_cast<std::uint16_t>(segments[at].number);
                continue;
            }
            Block block;
            for (std::uint32_t low = 0; low < kBlockEntries; ++low) {
                while (at + 1 < segments.size() && segments[at + 1].first <= first + low) ++at;
                block[low] = static_cast<std::uint16_t>(segments[at].number);
            }
            directory[high] = static_cast<std::uint16_t>(POLICY_PORT_BLOCK | add_block(block));
        }
        return add_block(directory);
    }

    const std::vector<ImageRule>& rules_;
    SetTable segments_;
    policy_protocols protocols_{};
    std::vector<Block> blocks_;
    std::map<Block, std::uint16_t> block_numbers_;
    std::vector<std::uint64_t> set_;
    std::vector<std::int32_t> active_;  // by rule: its ranges that hold the port looked at
};

struct IdentityClass {
    std::uint32_t identity;
    std::uint16_t class_of;
};

// False if some identity would lie further than a lookup goes.
bool fill_buckets(std::span<policy_bucket> buckets, const std::vector<IdentityClass>& entries) {
    const std::uint32_t mask = static_cast<std::uint32_t>(buckets.size()) - 1;
    for (const IdentityClass& entry : entries) {
        std::uint32_t row = axo_policy_bucket(entry.identity, mask);
        bool placed = false;
        for (int probe = 0; probe < POLICY_MAX_PROBES && !placed; ++probe, row = (row + 1) & mask) {
            policy_bucket& bucket = buckets[row];
            for (int slot = 0; slot < POLICY_BUCKET_SLOTS && !placed; ++slot) {
                if (bucket.identity[slot] != 0) continue;
                bucket.identity[slot] = entry.identity;
                bucket.class_of[slot] = entry.class_of;
                placed = true;
            }
            if (!placed) bucket.more = 1;
        }
        if (!placed) return false;
    }
    return true;
}

Status append_identities(const std::vector<IdentityClass>& entries, policy_direction& header,
                         std::vector<policy_row>& rows) {
    header.identities = static_cast<std::uint32_t>(rows.size());
    // About half full: most identities are found in the first row.
    for (std::size_t count = std::bit_ceil(std::max<std::size_t>(1, entries.size() / 3)); count <= kMaxRows;
         count *= 2) {
        std::vector<policy_bucket> buckets(count);
        if (!fill_buckets(buckets, entries)) continue;
        header.identity_mask = static_cast<std::uint32_t>(count - 1);
        for (const policy_bucket& bucket : buckets) rows.push_back({.bucket = bucket});
        return {};
    }
    return fail(Code::kResourceExhausted, "its identities do not fit into one image");
}

std::uint64_t hash_of(std::span<const policy_row> rows) {
    std::uint64_t hash = rows.size();
    for (const policy_row& row : rows) {
        for (const std::uint64_t word : row.rules) hash = mix(hash, word);
    }
    return hash;
}

}  // namespace

bool operator==(const PolicyImage& a, const PolicyImage& b) {
    return a.hash == b.hash && a.rows.size() == b.rows.size() &&
           std::memcmp(a.rows.data(), b.rows.data(), a.bytes()) == 0;
}

policy_slot slot_of_protocol(std::uint8_t protocol) {
    switch (static_cast<Protocol>(protocol)) {
        case Protocol::kTcp: return POLICY_SLOT_TCP;
        case Protocol::kUdp: return POLICY_SLOT_UDP;
        case Protocol::kSctp: return POLICY_SLOT_SCTP;
        case Protocol::kIcmp: return POLICY_SLOT_ICMP;
        case Protocol::kIcmpv6: return POLICY_SLOT_ICMPV6;
        case Protocol::kVrrp: return POLICY_SLOT_VRRP;
        case Protocol::kIgmp: return POLICY_SLOT_IGMP;
        case Protocol::kAny: break;
    }
    return POLICY_SLOT_OTHER;
}

Status ImageBuilder::add_direction(Direction direction, const ImageDirection& input,
                                   std::span<const std::uint32_t> identities, std::vector<policy_row>& rows) {
    policy_direction header{};
    header.default_cookie = input.default_cookie;
    header.flags = input.enforced ? POLICY_DIR_F_ENFORCED : 0;
    const std::size_t number = direction == Direction::kIngress ? 0 : 1;
    const std::vector<ImageRule>& rules = input.rules;
    if (rules.empty()) {
        rows[number].direction = header;
        return {};
    }
    if (rules.size() > kMaxRules) {
        return fail(Code::kResourceExhausted, std::to_string(rules.size()) + " rules; at most " +
                                                  std::to_string(kMaxRules) + " fit into one direction of an endpoint");
    }
    const std::size_t stride = (rules.size() + POLICY_RULES_PER_ROW - 1) / POLICY_RULES_PER_ROW;
    const std::size_t words = stride * kWordsPerRow;
    header.stride = static_cast<std::uint16_t>(stride);

    // Which rules select which identity; only of those that some rule names.
    std::vector<std::uint64_t> everybody(words);
    for (std::size_t rule = 0; rule < rules.size(); ++rule) {
        if (rules[rule].everybody) everybody[rule >> 6] |= std::uint64_t{1} << (rule & 63);
    }
    touched_.resize(std::max(touched_.size(), identities.size()));
    found_.clear();
    sets_.clear();
    for (std::size_t rule = 0; rule < rules.size(); ++rule) {
        if (rules[rule].everybody) continue;
        const std::size_t word = rule >> 6;
        const std::uint64_t bit = std::uint64_t{1} << (rule & 63);
        for (const std::vector<Slot>* members : rules[rule].members) {
            for (const Slot slot : *members) {
                std::uint32_t& place = touched_[slot];
                if (place == 0) {
                    found_.push_back(slot);
                    place = static_cast<std::uint32_t>(found_.size());
                    sets_.insert(sets_.end(), everybody.begin(), everybody.end());
                }
                sets_[(place - 1) * words + word] |= bit;
            }
        }
    }

    std::vector<std::pair<std::uint32_t, std::uint32_t>> order;  // identity, place
    order.reserve(found_.size());
    for (std::uint32_t place = 0; place < found_.size(); ++place) {
        order.emplace_back(identities[found_[place]], place);
        touched_[found_[place]] = 0;
    }
    std::ranges::sort(order);
    SetTable classes(words);
    classes.number_of(everybody.data());
    std::vector<IdentityClass> entries;
    entries.reserve(order.size());
    for (const auto& [identity, place] : order) {
        const std::uint32_t number_of_class = classes.number_of(sets_.data() + place * words);
        if (number_of_class > kMaxClasses) {
            return fail(Code::kResourceExhausted,
                        "its rules part the identities into more than " + std::to_string(kMaxClasses) + " classes");
        }
        if (number_of_class != 0) entries.push_back({identity, static_cast<std::uint16_t>(number_of_class)});
    }
    PortTables ports(rules, words);
    TRY(ports.build());

    TRY(append_identities(entries, header, rows));
    header.classes = static_cast<std::uint32_t>(rows.size());
    classes.append_to(rows);
    header.ports = static_cast<std::uint32_t>(rows.size());
    ports.append_protocols_to(rows);
    header.segments = static_cast<std::uint32_t>(rows.size());
    ports.segments().append_to(rows);
    header.verdicts = static_cast<std::uint32_t>(rows.size());
    rows.resize(rows.size() + (rules.size() + 3) / 4);
    for (std::size_t rule = 0; rule < rules.size(); ++rule) {
        rows[header.verdicts + rule / 4].verdict[rule & 3] = rules[rule].verdict;
    }
    rows[number].direction = header;
    return {};
}

Result<PolicyImage> ImageBuilder::build(const ImageDirection& ingress, const ImageDirection& egress,
                                        std::span<const std::uint32_t> identities) {
    PolicyImage image;
    image.rows.resize(2);
    for (const Direction direction : {Direction::kIngress, Direction::kEgress}) {
        const ImageDirection& input = direction == Direction::kIngress ? ingress : egress;
        if (Status added = add_direction(direction, input, identities, image.rows); !added) {
            return std::unexpected(
                std::move(added).error().with_context(std::string(direction_text(direction)) + " policy"));
        }
    }
    if (image.rows.size() > kMaxRows) {
        return fail(Code::kResourceExhausted, "an image of " + std::to_string(image.rows.size()) + " rows; at most " +
                                                  std::to_string(kMaxRows) + " fit into one slab");
    }
    image.rows.shrink_to_fit();
    image.hash = hash_of(image.rows);
    image.ref_flags = POLICY_REF_F_READY;
    if (ingress.enforced || !ingress.rules.empty()) image.ref_flags |= POLICY_REF_F_INGRESS;
    if (egress.enforced || !egress.rules.empty()) image.ref_flags |= POLICY_REF_F_EGRESS;
    return image;
}

Lookup lookup(std::span<const policy_row> rows, Direction direction, IdentityId identity, std::uint8_t protocol,
              std::uint16_t port) {
    const policy_direction& header = rows[direction == Direction::kIngress ? 0 : 1].direction;
    Lookup result;
    result.action = (header.flags & POLICY_DIR_F_ENFORCED) != 0 ? POLICY_DENY : POLICY_ALLOW;
    result.cookie = header.default_cookie;
    if (header.stride == 0) return result;

    std::uint32_t class_of = 0;
    std::uint32_t row = axo_policy_bucket(identity.value, header.identity_mask);
    for (int probe = 0; probe < POLICY_MAX_PROBES && identity.value != 0; ++probe) {
        const policy_bucket& bucket = rows[header.identities + row].bucket;
        for (int slot = 0; slot < POLICY_BUCKET_SLOTS; ++slot) {
            if (bucket.identity[slot] == identity.value) class_of = bucket.class_of[slot];
        }
        if (class_of != 0 || bucket.more == 0) break;
        row = (row + 1) & header.identity_mask;
    }

    const policy_slot slot = slot_of_protocol(protocol);
    const policy_protocols& protocols = rows[header.ports].protocols;
    std::uint32_t segment = protocols.segment[slot];
    if (protocols.directory[slot] != 0) {
        const auto entry = [&](std::uint32_t block, std::uint32_t index) {
            return rows[header.ports + 1 + block * kBlockRows + index / 16].shorts[index % 16];
        };
        segment = entry(protocols.directory[slot] - 1U, port >> 8);
        if ((segment & POLICY_PORT_BLOCK) != 0) segment = entry(segment & ~POLICY_PORT_BLOCK, port & 255);
    }

    for (std::uint32_t part = 0; part < header.stride; ++part) {
        const policy_row& peers = rows[header.classes + class_of * header.stride + part];
        const policy_row& ports = rows[header.segments + segment * header.stride + part];
        for (std::uint32_t word = 0; word < kWordsPerRow; ++word) {
            const std::uint64_t both = peers.rules[word] & ports.rules[word];
            if (both == 0) continue;
            const std::uint32_t rule =
                part * POLICY_RULES_PER_ROW + word * 64 + static_cast<std::uint32_t>(std::countr_zero(both));
            const policy_verdict& verdict = rows[header.verdicts + rule / 4].verdict[rule & 3];
            return {.action = verdict.action,
                    .matched = true,
                    .cookie = verdict.cookie,
                    .proxy_port = verdict.proxy_port,
                    .auth_type = verdict.auth_type};
        }
    }
    return result;
}

}  // namespace axo::policy
