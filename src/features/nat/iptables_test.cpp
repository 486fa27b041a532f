#include "features/nat/iptables.h"

#include <gtest/gtest.h>

namespace axo::nat {
namespace {

constexpr const char* kEmpty = "*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n";
constexpr const char* kHint = "*mangle\n:PREROUTING ACCEPT [0:0]\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n";
constexpr const char* kCanary = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n";
constexpr const char* kRule = "*mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n";

TEST(Iptables, KubeletsHintDecides) {
    EXPECT_FALSE(uses_legacy(kHint, ""));
    EXPECT_FALSE(uses_legacy(kHint, kRule));
    EXPECT_TRUE(uses_legacy(kEmpty, kHint));
    EXPECT_TRUE(uses_legacy(kRule, kCanary));
}

TEST(Iptables, WithoutAHintRulesDo) {
    EXPECT_FALSE(uses_legacy("", ""));
    EXPECT_FALSE(uses_legacy(kEmpty, kEmpty));
    EXPECT_FALSE(uses_legacy(kRule, kRule));
    EXPECT_TRUE(uses_legacy(kEmpty, kRule));
}

}  // namespace
}  // namespace axo::nat
