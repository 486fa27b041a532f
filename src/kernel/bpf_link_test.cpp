#include "kernel/bpf_link.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

#include <chrono>
#include <cstdio>

#include "kernel/features.h"
#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_netns.h"

namespace axo {
namespace {

// A program that returns `verdict`.
Fd program(int verdict, const char* name = "axok_prog") {
    const bpf_insn code[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, verdict}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    Fd fd(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, name, "GPL", code, std::size(code), nullptr));
    EXPECT_TRUE(static_cast<bool>(fd)) << std::strerror(errno);
    return fd;
}

std::string shell(const std::string& command) {
    std::string output;
    std::FILE* pipe = ::popen(command.c_str(), "r");
    char line[512];
    while (pipe != nullptr && std::fgets(line, sizeof(line), pipe) != nullptr) output += line;
    if (pipe != nullptr) ::pclose(pipe);
    return output;
}

bool has_tcx() {
    static const bool has = probe_kernel_features().value().tcx;
    return has;
}

class BpfLinkTest : public ::testing::TestWithParam<AttachMode> {
protected:
    void SetUp() override {
        if (GetParam() == AttachMode::kTcx && !has_tcx()) GTEST_SKIP() << "this kernel has no tcx links (6.6)";
        make_device();
    }
    void make_device() {
        Netlink::VethSpec spec;
        spec.name = "lxc0";
        spec.peer_name = "eth0";
        ASSERT_OK(netlink_.add_veth(spec));
        auto host = netlink_.link("lxc0");
        auto peer = netlink_.link("eth0");
        ASSERT_OK(host);
        ASSERT_OK(peer);
        device_ = host->index;
        ASSERT_OK(netlink_.set_up(host->index, true));
        ASSERT_OK(netlink_.set_up(peer->index, true));
    }
    TcAttachment attachment(const Fd& program, TcDirection direction = TcDirection::kIngress) const {
        TcAttachment result;
        result.device = device_;
        result.device_name = "lxc0";
        result.direction = direction;
        result.program_name = direction == TcDirection::kIngress ? "cil_from_container" : "cil_to_container";
        result.program_fd = program.get();
        result.pin_path = bpffs_.path() + "/devices/lxc0/links/" + result.program_name;
        return result;
    }
    Result<AttachOutcome> attach(const TcAttachment& what) {
        Result<AttachOutcome> outcome;
        netns_.inside([&] { outcome = attach_tc(what, GetParam()); });
        return outcome;
    }
    Status detach(const TcAttachment& what) {
        Status status;
        netns_.inside([&] { status = detach_tc(what, GetParam()); });
        return status;
    }
    std::string filters() const {
        return shell("tc -n " + netns_.path().substr(std::string("/run/netns/").size()) +
                     " filter show dev lxc0 ingress");
    }

