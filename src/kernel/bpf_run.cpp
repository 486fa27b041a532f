// Running a program on a given packet (BPF_PROG_TEST_RUN).
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>

#include "kernel/bpf_object.h"

namespace axo {

Result<TestRun> run_program(int program_fd, std::span<const std::byte> packet, const TestRunContext& context,
                            std::uint32_t repeat) {
    bpf_prog_info info{};
    std::uint32_t info_size = sizeof(info);
    if (bpf_obj_get_info_by_fd(program_fd, &info, &info_size) != 0)
        return fail_errno("run BPF program: read its properties");

    // Room for what programs push in front; the kernel refuses to truncate silently.
    constexpr std::size_t kGrowth = 4096;
    TestRun run;
    run.packet_out.resize(packet.size() + kGrowth);
    __sk_buff skb{};
    skb.ifindex = context.ifindex;
    skb.mark = context.mark;
    skb.gso_size = context.gso_size;
    skb.gso_segs = context.gso_segs;
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = packet.data();
    options.data_size_in = static_cast<std::uint32_t>(packet.size());
    options.data_out = run.packet_out.data();
    options.data_size_out = static_cast<std::uint32_t>(run.packet_out.size());
    if (info.type == BPF_PROG_TYPE_SCHED_CLS || info.type == BPF_PROG_TYPE_SCHED_ACT) {
        options.ctx_in = &skb;
        options.ctx_size_in = sizeof(skb);
    }
    xdp_md frame{};
    frame.data_end = static_cast<std::uint32_t>(packet.size());
    frame.ingress_ifindex = context.ifindex;
    if (info.type == BPF_PROG_TYPE_XDP && context.ifindex != TestRunContext{}.ifindex) {
        options.ctx_in = &frame;
        options.ctx_size_in = sizeof(frame);
    }
    options.repeat = static_cast<int>(repeat);
    if (bpf_prog_test_run_opts(program_fd, &options) != 0) {
        const int err = errno;
        return fail_errno("run BPF program " + std::string(info.name) + " on a packet of " +
                              std::to_string(packet.size()) + " bytes, interface " + std::to_string(context.ifindex),
                          err);
    }
    run.packet_out.resize(options.data_size_out);
    run.return_value = options.retval;
    run.average_ns = options.duration;
    return run;
}

}  // namespace axo
