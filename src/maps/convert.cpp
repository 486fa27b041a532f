#include "maps/convert.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace axo {

axo_addr to_axo_addr(const IpAddress& address) {
    axo_addr raw{};
    const auto bytes = address.bytes();
    std::copy(bytes.begin(), bytes.end(), raw.bytes);
    return raw;
}

IpAddress from_axo_addr(const axo_addr& address, bool ipv6) {
    return ipv6 ? IpAddress::v6(static_cast<const void*>(address.bytes)) : IpAddress::v4(address.ip4);
}

std::uint8_t to_axo_family(const IpAddress& address) {
    if (address.is_v4()) return AXO_FAMILY_IPV4;
    return address.is_v6() ? AXO_FAMILY_IPV6 : 0;
}

axo_mac to_axo_mac(const MacAddress& mac) {
    axo_mac raw{};
    std::copy(mac.bytes().begin(), mac.bytes().end(), raw.addr);
    return raw;
}

MacAddress from_axo_mac(const axo_mac& mac) {
    return MacAddress::from_bytes(mac.addr);
}

void write_node_port_addresses(lb_config& config, const std::vector<Prefix>& prefixes) {
    config.some_node_ports = !prefixes.empty();
    for (std::size_t i = 0; i < prefixes.size() && i < NODE_PORT_PREFIXES; ++i) {
        node_port_prefix& out = config.node_port_prefixes[i];
        const IpAddress& address = prefixes[i].address();
        out.family = to_axo_family(address);
        std::memcpy(out.addr, address.bytes().data(), address.bytes().size());
        for (int word = 0; word < 4; ++word) {
            const int ones = std::clamp(prefixes[i].length() - word * 32, 0, 32);
            out.mask[word] = htonl(ones == 0 ? 0 : ~std::uint32_t{0} << (32 - ones));
        }
    }
}

}  // namespace axo
