// Services at sockets: real sockets of this process, in a network namespace and a cgroup of their own.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "bpf/api/config.h"
#include "bpf/api/lb.h"
#include "kernel/bpf_object.h"
#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_cgroup.h"
#include "kernel/scratch_netns.h"
#include "maps/lb_map.h"
#include "maps/lb_tables.h"

namespace axo::test {

inline constexpr int kProtocols[] = {IPPROTO_TCP, IPPROTO_UDP};

struct Peer {
    IpAddress address;
    std::uint16_t port = 0;
    bool mapped = false;  // ::ffff:a.b.c.d
    friend bool operator==(const Peer&, const Peer&) = default;
};
std::ostream& operator<<(std::ostream& out, const Peer& peer);
Peer at(const char* address, std::uint16_t port);
Peer mapped(const char* address, std::uint16_t port);

// Of TCP or UDP, with patience of two seconds.
class Socket {
public:
    Socket(int family, int protocol);
    static Socket of(const Peer& peer, int protocol);
    // These give 0 or errno.
    int bind(const Peer& peer);
    int connect(const Peer& peer);
    int send_to(const Peer& peer, const std::string& text = "ping");
    int send(const std::string& text = "ping");
    int receive_error();
    // Nothing: none came.
    std::optional<std::pair<Peer, std::string>> receive();
    [[nodiscard]] Peer peer() const;
    [[nodiscard]] int get() const { return fd_.get(); }
    void close() { fd_ = Fd(); }

private:
    Fd fd_;
};

// Answers with its own address whatever it is asked.
class Server {
public:
    Server(const Peer& address, int protocol);
    // True: somebody asked and was answered.
    bool serve();
    [[nodiscard]] const Peer& address() const { return address_; }

private:
    Peer address_;
    Socket socket_;
    std::vector<Fd> accepted_;
};
std::vector<Server> serve(const std::vector<Peer>& addresses, int protocol);

bool has_set_retval();

// Backends 10.9.0.1 … 10.9.0.4 and fd00:9::1 … fd00:9::4, the node's address 10.9.1.1 / fd00:9:1::1, another node's
// 10.9.2.1 / fd00:9:2::1 (which answers too: everything is on lo). Nothing else of 10.96.0.0/16 and fd00:96::/64 is
// reachable.
class SockTest : public ::testing::Test {
protected:
    void SetUp() override;
    // Loads and attaches; the configuration is what SetUp and the test have made of it.
    void start();
    int map(const char* name) { return object_->map_fd(name).value(); }
    RawBpfMap raw(const char* name);
    std::uint64_t entries(const char* name) { return raw(name).count().value(); }
    // An address of this node, or of another one.
    void put_address(const char* text, bool own);
    std::uint32_t add_backend(const Peer& peer, int protocol);
    static std::uint32_t pod_of(const Peer& peer) { return peer.address.bytes().back(); }
    void put_service(const Peer& frontend, int protocol, const std::vector<std::uint32_t>& backends,
                     lb_service value = {}, std::uint8_t scope = LB_SCOPE_EXTERNAL);
    // Connects and asks; who answered, or why the connection was refused. The peer's name is what was asked for.
    static std::string connect_and_ask(const Peer& to, int protocol, std::vector<Server>& servers);

    static constexpr std::uint64_t kSomebodyElse = 0x7fffffffffff;  // no namespace's cookie
    ScratchCgroup cgroup_{true};
    ScratchBpffs bpffs_;
    ScratchNetns netns_{"axosock"};
    sock_config config_{};
    lb_config lb_{};
    std::optional<BpfObject> object_;
    std::optional<LbMaps> maps_;
    std::optional<LbTables> tables_;
    std::uint32_t last_backend_ = 0;
    std::uint16_t last_service_ = 0;
};

}  // namespace axo::test
