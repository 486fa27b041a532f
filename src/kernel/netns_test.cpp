#include "kernel/netns.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "kernel/features.h"
#include "kernel/scratch_netns.h"

namespace axo {
namespace {

ino_t current_netns() {
    struct stat info{};
    EXPECT_EQ(::stat("/proc/thread-self/ns/net", &info), 0);
    return info.st_ino;
}

ino_t inode(int fd) {
    struct stat info{};
    EXPECT_EQ(::fstat(fd, &info), 0);
    return info.st_ino;
}

TEST(Netns, CreateIsIdempotentAndKeepsTheNamespace) {
    const ScratchNetns netns;
    const ino_t before = inode(netns.fd());
    EXPECT_NE(before, current_netns());
    ASSERT_OK(create_netns(netns.path()));
    auto again = open_netns(netns.path());
    ASSERT_OK(again);
    EXPECT_EQ(inode(again->get()), before);
}

TEST(Netns, RemoveIsIdempotentAndSparesOtherFiles) {
    {
        const ScratchNetns netns;
        ASSERT_OK(remove_netns(netns.path()));
        EXPECT_NE(::access(netns.path().c_str(), F_OK), 0);
        ASSERT_OK(remove_netns(netns.path()));
    }
    const std::string file = "/tmp/axok-" + std::to_string(::getpid());
    std::ofstream(file) << "not a namespace";
    const Status status = remove_netns(file);
    EXPECT_FALSE(status);
    EXPECT_EQ(::access(file.c_str(), F_OK), 0);
    EXPECT_EQ(open_netns(file).error().code, Code::kInvalidArgument);
    ::unlink(file.c_str());
    EXPECT_EQ(open_netns(file).error().code, Code::kNotFound);
}

TEST(Netns, RunReturnsToTheOldNamespaceAlsoAfterErrors) {
    const ScratchNetns netns;
    const ino_t home = current_netns();
    const Status status = run_in_netns(netns.fd(), [&]() -> Status {
        EXPECT_EQ(current_netns(), inode(netns.fd()));
        return fail(Code::kAborted, "on purpose");
    });
    EXPECT_EQ(status.error().code, Code::kAborted);
    EXPECT_EQ(current_netns(), home);
    EXPECT_FALSE(run_in_netns(-1, [] { return Status{}; }));
    EXPECT_EQ(current_netns(), home);
}

TEST(Netns, CookiesTellNamespacesApart) {
    if (!probe_kernel_features()->netns_cookie) GTEST_SKIP() << "this kernel has no SO_NETNS_COOKIE (5.14)";
    const ScratchNetns one;
    const ScratchNetns two;
    auto first = netns_cookie(one.fd());
    auto second = netns_cookie(two.fd());
    ASSERT_OK(first);
    ASSERT_OK(second);
    EXPECT_NE(*first, 0U);
    EXPECT_NE(*first, *second);
}

TEST(Netns, SysctlsAreThoseOfTheCallingThread) {
    const ScratchNetns netns;
    const std::string key = "net.ipv4.conf.lo.rp_filter";
    auto outside = read_sysctl(key);
    ASSERT_OK(outside);
    const std::string other = *outside == "2" ? "1" : "2";
    std::thread([&] {
        netns.inside([&] {
            EXPECT_OK(write_sysctl(key, other));
            EXPECT_EQ(read_sysctl(key).value_or(""), other);
        });
    }).join();
    EXPECT_EQ(read_sysctl(key).value_or(""), *outside);
    netns.inside([&] { EXPECT_EQ(read_sysctl(key).value_or(""), other); });
}

TEST(Netns, SysctlOfADeviceWithADotInItsName) {
    const ScratchNetns netns;
    Netlink netlink = netns.netlink();
    ASSERT_OK(netlink.add_bridge("br.7"));
    netns.inside([&] {
        EXPECT_OK(write_sysctl("net.ipv4.conf.br/7.forwarding", "1"));
        EXPECT_EQ(read_sysctl("net.ipv4.conf.br/7.forwarding").value_or(""), "1");
    });
}

TEST(Netns, SysctlErrorsNameTheKey) {
    auto missing = read_sysctl("net.ipv4.no_such_key");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Code::kNotFound);
    EXPECT_NE(missing.error().message.find("net.ipv4.no_such_key"), std::string::npos);
    const ScratchNetns netns;
    netns.inside([&] {
        const Status refused = write_sysctl("net.ipv4.ip_forward", "maybe");
        ASSERT_FALSE(refused);
        EXPECT_NE(refused.error().message.find("net.ipv4.ip_forward = maybe"), std::string::npos);
    });
}

}  // namespace
}  // namespace axo
