// The packet that an event is about, from what the event says of it: IP and transport headers. Pure. Thread: any.
#pragma once

#include <string>

#include "bpf/api/event.h"

namespace axo {

// Whether an event is about an IP packet: only those have addresses.
bool is_ip(const flow_event& event);
// From the IP header on; of what is not IP, a link layer header that says what it was. Fields that events do not have
// (hardware addresses, TTL, sequence numbers, checksums) are zero.
std::string packet_headers(const flow_event& event);

}  // namespace axo
