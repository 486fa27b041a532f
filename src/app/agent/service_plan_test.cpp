#include "app/agent/service_plan.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

KernelFeatures kernel(bool sockets = true, bool xdp = true) {
    KernelFeatures features;
    features.release = "5.4.0";
    features.socket_lb = sockets;
    features.xdp = xdp;
    return features;
}

Config config(KubeProxyReplacement replacement) {
    Config config;
    config.services.replacement = replacement;
    return config;
}

TEST(ServicePlan, EachModeServesWhatItSays) {
    const auto all = plan_services(config(KubeProxyReplacement::kTrue), kernel());
    ASSERT_TRUE(all);
    EXPECT_TRUE(all->complete() && all->session_affinity);
    EXPECT_EQ(all->mode, "True");
    EXPECT_TRUE(all->programs.pods && all->programs.node_port && all->programs.sockets.enabled);

    const auto none = plan_services(config(KubeProxyReplacement::kFalse), kernel(false, false));
    ASSERT_TRUE(none) << "pods' ClusterIPs need nothing";
    EXPECT_EQ(none->mode, "False");
    EXPECT_TRUE(none->programs.pods);
    EXPECT_FALSE(none->socket_lb || none->node_port || none->external_ips || none->host_port);
    EXPECT_FALSE(none->programs.sockets.bind_protection) << "nobody's ports are protected";

    Config partial = config(KubeProxyReplacement::kPartial);
    partial.services.node_port = true;
    const auto some = plan_services(partial, kernel(false, false));
    ASSERT_TRUE(some);
    EXPECT_TRUE(some->node_port);
    EXPECT_FALSE(some->socket_lb || some->external_ips || some->host_port);
}

TEST(ServicePlan, WhatTheKernelLacksIsToldAtOnceAndProbeGoesWithout) {
    Config wanted = config(KubeProxyReplacement::kTrue);
    wanted.datapath.services.acceleration = XdpAcceleration::kNative;
    const auto refused = plan_services(wanted, kernel(false, false));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
    EXPECT_EQ(
        refused.error().message,
        "kube-proxy-replacement=true: kernel 5.4.0 has no programs at the sockets of a cgroup (5.8, CONFIG_CGROUP_BPF), for "
        "services at sockets; XDP links (5.9), for bpf-lb-acceleration; use kube-proxy-replacement=probe for what this "
        "kernel can, with a kube-proxy for the rest");
    wanted.services.replacement = KubeProxyReplacement::kProbe;
    const auto probed = plan_services(wanted, kernel(false, false));
    ASSERT_TRUE(probed);
    EXPECT_FALSE(probed->socket_lb);
    EXPECT_TRUE(probed->node_port);
    EXPECT_EQ(probed->programs.acceleration, XdpAcceleration::kDisabled);
    // Best effort is content with nothing.
    wanted = config(KubeProxyReplacement::kTrue);
    wanted.datapath.services.acceleration = XdpAcceleration::kBestEffort;
    EXPECT_TRUE(plan_services(wanted, kernel(true, false)));
}

}  // namespace
}  // namespace axo
