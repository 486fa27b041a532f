// Packets for tests, built layer by layer from the outside in:
//   PacketBuilder().eth(dst, src).ipv4(a, b).tcp(1234, 80, tcp::kSyn).payload(10).build()
// Lengths and checksums are filled in by build(); `truncate` and `patch` then break what a test wants broken.
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <cstring>
#include <span>
#include <vector>

#include "base/ip.h"

namespace axo::test {

namespace tcp {
inline constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16;
}

using Bytes = std::vector<std::byte>;

class PacketBuilder {
public:
    PacketBuilder& eth(const MacAddress& destination, const MacAddress& source) {
        append(destination.bytes().data(), 6);
        append(source.bytes().data(), 6);
        ethertype_at_ = bytes_.size();
        append_be16(0);
        return *this;
    }
    PacketBuilder& ipv4(const char* source, const char* destination, std::uint8_t ttl = 64,
                        std::uint16_t frag_off = 0x4000, std::uint16_t id = 1) {
        set_ethertype(ETH_P_IP);
        layers_.push_back({Layer::kIpv4, bytes_.size()});
        iphdr ip{};
        ip.version = 4;
        ip.ihl = 5;
        ip.ttl = ttl;
        ip.id = swap16(id);
        ip.frag_off = swap16(frag_off);
        ip.saddr = IpAddress::parse(source)->v4_network_order();
        ip.daddr = IpAddress::parse(destination)->v4_network_order();
        append(&ip, sizeof(ip));
        return *this;
    }
    PacketBuilder& ipv6(const char* source, const char* destination, std::uint8_t hop_limit = 64) {
        set_ethertype(ETH_P_IPV6);
        layers_.push_back({Layer::kIpv6, bytes_.size()});
        ipv6hdr ip{};
        ip.version = 6;
        ip.hop_limit = hop_limit;
        std::memcpy(&ip.saddr, IpAddress::parse(source)->bytes().data(), 16);
        std::memcpy(&ip.daddr, IpAddress::parse(destination)->bytes().data(), 16);
        append(&ip, sizeof(ip));
        return *this;
    }
    // IPv6 fragment header; offset in bytes.
    PacketBuilder& fragment6(std::uint16_t offset, bool more, std::uint32_t id) {
        set_protocol(IPPROTO_FRAGMENT);
        extension_at_ = bytes_.size();
        append_u8(0);
        append_u8(0);
        append_be16(static_cast<std::uint16_t>((offset & 0xfff8) | (more ? 1 : 0)));
        append_be16(static_cast<std::uint16_t>(id >> 16));
        append_be16(static_cast<std::uint16_t>(id));
        return *this;
    }
    PacketBuilder& tcp(std::uint16_t source, std::uint16_t destination, std::uint8_t flags) {
        set_protocol(IPPROTO_TCP);
        layers_.push_back({Layer::kTcp, bytes_.size()});
        tcphdr header{};
        header.source = swap16(source);
        header.dest = swap16(destination);
        header.doff = 5;
        append(&header, sizeof(header));
        bytes_[bytes_.size() - 7] = static_cast<std::byte>(flags);
        return *this;
    }
    PacketBuilder& udp(std::uint16_t source, std::uint16_t destination) {
        set_protocol(IPPROTO_UDP);
        layers_.push_back({Layer::kUdp, bytes_.size()});
        append_be16(source);
        append_be16(destination);
        append_be16(0);
        append_be16(0);
        return *this;
    }
    PacketBuilder& icmp(std::uint8_t type, std::uint8_t code, std::uint16_t id, std::uint16_t sequence,
                        bool v6 = false) {
        set_protocol(v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
        append_u8(type);
        append_u8(code);
        append_be16(0);
        append_be16(id);
        append_be16(sequence);
        return *this;
    }
    PacketBuilder& protocol(std::uint8_t number) {
        set_protocol(number);
        return *this;
    }
    PacketBuilder& vxlan(std::uint32_t vni) {
        append_be16(0x0800);
        append_be16(0);
        append_be16(static_cast<std::uint16_t>(vni >> 8));
        append_be16(static_cast<std::uint16_t>(vni << 8));
        return *this;
    }
    // options: whole words.
    PacketBuilder& geneve(std::uint32_t vni, std::span<const std::byte> options = {}) {
        append_u8(static_cast<std::uint8_t>(options.size() / 4));
        append_u8(0);
        append_be16(ETH_P_TEB);
        append_be16(static_cast<std::uint16_t>(vni >> 8));
        append_be16(static_cast<std::uint16_t>(vni << 8));
        return raw(options);
    }
    PacketBuilder& payload(std::size_t size, std::uint8_t fill = 'x') {
        bytes_.insert(bytes_.end(), size, static_cast<std::byte>(fill));
        return *this;
    }
    PacketBuilder& raw(std::span<const std::byte> data) {
        bytes_.insert(bytes_.end(), data.begin(), data.end());
        return *this;
    }
    PacketBuilder& ethertype(std::uint16_t type) {
        set_ethertype(type);
        return *this;
    }

    [[nodiscard]] Bytes build() const {
        Bytes out = bytes_;
        for (const Layer& layer : layers_) {
            const std::size_t rest = out.size() - layer.offset;
            if (layer.kind == Layer::kIpv4) {
                std::byte* ip = out.data() + layer.offset;
                put16(ip + offsetof(iphdr, tot_len), swap16(static_cast<std::uint16_t>(rest)));
                put16(ip + offsetof(iphdr, check), 0);
                put16(ip + offsetof(iphdr, check), checksum(ip, sizeof(iphdr)));
            } else if (layer.kind == Layer::kIpv6) {
                put16(out.data() + layer.offset + offsetof(ipv6hdr, payload_len),
                      swap16(static_cast<std::uint16_t>(rest - sizeof(ipv6hdr))));
            } else if (layer.kind == Layer::kUdp) {
                put16(out.data() + layer.offset + offsetof(udphdr, len), swap16(static_cast<std::uint16_t>(rest)));
            }
        }
        return out;
    }

    static std::uint16_t swap16(std::uint16_t value) { return static_cast<std::uint16_t>((value >> 8) | (value << 8)); }
    // RFC 1071, over an even number of bytes.
    static std::uint16_t checksum(const std::byte* data, std::size_t size) {
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i + 1 < size; i += 2) {
            std::uint16_t word = 0;
            std::memcpy(&word, data + i, 2);
            sum += word;
        }
        while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
        return static_cast<std::uint16_t>(~sum);
    }

private:
    // Headers behind an Ethernet header are not aligned.
    static void put16(std::byte* at, std::uint16_t value) { std::memcpy(at, &value, sizeof(value)); }
    struct Layer {
        enum Kind { kIpv4, kIpv6, kTcp, kUdp } kind;
        std::size_t offset;
    };
    void append(const void* data, std::size_t size) {
        const auto* begin = static_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), begin, begin + size);
    }
    void append_u8(std::uint8_t value) { bytes_.push_back(static_cast<std::byte>(value)); }
    void append_be16(std::uint16_t value) {
        append_u8(static_cast<std::uint8_t>(value >> 8));
        append_u8(static_cast<std::uint8_t>(value));
    }
    void set_ethertype(std::uint16_t type) {
        bytes_[ethertype_at_] = static_cast<std::byte>(type >> 8);
        bytes_[ethertype_at_ + 1] = static_cast<std::byte>(type);
    }
    void set_protocol(std::uint8_t number) {
        if (extension_at_ != 0) {
            bytes_[extension_at_] = static_cast<std::byte>(number);
            extension_at_ = 0;
            return;
        }
        const Layer& ip = layers_.back();
        bytes_[ip.offset + (ip.kind == Layer::kIpv4 ? 9U : 6U)] = static_cast<std::byte>(number);
    }

    Bytes bytes_;
    std::vector<Layer> layers_;
    std::size_t ethertype_at_ = 0;
    std::size_t extension_at_ = 0;
};

}  // namespace axo::test
