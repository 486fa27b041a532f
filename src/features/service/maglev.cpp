#include "features/service/maglev.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace axo::service {
namespace {

constexpr std::array<std::uint32_t, 10> kSizes{251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071};
constexpr std::size_t kSeedBytes = 12;

Result<std::vector<std::uint8_t>> decode_base64(std::string_view text) {
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (text.ends_with('=')) text.remove_suffix(1);
    std::vector<std::uint8_t> bytes;
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
        const std::size_t value = kAlphabet.find(c);
        if (value == std::string_view::npos) return fail(Code::kInvalidArgument, "");
        bits = bits << 6 | static_cast<std::uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes.push_back(static_cast<std::uint8_t>(bits >> count));
        }
    }
    return bytes;
}

std::uint64_t mix(std::uint64_t k) {
    k ^= k >> 33;
    k *= 0xff51afd7ed558ccdULL;
    k ^= k >> 33;
    k *= 0xc4ceb9fe1a85ec53ULL;
    return k ^ k >> 33;
}

}  // namespace

std::span<const std::uint32_t> maglev_table_sizes() {
    return kSizes;
}

Status check_maglev_table_size(std::uint32_t size) {
    if (std::ranges::find(kSizes, size) != kSizes.end()) return {};
    std::string accepted;
    for (const std::uint32_t one : kSizes) accepted += (accepted.empty() ? "" : ", ") + std::to_string(one);
    return fail(Code::kInvalidArgument,
                "bpf-lb-maglev-table-size: \"" + std::to_string(size) + "\": accepted: " + accepted);
}

Result<MaglevSeeds> parse_maglev_seed(std::string_view base64) {
    const auto bytes = decode_base64(base64);
    if (!bytes || bytes->size() != kSeedBytes) {
        return fail(Code::kInvalidArgument, "bpf-lb-maglev-hash-seed: \"" + std::string(base64) +
                                                "\": accepted: 12 bytes in base64, for instance \"JLfvgnHc2kaSUFaI\"");
    }
    const auto word = [&](std::size_t at) {
        return static_cast<std::uint32_t>((*bytes)[at]) << 24 | static_cast<std::uint32_t>((*bytes)[at + 1]) << 16 |
               static_cast<std::uint32_t>((*bytes)[at + 2]) << 8 | (*bytes)[at + 3];
    };
    return MaglevSeeds{word(0), {word(4), word(8)}};
}

std::string maglev_name(std::string_view address, bool internal_scope) {
    return "[" + std::string(address) + (internal_scope ? "/i" : "") + ",State:active]";
}

std::array<std::uint64_t, 2> murmur3_128(std::string_view data, std::uint32_t seed) {
    constexpr std::uint64_t c1 = 0x87c37b91114253d5ULL, c2 = 0x4cf5ad432745937fULL;
    std::uint64_t h1 = seed, h2 = seed;
    const auto scramble1 = [](std::uint64_t k) { return std::rotl(k * c1, 31) * c2; };
    const auto scramble2 = [](std::uint64_t k) { return std::rotl(k * c2, 33) * c1; };
    std::size_t at = 0;
    for (; at + 16 <= data.size(); at += 16) {
        std::uint64_t k[2];
        std::memcpy(k, data.data() + at, sizeof(k));
        h1 ^= scramble1(k[0]);
        h1 = (std::rotl(h1, 27) + h2) * 5 + 0x52dce729;
        h2 ^= scramble2(k[1]);
        h2 = (std::rotl(h2, 31) + h1) * 5 + 0x38495ab5;
    }
    std::uint64_t rest[2] = {};
    std::memcpy(rest, data.data() + at, data.size() - at);
    h2 ^= scramble2(rest[1]);
    h1 ^= scramble1(rest[0]);
    h1 ^= data.size();
    h2 ^= data.size();
    h1 += h2;
    h2 += h1;
    h1 = mix(h1);
    h2 = mix(h2);
    h1 += h2;
    h2 += h1;
    return {h1, h2};
}

std::vector<std::uint16_t> maglev_table(std::span<const MaglevBackend> backends, std::uint32_t size,
                                        std::uint32_t murmur_seed) {
    struct Turn {
        std::uint64_t weight;
        double spent;  // a backend whose share of the turns exceeds its weight waits
        std::uint32_t next, skip;
        std::uint16_t index;
    };
    std::vector<Turn> turns;
    std::uint64_t weights = 0;
    bool weighted = false;
    for (std::size_t i = 0; i < backends.size(); ++i) {
        if (backends[i].weight == 0) continue;
        const auto [offset, skip] = murmur3_128(backends[i].name, murmur_seed);
        turns.push_back({.weight = backends[i].weight,
                         .spent = 0,
                         .next = static_cast<std::uint32_t>(offset % size),
                         .skip = static_cast<std::uint32_t>(skip % (size - 1) + 1),
                         .index = static_cast<std::uint16_t>(i)});
        weights += backends[i].weight;
        weighted = weighted || backends[i].weight > 1;
    }
    if (turns.empty()) return {};
    for (Turn& turn : turns) turn.spent = static_cast<double>(turn.weight) / static_cast<double>(turns.size());

    constexpr std::uint16_t kFree = 0xffff;
    std::vector<std::uint16_t> table(size, kFree);
    for (std::uint64_t n = 0; n < size; ++n) {
        std::size_t i = n % turns.size();
        if (weighted) {
            while ((n + 1) * turns[i].weight < static_cast<std::uint64_t>(turns[i].spent)) i = (i + 1) % turns.size();
            turns[i].spent += static_cast<double>(weights);
        }
        Turn& turn = turns[i];
        const auto step = [&] {
            const std::uint32_t place = turn.next;
            turn.next += turn.skip;
            if (turn.next >= size) turn.next -= size;
            return place;
        };
        std::uint32_t place = step();
        while (table[place] != kFree) place = step();
        table[place] = turn.index;
    }
    return table;
}

}  // namespace axo::service
