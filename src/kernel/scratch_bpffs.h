// A directory with a BPF file system for one test, unmounted with the object. Only for tests.
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "kernel/bpf_object.h"

namespace axo {

class ScratchBpffs {
public:
    ScratchBpffs() {
        static std::atomic<int> next = 0;
        path_ = "/run/axok-bpf-" + std::to_string(::getpid()) + "-" + std::to_string(next++);
        Status status = ensure_bpffs(path_);
        EXPECT_TRUE(status) << status.error().to_string();
    }
    ScratchBpffs(const ScratchBpffs&) = delete;
    ScratchBpffs& operator=(const ScratchBpffs&) = delete;
    ~ScratchBpffs() {
        ::umount2(path_.c_str(), MNT_DETACH);
        ::rmdir(path_.c_str());
    }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

}  // namespace axo
