// How many translated source ports are in use towards one destination, and which destinations are about to get no more.
// Pure. Thread: any, one at a time.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ip.h"
#include "maps/flow_map.h"

namespace axo::nat {

// Ports that translated sources get, both included.
struct PortRange {
    std::uint16_t low = 32768, high = 65535;
    [[nodiscard]] std::uint32_t size() const { return std::uint32_t{high} - low + 1; }
};

// A source port is free or not within this: connections that differ in it may have the same one.
struct PortTuple {
    std::uint8_t protocol = 0;
    IpAddress source, destination;
    std::uint16_t destination_port = 0;  // 0: echo requests, whose identifier is the port
    friend auto operator<=>(const PortTuple&, const PortTuple&) = default;
    // "TCP 172.18.1.11 -> 192.0.2.1:443"
    [[nodiscard]] std::string to_string() const;
};

struct PortUse {
    PortTuple tuple;
    std::uint32_t used = 0;
};

class PortUseCounter {
public:
    // now_tick: entries that expired before hold no port.
    PortUseCounter(PortRange range, std::uint32_t now_tick) : range_(range), now_tick_(now_tick) {}
    void add(const FlowRow& row);
    // Most used first: so many of them, and all that PressureTracker has to know of.
    [[nodiscard]] std::vector<PortUse> top(std::size_t entries) const;

private:
    PortRange range_;
    std::uint32_t now_tick_;
    std::map<PortTuple, std::uint32_t> used_;
};

// A tuple is told of when it passes 80 % of the range and again at 95 %, until it is below 70 %.
class PressureTracker {
public:
    struct Problem {
        std::string where;  // "NAT TCP 172.18.1.11 -> 192.0.2.1:443"
        std::string message;
    };
    explicit PressureTracker(PortRange range) : range_(range) {}
    // uses: as PortUseCounter::top() gives them. What has passed a threshold since the last call; one that falls by ten
    // percent of the range below a threshold may pass it again.
    std::vector<Problem> update(const std::vector<PortUse>& uses);
    [[nodiscard]] std::vector<Problem> problems() const;

private:
    enum class Level { kNone, kHigh, kNearlyExhausted };
    struct State {
        Level level = Level::kNone;
        std::uint32_t used = 0;
    };
    [[nodiscard]] Problem describe(const PortTuple& tuple, const State& state) const;

    PortRange range_;
    std::map<PortTuple, State> under_pressure_;
};

}  // namespace axo::nat
