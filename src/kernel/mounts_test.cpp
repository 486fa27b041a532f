#include "kernel/mounts.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

namespace axo {
namespace {

TEST(Mounts, PointTypeAndSource) {
    const auto all = mount_table();
    const auto proc = std::ranges::find(all, "/proc", &Mount::point);
    ASSERT_NE(proc, all.end());
    EXPECT_EQ(proc->type, "proc");
    EXPECT_FALSE(proc->source.empty());
}

// Status of a child with a mount namespace of its own: 0 if it saw both in their order under the name as it is.
int look_in_own_namespace(const std::string& point) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 1;
    for (const char* source : {"first", "second"}) {
        if (::mount(source, point.c_str(), "tmpfs", 0, nullptr) != 0) return 2;
    }
    std::vector<std::string> sources;
    for (const Mount& mount : mount_table()) {
        if (mount.point == point) sources.push_back(mount.source);
    }
    return sources == std::vector<std::string>{"first", "second"} ? 0 : 3;
}

TEST(Mounts, NamesWithSpacesAndSeveralAtOnePoint) {
    if (::geteuid() != 0) GTEST_SKIP() << "mounts need root";
    const std::string point = testing::TempDir() + "axo a point " + std::to_string(::getpid());
    ASSERT_EQ(::mkdir(point.c_str(), 0700), 0);
    const pid_t child = ::fork();
    if (child == 0) ::_exit(look_in_own_namespace(point));
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
    ::rmdir(point.c_str());
}

}  // namespace
}  // namespace axo
