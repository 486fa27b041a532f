// The agent's REST API as far as the plugin needs it (unix socket, base path /v1).
//
// Failures are CNI errors already: 100 the agent does not answer, 11 it asks to come back later
// (429, 503), 999 it refused. Thread: any one at a time; calls block.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "app/cni/protocol.h"
#include "io/http.h"

namespace axo::cni {

struct AgentConfig {
    std::uint32_t device_mtu = 0;
    std::uint32_t route_mtu = 0;
    std::uint32_t gso_max_size = 0;  // 0: the kernel's default
    std::uint32_t gro_max_size = 0;
    std::string ipam_mode;
    std::string datapath_mode;
    std::string reserved_ports;      // net.ipv4.ip_local_reserved_ports of pods; empty: as it is
    std::string path_mtu_discovery;  // "disabled", "blackhole", "always"
};

struct FamilyLease {
    IpAddress address;  // unset: the family is off
    IpAddress gateway;  // the node's router address
    std::string expiration_uuid;
    std::string pool;
    bool skip_masquerade = false;
};
struct Lease {
    FamilyLease v4;
    FamilyLease v6;
};

struct KnownEndpoint {
    std::uint64_t id = 0;
    Attachment attachment;
    std::string host_interface;
};

struct PodEndpoint {  // what PUT /endpoint tells the agent
    Attachment attachment;
    PodArgs pod;
    Lease lease;
    std::string netns;
    std::uint64_t netns_cookie = 0;
    std::string host_interface;
    std::uint32_t host_index = 0;
    MacAddress mac;
    MacAddress host_mac;
};

// What is known about a call that failed: whether the agent may have acted on it.
struct CallError {
    CniError error;
    int status = 0;  // 0: no answer was read
};

class Agent {
public:
    using Clock = std::chrono::steady_clock;

    // Tries until the socket accepts or the time is over; the first try is always made.
    static Outcome<Agent> connect(const std::string& socket_path, std::chrono::milliseconds patience,
                                  std::chrono::milliseconds call_timeout);

    Outcome<AgentConfig> config();
    Outcome<Lease> allocate(const std::string& owner);
    // Best effort: an address that stays is taken back by the agent when its lease runs out.
    void release(const FamilyLease& lease, const std::string& owner);
    // The MAC the pod's interface has to have when the agent wants another than given; else unset.
    std::expected<MacAddress, CallError> create_endpoint(const PodEndpoint& endpoint);
    // True: an endpoint was there and is gone, its interface follows. False: there was none, or the agent could not do
    // all of it: what may be left is the caller's to remove.
    std::expected<bool, CallError> remove_endpoint(const Attachment& attachment);
    std::expected<bool, CallError> remove_container(const std::string& container_id);
    Outcome<std::string> endpoint_health(const Attachment& attachment);
    Outcome<std::vector<KnownEndpoint>> endpoints();
    // Empty: healthy; otherwise what is wrong.
    Outcome<std::string> health();

private:
    Agent(HttpClient client, std::string socket_path, std::chrono::milliseconds call_timeout)
        : client_(std::move(client)), socket_path_(std::move(socket_path)), call_timeout_(call_timeout) {}
    std::expected<HttpResponse, CallError> call(const std::string& method, const std::string& target,
                                                const std::string& body = {},
                                                const std::map<std::string, std::string>& headers = {});
    std::expected<bool, CallError> removal(std::expected<HttpResponse, CallError> answer);

    HttpClient client_;
    std::string socket_path_;
    std::chrono::milliseconds call_timeout_;
};

// Body of a batch delete, byte for byte what the delete queue holds too.
std::string removal_request(const std::string& container_id);

// Pure parts, for tests.
Outcome<AgentConfig> parse_agent_config(const std::string& body);
Outcome<Lease> parse_lease(const std::string& body);
std::string endpoint_request(const PodEndpoint& endpoint);
std::vector<KnownEndpoint> parse_endpoints(const std::string& body);

}  // namespace axo::cni
