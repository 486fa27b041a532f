#include "kernel/features.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <chrono>
#include <cstdio>

#include "kernel/scratch_netns.h"

namespace axo {
namespace {

// "6.18.44" -> 6018: the release is good enough to check the probes against, not to replace them.
int version(const std::string& release) {
    int major = 0;
    int minor = 0;
    std::sscanf(release.c_str(), "%d.%d", &major, &minor);
    return major * 1000 + minor;
}

TEST(Features, AgreeWithTheMainlineRelease) {
    auto features = probe_kernel_features();
    ASSERT_OK(features);
    const int kernel = version(features->release);
    EXPECT_EQ(features->release.find_first_not_of("0123456789."), std::string::npos);
    EXPECT_GT(kernel, 4000);
    EXPECT_EQ(features->ring_buffer, kernel >= 5008);
    EXPECT_EQ(features->tcx, kernel >= 6006);
    EXPECT_EQ(features->redirect_neigh, kernel >= 5010);
    EXPECT_EQ(features->redirect_peer, kernel >= 5010);
    EXPECT_EQ(features->ktime_coarse, kernel >= 5011);
    // Stable series take these two back: 6.1.176 has the first.
    EXPECT_TRUE(features->fib_skip_neigh || kernel < 6003);
    EXPECT_TRUE(features->adjust_room_decap || kernel < 6003);
    EXPECT_EQ(features->batch_lookup, kernel >= 5006);
    EXPECT_EQ(features->netns_cookie, kernel >= 5014);
    EXPECT_EQ(features->socket_lb, kernel >= 5008);
    EXPECT_EQ(features->set_retval, kernel >= 6001);
    EXPECT_EQ(features->xdp, kernel >= 5009);
    const ScratchNetns netns;
    Netlink::VxlanSpec spec;
    spec.name = "vxlan0";
    EXPECT_EQ(features->vxlan, netns.netlink().add_vxlan(spec).has_value());
    EXPECT_EQ(features->geneve, netns.netlink().add_geneve({.name = "geneve0"}).has_value());
}

TEST(Features, Ipv6FollowsTheCallersNamespace) {
    const ScratchNetns netns;
    netns.inside([] {
        ASSERT_OK(write_sysctl("net.ipv6.conf.all.disable_ipv6", "0"));
        EXPECT_TRUE(probe_kernel_features()->ipv6);
        ASSERT_OK(write_sysctl("net.ipv6.conf.all.disable_ipv6", "1"));
        EXPECT_FALSE(probe_kernel_features()->ipv6);
    });
}

TEST(Features, MissingOnesAreExplained) {
    KernelFeatures none;
    const auto missing = none.missing();
    EXPECT_EQ(missing.size(), 17U);
    int required = 0;
    for (const KernelFeatures::Missing& entry : missing) {
        EXPECT_FALSE(entry.feature.empty() || entry.needed_for.empty() || entry.kernel.empty());
        if (entry.required) {
            ++required;
            EXPECT_EQ(entry.feature, "BPF ring buffer");
            EXPECT_EQ(entry.kernel, "5.8");
        }
    }
    EXPECT_EQ(required, 1);
    none.tcx = true;
    for (const KernelFeatures::Missing& entry : none.missing()) EXPECT_NE(entry.feature, "tcx links");
}

TEST(Features, ProbingIsQuickAndLeavesNothing) {
    const auto links_before = Netlink::open()->links()->size();
    ASSERT_OK(probe_kernel_features());
    const auto start = std::chrono::steady_clock::now();
    ASSERT_OK(probe_kernel_features());
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    std::printf("%-24s %8.1f ms\n", "probe_kernel_features", ms);
    EXPECT_LT(ms, 500);
    EXPECT_EQ(Netlink::open()->links()->size(), links_before);
}

}  // namespace
}  // namespace axo
