#include "sock_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <unistd.h>

#include "bpf/api/endpoint.h"
#include "bpf/api/ipcache.h"
#include "kernel/bpf_blobs.h"
#include "kernel/cgroup_link.h"
#include "kernel/features.h"
#include "maps/endpoint_map.h"
#include "maps/ipcache_map.h"

AXO_BPF_BLOB(sock)

namespace axo::test {
namespace {

struct Name {
    sockaddr_storage storage{};
    socklen_t length = sizeof(sockaddr_storage);
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Name to_name(const Peer& peer) {
    Name name;
    if (peer.address.is_v4() && !peer.mapped) {
        auto* in = reinterpret_cast<sockaddr_in*>(&name.storage);
        in->sin_family = AF_INET;
        in->sin_port = htons(peer.port);
        std::memcpy(&in->sin_addr, peer.address.bytes().data(), 4);
        name.length = sizeof(*in);
        return name;
    }
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&name.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(peer.port);
    name.length = sizeof(*in6);
    if (peer.mapped) {
        in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
        std::memcpy(&in6->sin6_addr.s6_addr[12], peer.address.bytes().data(), 4);
    } else {
        std::memcpy(&in6->sin6_addr, peer.address.bytes().data(), 16);
    }
    return name;
}

Peer to_peer(const Name& name) {
    if (name.storage.ss_family == AF_INET) {
        const auto* in = reinterpret_cast<const sockaddr_in*>(&name.storage);
        return {IpAddress::v4(in->sin_addr.s_addr), ntohs(in->sin_port)};
    }
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&name.storage);
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        std::uint32_t v4 = 0;
        std::memcpy(&v4, &in6->sin6_addr.s6_addr[12], 4);
        return {IpAddress::v4(v4), ntohs(in6->sin6_port), true};
    }
    return {IpAddress::v6(&in6->sin6_addr), ntohs(in6->sin6_port)};
}

struct Attach {
    const char* program;
    bpf_attach_type type;
};
constexpr Attach kPrograms[] = {
    {"cil_sock4_connect", BPF_CGROUP_INET4_CONNECT},         {"cil_sock6_connect", BPF_CGROUP_INET6_CONNECT},
    {"cil_sock4_sendmsg", BPF_CGROUP_UDP4_SENDMSG},          {"cil_sock6_sendmsg", BPF_CGROUP_UDP6_SENDMSG},
    {"cil_sock4_recvmsg", BPF_CGROUP_UDP4_RECVMSG},          {"cil_sock6_recvmsg", BPF_CGROUP_UDP6_RECVMSG},
    {"cil_sock4_getpeername", BPF_CGROUP_INET4_GETPEERNAME}, {"cil_sock6_getpeername", BPF_CGROUP_INET6_GETPEERNAME},
    {"cil_sock4_post_bind", BPF_CGROUP_INET4_POST_BIND},     {"cil_sock6_post_bind", BPF_CGROUP_INET6_POST_BIND},
    {"cil_sock_release", BPF_CGROUP_INET_SOCK_RELEASE},
};

const KernelFeatures& features() {
    static const KernelFeatures probed = probe_kernel_features().value();
    return probed;
}

void run(const std::string& command) {
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Peer& peer) {
    return out << (peer.mapped ? "mapped " : "") << peer.address.to_string() << " port " << peer.port;
}

Peer at(const char* address, std::uint16_t port) {
    return {IpAddress::parse(address).value(), port};
}
Peer mapped(const char* address, std::uint16_t port) {
    return {IpAddress::parse(address).value(), port, true};
}

bool has_set_retval() {
    return features().set_retval;
}

Socket::Socket(int family, int protocol)
    : fd_(::socket(family, (protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0)) {
    EXPECT_TRUE(static_cast<bool>(fd_)) << std::strerror(errno);
    const timeval patience{.tv_sec = 2, .tv_usec = 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    const int on = 1;
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

Socket Socket::of(const Peer& peer, int protocol) {
    return {peer.address.is_v4() && !peer.mapped ? AF_INET : AF_INET6, protocol};
}

int Socket::bind(const Peer& peer) {
    Name name = to_name(peer);
    return ::bind(fd_.get(), name.get(), name.length) == 0 ? 0 : errno;
}

int Socket::connect(const Peer& peer) {
    Name name = to_name(peer);
    return ::connect(fd_.get(), name.get(), name.length) == 0 ? 0 : errno;
}

int Socket::send_to(const Peer& peer, const std::string& text) {
    Name name = to_name(peer);
    return ::sendto(fd_.get(), text.data(), text.size(), 0, name.get(), name.length) >= 0 ? 0 : errno;
}

int Socket::send(const std::string& text) {
    return ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) >= 0 ? 0 : errno;
}

std::optional<std::pair<Peer, std::string>> Socket::receive() {
    Name name;
    char text[256];
    const ssize_t got = ::recvfrom(fd_.get(), text, sizeof(text), 0, name.get(), &name.length);
    if (got < 0) return std::nullopt;
    return std::pair{name.length != 0 ? to_peer(name) : Peer{}, std::string(text, static_cast<std::size_t>(got))};
}

int Socket::receive_error() {
    char text[256];
    return ::recv(fd_.get(), text, sizeof(text), 0) < 0 ? errno : 0;
}

Peer Socket::peer() const {
    Name name;
    EXPECT_EQ(::getpeername(fd_.get(), name.get(), &name.length), 0) << std::strerror(errno);
    return to_peer(name);
}

Server::Server(const Peer& address, int protocol) : address_(address), socket_(Socket::of(address, protocol)) {
    EXPECT_EQ(socket_.bind(address), 0) << address;
    if (protocol == IPPROTO_TCP) {
        EXPECT_EQ(::listen(socket_.get(), 16), 0);
    }
    EXPECT_EQ(::fcntl(socket_.get(), F_SETFL, O_NONBLOCK), 0);
}

bool Server::serve() {
    Name name;
    if (const int fd = ::accept4(socket_.get(), name.get(), &name.length, SOCK_CLOEXEC); fd >= 0) {
        accepted_.emplace_back(fd);
        return true;
    }
    char text[256];
    name.length = sizeof(name.storage);
    if (::recvfrom(socket_.get(), text, sizeof(text), 0, name.get(), &name.length) < 0) return false;
    const std::string answer = address_.address.to_string();
    return ::sendto(socket_.get(), answer.data(), answer.size(), 0, name.get(), name.length) >= 0;
}

std::vector<Server> serve(const std::vector<Peer>& addresses, int protocol) {
    std::vector<Server> servers;
    for (const Peer& address : addresses) servers.emplace_back(address, protocol);
    return servers;
}

void SockTest::SetUp() {
    if (cgroup_.path().empty()) GTEST_SKIP() << "no cgroup v2 hierarchy is mounted";
    netns_.inside([] {
        run("ip link set lo up");
        for (const char* address : {"10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.1.1", "10.9.2.1"})
            run("ip addr add " + std::string(address) + "/32 dev lo");
        for (const char* address : {"fd00:9::1", "fd00:9::2", "fd00:9::3", "fd00:9::4", "fd00:9:1::1", "fd00:9:2::1"})
            run("ip -6 addr add " + std::string(address) + "/128 dev lo nodad");
        // What no service takes is refused at once.
        run("ip route add unreachable 10.96.0.0/16");
        run("ip -6 route add unreachable fd00:96::/64");
    });
    config_.ipv4 = config_.ipv6 = config_.bind_protection = 1;
    config_.node_port_low = 30000;
    config_.node_port_high = 32767;
    config_.has_set_retval = has_set_retval();
    config_.host_netns_cookie = kSomebodyElse;
    if (auto cookie = netns_cookie(netns_.fd()); cookie && *cookie != 0) config_.host_netns_cookie = *cookie;
}

void SockTest::start() {
    node_config node{};
    node.ipv4 = node.ipv6 = 1;
    node.has_ktime_coarse = features().ktime_coarse;
    BpfLoadSpec spec;
    spec.name = "sock";
    spec.object = bpf_blob_sock();
    spec.config = {BpfConfigBlob::of("sock_cfg", config_), BpfConfigBlob::of("node_cfg", node),
                   BpfConfigBlob::of("lb_cfg", lb_)};
    auto object = BpfObject::load(spec);
    ASSERT_OK(object);
    object_.emplace(std::move(*object));
    for (const Attach& attach : kPrograms) {
        auto fd = object_->program_fd(attach.program);
        ASSERT_OK(fd);
        ASSERT_OK(attach_cgroup({.cgroup = cgroup_.path(),
                                 .program_name = attach.program,
                                 .program_fd = *fd,
                                 .attach_type = attach.type,
                                 .pin_path = bpffs_.path() + "/" + attach.program}));
    }
    auto maps = LbMaps::use({.services4 = map("cilium_lb4_services_v2"),
                             .services6 = map("cilium_lb6_services_v2"),
                             .backends = map("cilium_lb_backends"),
                             .affinity = map("cilium_lb_affinity"),
                             .affinity_match = map("cilium_lb_affinity_match"),
                             .source_range4 = map("cilium_lb4_source_range"),
                             .source_range6 = map("cilium_lb6_source_range"),
                             .ports = map("cilium_lb_ports")});
    ASSERT_OK(maps);
    maps_.emplace(std::move(*maps));
    auto tables = LbTables::use(raw("cilium_lb_tables"));
    ASSERT_OK(tables);
    tables_.emplace(std::move(*tables));
    for (const char* address : {"10.9.1.1", "fd00:9:1::1"}) put_address(address, true);
    for (const char* address : {"10.9.2.1", "fd00:9:2::1"}) put_address(address, false);
}

RawBpfMap SockTest::raw(const char* name) {
    return RawBpfMap::from_fd(Fd(::fcntl(map(name), F_DUPFD_CLOEXEC, 3)), name).value();
}

void SockTest::put_address(const char* text, bool own) {
    const IpAddress address = IpAddress::parse(text).value();
    if (own) {
        const endpoint_key key = EndpointMap::encode_key(address);
        const endpoint_info value = EndpointMap::encode({.host = true});
        ASSERT_OK(raw("cilium_lxc").update(&key, &value));
    } else {
        const ipcache_key key = IpcacheMap::encode_key(Prefix(address, address.is_v4() ? 32 : 128));
        const remote_endpoint_info value = IpcacheMap::encode({.identity = IdentityId(6)});
        ASSERT_OK(raw("cilium_ipcache_v2").update(&key, &value));
    }
}

std::uint32_t SockTest::add_backend(const Peer& peer, int protocol) {
    const std::uint32_t id = ++last_backend_;
    maps_->put_backend(
        {.id = id, .address = {peer.address, peer.port, static_cast<std::uint8_t>(protocol)}, .pod_id = pod_of(peer)});
    return id;
}

void SockTest::put_service(const Peer& frontend, int protocol, const std::vector<std::uint32_t>& backends,
                           lb_service value, std::uint8_t scope) {
    auto table = tables_->take(backends);
    ASSERT_OK(table);
    value.table = table->location;
    value.size = table->size;
    value.backends = static_cast<std::uint16_t>(backends.size());
    value.rev_nat_index = ++last_service_;
    value.algorithm = LB_RANDOM;
    ASSERT_OK(maps_->put_service({.address = frontend.address,
                                  .port = frontend.port,
                                  .protocol = static_cast<std::uint8_t>(protocol),
                                  .scope = scope},
                                 value));
    if (frontend.address.is_unspecified())
        maps_->set_port_bit(static_cast<std::uint8_t>(protocol), frontend.port, true);
}

std::string SockTest::connect_and_ask(const Peer& to, int protocol, std::vector<Server>& servers) {
    Socket client = Socket::of(to, protocol);
    if (const int err = client.connect(to); err != 0) return std::strerror(err);
    EXPECT_EQ(client.peer(), to);
    if (protocol == IPPROTO_UDP) {
        EXPECT_EQ(client.send(), 0);
    }
    for (Server& server : servers) {
        if (!server.serve()) continue;
        if (protocol == IPPROTO_UDP) {
            const auto answer = client.receive();
            EXPECT_TRUE(answer.has_value());
            // A connected socket hears from its peer, by the name it knows.
            if (answer) {
                EXPECT_EQ(answer->first, to);
            }
        }
        return server.address().address.to_string();
    }
    return "nobody";
}

}  // namespace axo::test
