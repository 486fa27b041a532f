#include "kernel/locked_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "kernel/features.h"

namespace axo {
namespace {

KernelFeatures of(const char* release) {
    KernelFeatures features;
    features.release = release;
    return features;
}

TEST(LockedMemory, CountsMapsBefore511) {
    EXPECT_TRUE(maps_count_as_locked(of("5.10.0-28-amd64")));
    EXPECT_TRUE(maps_count_as_locked(of("4.19.57")));
    EXPECT_FALSE(maps_count_as_locked(of("5.11.0")));
    EXPECT_FALSE(maps_count_as_locked(of("6.1.0")));
}

// In a process of its own, which is somebody without rights and with a limit: the limit stays, and is told.
TEST(LockedMemory, SaysWhatIsMissingToLiftTheLimit) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const rlimit small{1 << 20, 1 << 20};
        std::string told = "setup failed";
        if (::setrlimit(RLIMIT_MEMLOCK, &small) == 0 && ::setresuid(65534, 65534, 65534) == 0) {
            const auto newer = lift_locked_memory_limit(of("6.1.0"));
            const auto older = lift_locked_memory_limit(of("5.10.9"));
            told = !newer ? "refused on 6.1" : older ? "not refused on 5.10" : older.error().message;
        }
        (void)!::write(ends[1], told.data(), told.size());
        ::_exit(0);
    }
    ::close(ends[1]);
    char told[1024] = {};
    (void)!::read(ends[0], told, sizeof told - 1);
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    EXPECT_NE(std::string_view(told).find("kernel 5.10.9 counts BPF maps as locked memory"), std::string_view::npos)
        << told;
    EXPECT_NE(std::string_view(told).find("1024 KiB"), std::string_view::npos) << told;
    EXPECT_NE(std::string_view(told).find("CAP_SYS_RESOURCE"), std::string_view::npos) << told;
}

}  // namespace
}  // namespace axo
