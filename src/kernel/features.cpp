#include "kernel/features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/fd.h"
#include "kernel/libbpf_log.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/socket_diag.h"

namespace axo {
namespace {

// Of include/uapi/linux/bpf.h; Debian 12's headers lack those newer than 6.1.
constexpr int kFibLookup = 69;
constexpr int kSkbAdjustRoom = 50;
constexpr int kRedirectNeigh = 152;
constexpr int kRedirectPeer = 155;
constexpr int kKtimeGetCoarseNs = 160;
constexpr int kSetRetval = 187;
constexpr int kFibLookupSkipNeigh = 1 << 2;
constexpr int kAdjustRoomDecapL3Ipv4 = 1 << 7;
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);

bpf_insn set(std::uint8_t reg, std::int32_t value) {
    return {BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, value};
}
bpf_insn copy(std::uint8_t to, std::uint8_t from) {
    return {BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0};
}
bpf_insn add(std::uint8_t reg, std::int32_t value) {
    return {BPF_ALU64 | BPF_ADD | BPF_K, reg, 0, 0, value};
}
bpf_insn call(int helper) {
    return {BPF_JMP | BPF_CALL, 0, 0, 0, helper};
}
bpf_insn leave() {
    return {BPF_JMP | BPF_EXIT, 0, 0, 0, 0};
}

Fd load(std::span<const bpf_insn> code) {
    return Fd(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "axo_probe", "Dual BSD/GPL", code.data(), code.size(), nullptr));
}

bool loads(std::initializer_list<bpf_insn> code) {
    return static_cast<bool>(load({code.begin(), code.size()}));
}

// What a helper called by the program returns, or nothing if the program cannot be loaded or run.
std::optional<std::int32_t> result_of(std::span<const bpf_insn> code) {
    const Fd program = load(code);
    if (!program) return std::nullopt;
    const std::array<std::byte, 64> packet{};  // of no known protocol
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = packet.data();
    options.data_size_in = packet.size();
    options.repeat = 1;
    if (bpf_prog_test_run_opts(program.get(), &options) != 0) return std::nullopt;
    return static_cast<std::int32_t>(options.retval);
}

// The kernel looks at the flags before anything else: an unknown one is EINVAL, a known one gets as far as the empty
// parameters, whose address family 0 it does not know.
bool has_fib_skip_neigh() {
    std::vector<bpf_insn> code;
    constexpr std::int16_t kParametersSize = 64;  // struct bpf_fib_lookup
    for (std::int16_t offset = -kParametersSize; offset < 0; offset += 8) {
        code.push_back({BPF_ST | BPF_MEM | BPF_DW, 10, 0, offset, 0});
    }
    code.insert(code.end(), {copy(2, 10), add(2, -kParametersSize), set(3, kParametersSize),
                             set(4, kFibLookupSkipNeigh), call(kFibLookup), leave()});
    const auto result = result_of(code);
    return result && *result != -EINVAL;
}

// As above: after the flags comes the length, and 8 KiB are too much for anyone (EFAULT).
bool has_adjust_room_decap() {
    const std::array<bpf_insn, 5> code{set(2, -8192), set(3, BPF_ADJ_ROOM_MAC), set(4, kAdjustRoomDecapL3Ipv4),
                                       call(kSkbAdjustRoom), leave()};
    const auto result = result_of(code);
    return result && *result != -EINVAL;
}

bool has_batch_lookup() {
    const Fd map(bpf_map_create(BPF_MAP_TYPE_HASH, "axo_probe", 4, 4, 1, nullptr));
    std::uint64_t position = 0;
    std::uint32_t key = 0;
    std::uint32_t value = 0;
    std::uint32_t count = 1;
    return map &&
           (bpf_map_lookup_batch(map.get(), nullptr, &position, &key, &value, &count, nullptr) == 0 || errno == ENOENT);
}

bool has_ring_buffer() {
    return static_cast<bool>(Fd(
        bpf_map_create(BPF_MAP_TYPE_RINGBUF, "axo_probe", 0, 0, static_cast<std::uint32_t>(::getpagesize()), nullptr)));
}

bool has_netns_cookie() {
    const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);
    return socket && ::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) == 0;
}

bool loads_at_sockets(bpf_attach_type type, std::initializer_list<bpf_insn> code) {
    LIBBPF_OPTS(bpf_prog_load_opts, options);
    options.expected_attach_type = type;
    return static_cast<bool>(Fd(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "axo_probe", "Dual BSD/GPL", code.begin(),
                                              code.size(), &options)));
}

bool has_xdp_links() {
    const std::array<bpf_insn, 2> code{set(0, XDP_PASS), leave()};
    const Fd program(bpf_prog_load(BPF_PROG_TYPE_XDP, "axo_probe", "Dual BSD/GPL", code.data(), code.size(), nullptr));
    if (!program) return false;
    // Natively on lo (always index 1), which no kernel can: a kernel that knows such links gets as far as saying so.
    LIBBPF_OPTS(bpf_link_create_opts, options);
    options.flags = XDP_FLAGS_DRV_MODE;
    const Fd link(bpf_link_create(program.get(), 1, BPF_XDP, &options));
    return link || errno == EOPNOTSUPP;
}

