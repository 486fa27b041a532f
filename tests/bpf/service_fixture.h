// Services for tests of the packet path: what the agent would have written, by the agent's own maps.
#pragma once

#include <unistd.h>

#include <string>
#include <vector>

#include "datapath_fixture.h"
#include "maps/lb_map.h"
#include "maps/lb_tables.h"
#include "maps/nat_map.h"

namespace axo::test {

// A configuration with everything on; translated ports from 32768.
inline Options with_services(Options options = {}) {
    lb_config& lb = options.lb;
    lb.pods = lb.node_port = 1;
    lb.masquerade4 = lb.masquerade6 = 1;
    lb.nat_port_low = 32768;
    lb.nat_port_high = 65535;
    lb.loopback_ip4 = IpAddress::parse("169.254.42.1")->v4_network_order();
    std::memcpy(lb.loopback_ip6, IpAddress::parse("fe80::1")->bytes().data(), 16);
    return options;
}

class Services {
public:
    explicit Services(Datapath& datapath)
        : datapath_(datapath), maps_(open_maps(datapath)), tables_(open_tables(datapath)) {}

    struct Backend {
        std::uint32_t id;
        const char* address;
        std::uint16_t port;
        std::uint8_t protocol = IPPROTO_TCP;
    };
    void put(const Backend& backend) {
        maps_.put_backend({.id = backend.id,
                           .address = {*IpAddress::parse(backend.address), backend.port, backend.protocol},
                           .pod_id = backend.id});
    }
    // As the agent: the entry is cleared before the backend's address is bumped.
    void remove(const Backend& backend) {
        maps_.free_backend(backend.id);
        datapath_.generations().bump_address(*IpAddress::parse(backend.address));
    }

    struct Service {
        const char* address;  // "0.0.0.0", "::": every address of the node
        std::uint16_t port;
        std::uint8_t protocol = IPPROTO_TCP;
        std::uint16_t number = 1;
        std::vector<std::uint32_t> backends{};
        std::uint32_t flags = 0, flags2 = 0;
        std::uint8_t algorithm = LB_RANDOM;
        std::uint32_t affinity_timeout = 0;
        std::uint8_t scope = LB_SCOPE_EXTERNAL;
    };
    void put(const Service& service) {
        lb_service value{};
        if (!service.backends.empty()) {
            auto table = tables_.take(service.backends);
            ASSERT_TRUE(table) << table.error().to_string();
            value.table = table->location;
            value.size = table->size;
        }
        value.affinity_timeout = service.affinity_timeout;
        value.affinity_group = service.number;
        value.port_id = service.number;
        value.rev_nat_index = service.number;
        value.backends = static_cast<std::uint16_t>(service.backends.size());
        value.flags = static_cast<std::uint8_t>(service.flags);
        value.flags2 = static_cast<std::uint8_t>(service.flags2);
        value.algorithm = service.algorithm;
        const LbFrontend frontend{*IpAddress::parse(service.address), service.port, service.protocol, service.scope};
        const auto written = maps_.put_service(frontend, value);
        ASSERT_TRUE(written) << written.error().to_string();
        if (frontend.is_surrogate()) maps_.set_port_bit(service.protocol, service.port, true);
    }
    void remove_service(const char* address, std::uint16_t port, std::uint8_t protocol = IPPROTO_TCP) {
        const IpAddress ip = *IpAddress::parse(address);
        ASSERT_TRUE(maps_.remove_service({ip, port, protocol, LB_SCOPE_EXTERNAL}));
        datapath_.generations().bump_address(ip);
    }
    // The other ports of a virtual address lead nowhere.
    void close_other_ports(const char* address) {
        ASSERT_TRUE(maps_.put_service({*IpAddress::parse(address), 0, 0, LB_SCOPE_EXTERNAL}, lb_service{}));
    }
    // Where pods' traffic that leaves by the device, and clients' that is sent on, gets these addresses.
    void set_nat_address(const std::string& device, const char* v4, const char* v6) {
        nat_addresses value{};
        value.ip4 = IpAddress::parse(v4)->v4_network_order();
        std::memcpy(value.ip6, IpAddress::parse(v6)->bytes().data(), 16);
        const std::uint32_t index = ifindex(device);
        ASSERT_EQ(::bpf_map_update_elem(datapath_.map("cilium_nat_addresses"), &index, &value, BPF_ANY), 0);
    }
    [[nodiscard]] LbMaps& maps() { return maps_; }

private:
    static LbMaps open_maps(Datapath& datapath) {
        auto maps = LbMaps::use({.services4 = datapath.map("cilium_lb4_services_v2"),
                                 .services6 = datapath.map("cilium_lb6_services_v2"),
                                 .backends = datapath.map("cilium_lb_backends"),
                                 .affinity = datapath.map("cilium_lb_affinity"),
                                 .affinity_match = datapath.map("cilium_lb_affinity_match"),
                                 .source_range4 = datapath.map("cilium_lb4_source_range"),
                                 .source_range6 = datapath.map("cilium_lb6_source_range"),
                                 .ports = datapath.map("cilium_lb_ports")});
        EXPECT_TRUE(maps) << maps.error().to_string();
        return std::move(*maps);
    }
    static LbTables open_tables(Datapath& datapath) {
        auto map = RawBpfMap::from_fd(Fd(::dup(datapath.map("cilium_lb_tables"))), "cilium_lb_tables");
        EXPECT_TRUE(map);
        auto tables = LbTables::use(std::move(*map));
        EXPECT_TRUE(tables) << tables.error().to_string();
        return std::move(*tables);
    }

    Datapath& datapath_;
    LbMaps maps_;
    LbTables tables_;
};

}  // namespace axo::test