    ScratchBpffs bpffs_;
    ScratchNetns netns_;
    Netlink netlink_ = netns_.netlink();
    IfIndex device_;
};

TEST_P(BpfLinkTest, AttachAdoptUpdateDetach) {
    const Fd first = program(TC_ACT_OK);
    const Fd second = program(TC_ACT_SHOT);
    auto outcome = attach(attachment(first));
    ASSERT_OK(outcome);
    EXPECT_TRUE(outcome->changed);
    outcome = attach(attachment(first));
    ASSERT_OK(outcome);
    EXPECT_FALSE(outcome->changed);
    outcome = attach(attachment(second));
    ASSERT_OK(outcome);
    EXPECT_TRUE(outcome->changed);
    if (GetParam() == AttachMode::kTcx) {
        auto running = linked_program_id(attachment(first).pin_path);
        ASSERT_OK(running);
        EXPECT_EQ(*running, *program_id(second.get()));
    } else {
        const std::string shown = filters();
        EXPECT_NE(shown.find("cil_from_container-lxc0 direct-action"), std::string::npos) << shown;
        EXPECT_NE(shown.find("id " + std::to_string(*program_id(second.get()))), std::string::npos) << shown;
        EXPECT_EQ(shown.find("id " + std::to_string(*program_id(first.get()))), std::string::npos) << shown;
        EXPECT_NE(shown.find("pref 1 "), std::string::npos) << shown;
        EXPECT_NE(shown.find("handle 0x1 "), std::string::npos) << shown;
    }
    for (int round = 0; round < 2; ++round) ASSERT_OK(detach(attachment(second)));
    EXPECT_FALSE(linked_program_id(attachment(first).pin_path)->has_value());
    outcome = attach(attachment(first));
    ASSERT_OK(outcome);
    EXPECT_TRUE(outcome->changed);
}

// Not only names and numbers: packets meet the program.
TEST_P(BpfLinkTest, TheProgramRuns) {
    const ScratchNetns pod;
    ASSERT_OK(netlink_.move_to_netns(netlink_.link("eth0")->index, pod.fd()));
    Netlink inner = pod.netlink();
    const IfIndex eth0 = inner.link("eth0")->index;
    ASSERT_OK(inner.set_up(eth0, true));
    ASSERT_OK(inner.add_address(eth0, Prefix::parse("192.0.2.2/24").value(), IpAddress::parse("192.0.2.2").value()));
    ASSERT_OK(
        netlink_.add_address(device_, Prefix::parse("192.0.2.1/24").value(), IpAddress::parse("192.0.2.1").value()));
    auto ping = [&] {
        return shell("nsenter --net=" + pod.path() +
                     " ping -c1 -W0.2 192.0.2.1 >/dev/null 2>&1 && echo yes || echo no") == "yes\n";
    };
    ASSERT_TRUE(ping());
    for (const TcDirection direction : {TcDirection::kIngress, TcDirection::kEgress}) {
        const Fd pass = program(TC_ACT_OK);
        const Fd drop = program(TC_ACT_SHOT);
        ASSERT_OK(attach(attachment(drop, direction)));
        EXPECT_FALSE(ping());
        ASSERT_OK(attach(attachment(pass, direction)));
        EXPECT_TRUE(ping());
        ASSERT_OK(attach(attachment(drop, direction)));
        EXPECT_FALSE(ping());
        ASSERT_OK(detach(attachment(drop, direction)));
        EXPECT_TRUE(ping());
    }
}

TEST_P(BpfLinkTest, ARecreatedDeviceIsAttachedAnew) {
    const Fd one = program(TC_ACT_OK);
    ASSERT_OK(attach(attachment(one)));
    ASSERT_OK(netlink_.remove_link("lxc0"));
    make_device();
    auto outcome = attach(attachment(one));
    ASSERT_OK(outcome);
    EXPECT_TRUE(outcome->changed);
    outcome = attach(attachment(one));
    ASSERT_OK(outcome);
    EXPECT_FALSE(outcome->changed);
    ASSERT_OK(netlink_.remove_link("lxc0"));
    ASSERT_OK(detach(attachment(one)));
}

TEST_P(BpfLinkTest, BothDirectionsAreIndependent) {
    const Fd in = program(TC_ACT_OK);
    const Fd out = program(TC_ACT_OK);
    ASSERT_OK(attach(attachment(in, TcDirection::kIngress)));
    ASSERT_OK(attach(attachment(out, TcDirection::kEgress)));
    ASSERT_OK(detach(attachment(in, TcDirection::kIngress)));
    auto outcome = attach(attachment(out, TcDirection::kEgress));
    ASSERT_OK(outcome);
    EXPECT_FALSE(outcome->changed);
}

TEST_P(BpfLinkTest, ErrorsNameProgramAndDevice) {
    const Fd one = program(TC_ACT_OK);
    TcAttachment nowhere = attachment(one);
    nowhere.device = IfIndex(99999);
    auto outcome = attach(nowhere);
    ASSERT_FALSE(outcome);
    EXPECT_NE(outcome.error().message.find("lxc0"), std::string::npos) << outcome.error().message;
    EXPECT_NE(outcome.error().message.find("cil_from_container"), std::string::npos) << outcome.error().message;
    EXPECT_EQ(outcome.error().code, Code::kNotFound) << outcome.error().message;
    nowhere.program_fd = -1;
    EXPECT_FALSE(attach(nowhere));
}

TEST_P(BpfLinkTest, AttachIsQuick) {
    const Fd first = program(TC_ACT_OK);
    const Fd second = program(TC_ACT_OK);
    constexpr int kCount = 20;
    using Clock = std::chrono::steady_clock;
    double attach_us = 0, update_us = 0, adopt_us = 0, detach_us = 0;
    auto timed = [](double& total, auto&& work) {
        const auto start = Clock::now();
        work();
        total += std::chrono::duration<double, std::micro>(Clock::now() - start).count() / kCount;
    };
    netns_.inside([&] {
        for (int i = 0; i < kCount; ++i) {
            timed(attach_us, [&] { EXPECT_OK(attach_tc(attachment(first), GetParam())); });
            timed(update_us, [&] { EXPECT_OK(attach_tc(attachment(second), GetParam())); });
            timed(adopt_us, [&] { EXPECT_OK(attach_tc(attachment(second), GetParam())); });
            timed(detach_us, [&] { EXPECT_OK(detach_tc(attachment(second), GetParam())); });
        }
    });
    std::printf("%-10s attach %.1f us, update %.1f us, adopt %.1f us, detach %.1f us\n",
                GetParam() == AttachMode::kTcx ? "tcx" : "legacy tc", attach_us, update_us, adopt_us, detach_us);
    EXPECT_LT(update_us, 20000);
    EXPECT_LT(adopt_us, 5000);
}

INSTANTIATE_TEST_SUITE_P(Modes, BpfLinkTest, ::testing::Values(AttachMode::kTcx, AttachMode::kLegacyTc),
                         [](const auto& info) { return info.param == AttachMode::kTcx ? "Tcx" : "LegacyTc"; });

TEST(BpfLinkLegacy, ForeignFiltersAndTheirQdiscStay) {
    const ScratchNetns netns;
    Netlink netlink = netns.netlink();
    Netlink::VethSpec spec;
    spec.name = "lxc0";
    spec.peer_name = "eth0";
    ASSERT_OK(netlink.add_veth(spec));
    const Fd one = program(TC_ACT_OK);
    TcAttachment attachment;
    attachment.device = netlink.link("lxc0")->index;
    attachment.device_name = "lxc0";
    attachment.program_name = "cil_from_container";
    attachment.program_fd = one.get();
    const std::string ns = netns.path().substr(std::string("/run/netns/").size());
    netns.inside([&] {
        // Ours alone: the qdisc goes with it.
        EXPECT_OK(attach_tc(attachment, AttachMode::kLegacyTc));
        EXPECT_NE(shell("tc -n " + ns + " qdisc show dev lxc0").find("clsact"), std::string::npos);
        EXPECT_OK(detach_tc(attachment, AttachMode::kLegacyTc));
        EXPECT_EQ(shell("tc -n " + ns + " qdisc show dev lxc0").find("clsact"), std::string::npos);
        // With another's program in the other direction it stays.
        EXPECT_OK(attach_tc(attachment, AttachMode::kLegacyTc));
        TcAttachment other = attachment;
        other.direction = TcDirection::kEgress;
        other.program_name = "someone_else";
        EXPECT_OK(attach_tc(other, AttachMode::kLegacyTc));
        EXPECT_OK(detach_tc(attachment, AttachMode::kLegacyTc));
        EXPECT_NE(shell("tc -n " + ns + " filter show dev lxc0 egress").find("someone_else-lxc0"), std::string::npos);
        TcAttachment not_ours = other;
        not_ours.program_name = "cil_to_container";
        EXPECT_OK(detach_tc(not_ours, AttachMode::kLegacyTc));
        EXPECT_NE(shell("tc -n " + ns + " filter show dev lxc0 egress").find("someone_else-lxc0"), std::string::npos);
    });
}

TEST(BpfLinkTcx, SurvivesItsCreatorAndNeedsAPin) {
    if (!has_tcx()) GTEST_SKIP() << "this kernel has no tcx links (6.6)";
    const ScratchNetns netns;
    const ScratchBpffs bpffs;
    TcAttachment attachment;
    attachment.device = IfIndex(1);
    attachment.device_name = "lo";
    attachment.program_name = "axok";
    std::uint32_t id = 0;
    {
        const Fd one = program(TC_ACT_OK);
        attachment.program_fd = one.get();
        id = *program_id(one.get());
        netns.inside([&] {
            EXPECT_EQ(attach_tc(attachment, AttachMode::kTcx).error().code, Code::kInvalidArgument);
            attachment.pin_path = bpffs.path() + "/link";
            EXPECT_OK(attach_tc(attachment, AttachMode::kTcx));
        });
    }
    auto running = linked_program_id(attachment.pin_path);
    ASSERT_OK(running);
    EXPECT_EQ(*running, id);
    netns.inside([&] { EXPECT_OK(detach_tc(attachment, AttachMode::kTcx)); });
    EXPECT_LT(bpf_prog_get_fd_by_id(id), 0);
}

}  // namespace
}  // namespace axo
