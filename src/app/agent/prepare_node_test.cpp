#include "app/agent/prepare_node.h"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"

namespace axo {
namespace {

namespace fs = std::filesystem;

class PrepareNode : public testing::Test {
protected:
    void SetUp() override {
        fs::create_directories(root_ / "image");
        ASSERT_TRUE(write_atomic(root_ / "image/cilium-cni", "plugin 1", 0755));
    }
    void TearDown() override {
        for (const pid_t child : children_) {
            ::kill(child, SIGKILL);
            ::waitpid(child, nullptr, 0);
        }
        fs::remove_all(root_);
    }

    // A process whose mounts are its own, and a directory in which it is process 1.
    fs::path make_node() {
        int ready[2];
        EXPECT_EQ(::pipe(ready), 0);
        const pid_t child = ::fork();
        if (child == 0) {
            const bool good = ::unshare(CLONE_NEWNS | CLONE_NEWCGROUP) == 0 &&
                              ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                              ::mount("tmpfs", root_.c_str(), "tmpfs", 0, nullptr) == 0 &&
                              ::mkdir((root_ / "sysctl.d").c_str(), 0755) == 0;
            (void)!::write(ready[1], good ? "+" : "-", 1);
            for (;;) ::pause();
        }
        children_.push_back(child);
        char answer = '-';
        EXPECT_EQ(::read(ready[0], &answer, 1), 1);
        EXPECT_EQ(answer, '+') << "unshare and mount need root";
        ::close(ready[0]);
        ::close(ready[1]);
        node_ = "/proc/" + std::to_string(child) + "/root" + root_.string();
        fs::create_directories(root_ / "proc");
        fs::create_directory_symlink("/proc/" + std::to_string(child), root_ / "proc/1");
        return root_ / "proc";
    }

    // In a process of its own: it does not come back from the node.
    int run(const NodePreparation& wanted) {
        const pid_t child = ::fork();
        if (child == 0) {
            const Status done = prepare_node(wanted);
            if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
            ::_exit(done ? 0 : 1);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        return WEXITSTATUS(status);
    }

    long file_system(const fs::path& path) {
        struct statfs found{};
        return ::statfs(path.c_str(), &found) == 0 ? static_cast<long>(found.f_type) : 0;
    }

    fs::path root_ = "/tmp/axo-prepare-" + std::to_string(::getpid());
    fs::path node_;
    std::vector<pid_t> children_;
};

TEST_F(PrepareNode, WorksInTheNodesNamespaces) {
    NodePreparation wanted{.host_proc = make_node(),
                           .cgroup_root = root_ / "cgroupv2",
                           .bpf_root = root_ / "bpf",
                           .sysctl_dir = root_ / "sysctl.d",
                           .cni_plugin = root_ / "image/cilium-cni",
                           .cni_bin_dir = root_ / "cni/bin"};
    for (int pass = 0; pass < 2; ++pass) {
        ASSERT_EQ(run(wanted), 0);
        EXPECT_EQ(file_system(node_ / "cgroupv2"), CGROUP2_SUPER_MAGIC);
        EXPECT_EQ(file_system(node_ / "bpf"), BPF_FS_MAGIC);
        EXPECT_EQ(read_file(node_ / "cni/bin/cilium-cni").value_or(""), "plugin 1");
        EXPECT_EQ(fs::status(node_ / "cni/bin/cilium-cni").permissions(), fs::perms{0755});
        EXPECT_NE(read_file(node_ / "sysctl.d/99-zzz-override_cilium.conf").value_or("").find("lxc*.rp_filter = 0"),
                  std::string::npos);
    }
    EXPECT_FALSE(fs::exists(root_ / "cgroupv2")) << "made here, not on the node";

    ASSERT_TRUE(write_atomic(root_ / "image/cilium-cni", "plugin 2", 0755));
    ASSERT_EQ(run(wanted), 0);
    EXPECT_EQ(read_file(node_ / "cni/bin/cilium-cni").value_or(""), "plugin 2");

    wanted.undo = true;
    for (int pass = 0; pass < 2; ++pass) {
        ASSERT_EQ(run(wanted), 0);
        for (const char* gone : {"cgroupv2", "bpf", "cni/bin/cilium-cni", "sysctl.d/99-zzz-override_cilium.conf"})
            EXPECT_FALSE(fs::exists(node_ / gone)) << gone;
    }
}

TEST_F(PrepareNode, UndoLeavesWhatIsNotOurs) {
    NodePreparation wanted{.host_proc = make_node(),
                           .bpf_root = root_ / "bpf",
                           .sysctl_dir = root_ / "sysctl.d",
                           .cni_plugin = root_ / "image/cilium-cni",
                           .cni_bin_dir = root_ / "cni/bin"};
    ASSERT_EQ(run(wanted), 0);
    ASSERT_TRUE(write_atomic(node_ / "cni/bin/cilium-cni", "another's", 0755));
    ASSERT_TRUE(write_atomic(node_ / "sysctl.d/99-zzz-override_cilium.conf", "changed", 0644));
    fs::create_directory(node_ / "bpf/pinned");
    wanted.undo = true;
    ASSERT_EQ(run(wanted), 0);
    EXPECT_EQ(read_file(node_ / "cni/bin/cilium-cni").value_or(""), "another's");
    EXPECT_EQ(read_file(node_ / "sysctl.d/99-zzz-override_cilium.conf").value_or(""), "changed");
    EXPECT_EQ(file_system(node_ / "bpf"), BPF_FS_MAGIC);
}

TEST_F(PrepareNode, NodeWithoutSystemd) {
    NodePreparation wanted{.host_proc = make_node(), .sysctl_dir = root_ / "absent.d"};
    EXPECT_EQ(run(wanted), 0);
    EXPECT_FALSE(fs::exists(node_ / "absent.d"));
}

TEST_F(PrepareNode, ProcWithoutTheNodesProcessIsAnError) {
    EXPECT_EQ(run({.host_proc = root_ / "nothing", .bpf_root = root_ / "bpf"}), 1);
}

TEST(NodePreparation, Arguments) {
    const auto parsed = parse_node_preparation({"--host-proc=/hostproc", "--bpf-root=/sys/fs/bpf"});
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->host_proc, "/hostproc");
    EXPECT_EQ(parsed->bpf_root, "/sys/fs/bpf");
    EXPECT_TRUE(parsed->cgroup_root.empty());
    for (const char* wrong : {"--bpf-rot=/x", "--bpf-root", "--bpf-root=x", "--bpf-root=", "/x"})
        EXPECT_FALSE(parse_node_preparation({wrong})) << wrong;
    EXPECT_FALSE(parse_node_preparation({"--cni-plugin=/x"}));
}

}  // namespace
}  // namespace axo
