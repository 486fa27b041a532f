// Cilium's monitor stream, as `cilium-dbg monitor` 1.19 reads it from monitor1_2.sock: a gob stream of values
//   Payload {Data []byte, CPU int, Lost uint64, Type int}
// whose Data is the event as Cilium's own datapath would have written it, little endian as the machine, and the packet
// behind it. Our datapath keeps headers, not packets: they are made of what the event knows (packet_headers.h), begin
// with the IP header, and the event says so as if it came from a device without a link layer.
//
// What events of ours do not have is zero: CPU, trace id, the cookie of a policy's log text, authentication. A drop's
// file is the one of Cilium's that has our program's part; the line is of ours. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "features/monitor/event_json.h"

namespace axo {

// What an agent tells of itself; the numbers are Cilium's.
struct AgentNotice {
    enum Type : std::uint32_t {
        kStarted = 2,
        kEndpointRegenerated = 3,
        kEndpointNotRegenerated = 4,
        kPolicyUpdated = 5,
        kPolicyDeleted = 6,
        kEndpointCreated = 7,
        kEndpointDeleted = 8,
        kIpcacheUpserted = 9,
        kIpcacheDeleted = 10,
    };
    Type type{};
    std::string text;  // JSON
};

namespace cilium_wire {

// What every stream begins with; the messages below follow in any number and order.
std::string start();
// rule: of verdicts; what they were decided by.
std::string message(const flow_event& event, const EventRule& rule);
std::string message(const AgentNotice& notice);
// So many events were lost here.
std::string lost(std::uint64_t count);

// Data of the messages above.
std::string data(const flow_event& event, const EventRule& rule);
std::string data(const AgentNotice& notice);

}  // namespace cilium_wire
}  // namespace axo