bool has_ipv6() {
    const Fd socket(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return false;
    const auto disabled = read_sysctl("net.ipv6.conf.all.disable_ipv6");
    return disabled && *disabled == "0";
}

// In a namespace that nobody else sees and that goes with its last reference.
Status probe_devices(KernelFeatures& features, int program) {
    const Fd home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!home) return fail_errno("open /proc/thread-self/ns/net");
    // run_in_netns gets the thread back whatever happens inside.
    TRY(run_in_netns(home.get(), [&]() -> Status {
        if (::unshare(CLONE_NEWNET) != 0) return fail_errno("create a network namespace");
        TRY_ASSIGN(Netlink netlink, Netlink::open());
        // On a device that is not there (this namespace has lo only): ENODEV from a kernel that knows tcx, EINVAL from
        // one that does not. An attachment that succeeds would cost two RCU grace periods, some 20 ms.
        const Fd link(bpf_link_create(program, 2, kTcxIngress, nullptr));
        features.tcx = link || errno == ENODEV;
        features.xdp = has_xdp_links();
        Netlink::VxlanSpec vxlan;
        vxlan.name = "axo_probe";
        features.vxlan = netlink.add_vxlan(vxlan).has_value();
        Netlink::GeneveSpec geneve;
        geneve.name = "axo_probe_2";
        features.geneve = netlink.add_geneve(geneve).has_value();
        return {};
    }));
    return {};
}

std::string numeric_release() {
    utsname name{};
    ::uname(&name);
    const std::string release = name.release;
    return release.substr(0, release.find_first_not_of("0123456789."));
}

}  // namespace

Result<KernelFeatures> probe_kernel_features() {
    const LibbpfLog silent;
    KernelFeatures features;
    features.release = numeric_release();

    const std::array<bpf_insn, 2> pass{set(0, TC_ACT_OK), leave()};
    const Fd program = load(pass);
    if (!program) {
        return fail_errno(
            "load a BPF program (kernel " + features.release +
            "; CONFIG_BPF_SYSCALL and the capabilities CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, are needed)");
    }
    bpf_prog_info info{};
    std::uint32_t size = sizeof(info);
    features.jit = bpf_obj_get_info_by_fd(program.get(), &info, &size) == 0 && info.jited_prog_len > 0;
    features.ring_buffer = has_ring_buffer();
    features.redirect_neigh = loads({set(1, 1), set(2, 0), set(3, 0), set(4, 0), call(kRedirectNeigh), leave()});
    features.redirect_peer = loads({set(1, 1), set(2, 0), call(kRedirectPeer), leave()});
    features.ktime_coarse = loads({call(kKtimeGetCoarseNs), set(0, 0), leave()});
    features.fib_skip_neigh = has_fib_skip_neigh();
    features.adjust_room_decap = has_adjust_room_decap();
    features.batch_lookup = has_batch_lookup();
    features.netns_cookie = has_netns_cookie();
    features.ipv6 = has_ipv6();
    // The newest of the hooks that are needed.
    features.socket_lb = loads_at_sockets(BPF_CGROUP_INET4_GETPEERNAME, {set(0, 1), leave()});
    features.set_retval =
        loads_at_sockets(BPF_CGROUP_INET4_CONNECT, {set(1, -EHOSTUNREACH), call(kSetRetval), set(0, 0), leave()});
    features.socket_destroy = can_destroy_sockets();
    TRY(probe_devices(features, program.get()));
    return features;
}

std::vector<KernelFeatures::Missing> KernelFeatures::missing() const {
    std::vector<Missing> all;
    auto need = [&](bool present, const char* feature, const char* needed_for, const char* kernel, bool required) {
        if (!present) all.push_back({feature, needed_for, kernel, required});
    };
    need(jit, "BPF JIT", "programs at the speed of machine code (net.core.bpf_jit_enable)", "3.18", false);
    need(ring_buffer, "BPF ring buffer", "events: drops, traces, policy verdicts", "5.8", true);
    need(redirect_neigh, "bpf_redirect_neigh", "BPF host routing; without it packets leave through the kernel's stack",
         "5.10", false);
    need(redirect_peer, "bpf_redirect_peer",
         "BPF host routing; without it packets enter pods through the kernel's stack", "5.10", false);
    need(ktime_coarse, "bpf_ktime_get_coarse_ns", "a clock that costs nothing per packet", "5.11", false);
    need(fib_skip_neigh, "BPF_FIB_LOOKUP_SKIP_NEIGH", "deciding on a next hop without a look at its neighbour", "6.3",
         false);
    need(adjust_room_decap, "BPF_F_ADJ_ROOM_DECAP_L3_IPV4/6", "decapsulation in tc where inner and outer family differ",
         "6.3", false);
    need(batch_lookup, "BPF_MAP_LOOKUP_BATCH", "reading large maps quickly", "5.6", false);
    need(netns_cookie, "SO_NETNS_COOKIE", "telling the host's sockets from pods' sockets", "5.14", false);
    need(tcx, "tcx links", "attachment that survives and is updated atomically; without it clsact filters are used",
         "6.6", false);
    need(ipv6, "IPv6", "enable-ipv6", "CONFIG_IPV6, net.ipv6.conf.all.disable_ipv6=0", false);
    need(vxlan, "VXLAN", "routing-mode=tunnel with tunnel-protocol=vxlan", "3.7, CONFIG_VXLAN", false);
    need(geneve, "Geneve", "tunnel-protocol=geneve: tunnels, and bpf-lb-dsr-dispatch=geneve", "4.3, CONFIG_GENEVE",
         false);
    need(socket_lb, "programs at sockets", "services at sockets (bpf-lb-sock)", "5.8, CONFIG_CGROUP_BPF", false);
    need(set_retval, "bpf_set_retval",
         "telling a process that a service has no backend (EHOSTUNREACH; without it EPERM)", "6.1", false);
    need(socket_destroy, "ending sockets of others",
         "sockets whose backend went hear of it; without it they wait for their timeout",
         "4.9, CONFIG_INET_DIAG_DESTROY", false);
    need(xdp, "XDP links", "bpf-lb-acceleration, and the prefilter", "5.9", false);
    return all;
}

}  // namespace axo
