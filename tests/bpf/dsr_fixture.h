// Packets of direct server return, for tests of each of its encodings.
#pragma once

#include "checksums.h"
#include "service_fixture.h"

namespace axo::test {

struct DsrFamilies {
    const char *pod, *remote, *client, *node, *any;
    bool v6;
};

class DsrPackets : public testing::TestWithParam<DsrFamilies> {
protected:
    static constexpr std::uint16_t kPort = 30080;

    static PacketBuilder ip(const char* source, const char* destination, std::uint8_t ttl = 64) {
        auto builder = PacketBuilder().eth(Datapath::node_mac(1), Datapath::pod_mac(1));
        return GetParam().v6 ? builder.ipv6(source, destination, ttl) : builder.ipv4(source, destination, ttl);
    }
    static Bytes packet(std::uint8_t protocol, const char* source, std::uint16_t source_port, const char* destination,
                        std::uint16_t destination_port, unsigned flags, std::uint8_t ttl = 64, std::size_t size = 12) {
        auto builder = ip(source, destination, ttl);
        if (protocol == IPPROTO_TCP)
            builder.tcp(source_port, destination_port, static_cast<std::uint8_t>(flags));
        else
            builder.udp(source_port, destination_port);
        return Checksums::filled(builder.payload(size).build());
    }
    // As hex, without the Ethernet header.
    static std::string l3(const Bytes& bytes) { return hex(bytes).substr(29); }
};

inline const auto kDsrFamilies =
    testing::Values(DsrFamilies{"10.0.1.1", "10.0.2.1", "192.0.2.7", "172.18.0.2", "0.0.0.0", false},
                    DsrFamilies{"fd00:10:1::1", "fd00:10:2::1", "2001:db8::7", "fd00:18::2", "::", true});

}  // namespace axo::test
