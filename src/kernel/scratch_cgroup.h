// A cgroup for one test, below this process's own and removed with the object. Only for tests.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

namespace axo {

class ScratchCgroup {
public:
    // joined: this process is in it while the object lives. Without a cgroup v2 hierarchy path() is empty.
    explicit ScratchCgroup(bool joined) : joined_(joined) {
        std::string root;
        for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
            if (::access((std::string(mount) + "/cgroup.procs").c_str(), W_OK) == 0) root = mount;
        }
        if (root.empty()) return;
        std::ifstream mine("/proc/self/cgroup");
        for (std::string line; std::getline(mine, line);) {
            if (line.starts_with("0::")) before_ = root + line.substr(3);
        }
        static std::atomic<int> next = 0;
        path_ = before_ + "/axok-" + std::to_string(::getpid()) + "-" + std::to_string(next++);
        EXPECT_EQ(::mkdir(path_.c_str(), 0755), 0) << path_ << ": " << std::strerror(errno);
        if (joined_) join(path_);
    }
    ScratchCgroup(const ScratchCgroup&) = delete;
    ScratchCgroup& operator=(const ScratchCgroup&) = delete;
    ~ScratchCgroup() {
        if (path_.empty()) return;
        if (joined_) join(before_);
        EXPECT_EQ(::rmdir(path_.c_str()), 0) << path_ << ": " << std::strerror(errno);
    }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    static void join(const std::string& cgroup) {
        std::ofstream members(cgroup + "/cgroup.procs");
        members << ::getpid() << std::flush;
        EXPECT_TRUE(members.good()) << cgroup;
    }
    bool joined_;
    std::string before_, path_;
};

}  // namespace axo
