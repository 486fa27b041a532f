#include "datapath/socket_lb.h"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <filesystem>

#include "base/file.h"
#include "kernel/cgroup_link.h"
#include "kernel/netns.h"

namespace axo {
namespace {

struct SocketProgram {
    const char* name;
    bpf_attach_type type;
};

// In this order: what a process is shown of a connection has to be there when the first is translated.
constexpr SocketProgram kPrograms[] = {
    {"cil_sock_release", BPF_CGROUP_INET_SOCK_RELEASE},      {"cil_sock4_getpeername", BPF_CGROUP_INET4_GETPEERNAME},
    {"cil_sock6_getpeername", BPF_CGROUP_INET6_GETPEERNAME}, {"cil_sock4_recvmsg", BPF_CGROUP_UDP4_RECVMSG},
    {"cil_sock6_recvmsg", BPF_CGROUP_UDP6_RECVMSG},          {"cil_sock4_sendmsg", BPF_CGROUP_UDP4_SENDMSG},
    {"cil_sock6_sendmsg", BPF_CGROUP_UDP6_SENDMSG},          {"cil_sock4_connect", BPF_CGROUP_INET4_CONNECT},
    {"cil_sock6_connect", BPF_CGROUP_INET6_CONNECT},         {"cil_sock4_post_bind", BPF_CGROUP_INET4_POST_BIND},
    {"cil_sock6_post_bind", BPF_CGROUP_INET6_POST_BIND},
};

}  // namespace

std::vector<std::string> socket_programs() {
    std::vector<std::string> names;
    for (const SocketProgram& program : kPrograms) names.emplace_back(program.name);
    return names;
}

Result<sock_config> make_sock_config(const DatapathSettings& settings, const KernelFeatures& features) {
    const ServiceSettings& services = settings.services;
    sock_config config{};
    if (!services.sockets.enabled) return config;
    config.ipv4 = settings.ipv4;
    config.ipv6 = settings.ipv6;
    config.host_only = services.sockets.host_only;
    config.bind_protection = services.sockets.bind_protection && services.node_port;
    config.node_port_low = services.node_port_low;
    config.node_port_high = services.node_port_high;
    config.external_ips = services.sockets.external_ips;
    config.has_set_retval = features.set_retval;
    const Fd own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!own) return fail_errno("open /proc/thread-self/ns/net");
    TRY_ASSIGN(config.host_netns_cookie, netns_cookie(own.get()));
    return config;
}

Status attach_sockets(const BpfPaths& paths, const std::string& cgroup_root, const ProgramSet& programs,
                      AttachCounts& counts) {
    TRY(ensure_cgroup2(cgroup_root));
    for (const SocketProgram& program : kPrograms) {
        const std::string pin_path = paths.socket_links() + "/" + program.name;
        TRY_ASSIGN(const auto running, linked_program_id(pin_path));
        TRY_ASSIGN(const AttachOutcome outcome, attach_cgroup({.cgroup = cgroup_root,
                                                               .program_name = program.name,
                                                               .program_fd = programs.at(program.name).fd.get(),
                                                               .attach_type = program.type,
                                                               .pin_path = pin_path}));
        ++(!outcome.changed ? counts.adopted : running ? counts.updated : counts.attached);
    }
    return {};
}

Status detach_sockets(const BpfPaths& paths) {
    TRY(remove_link_directory(std::filesystem::path(paths.socket_links()).parent_path().parent_path()));
    for (const char* map : {map_name::kLbSockets, map_name::kReverseSk4, map_name::kReverseSk6})
        TRY(remove_file(paths.map(map)));
    return {};
}

}  // namespace axo
