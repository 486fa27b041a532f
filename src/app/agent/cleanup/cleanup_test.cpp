#include "app/agent/cleanup/cleanup.h"

#include <gtest/gtest.h>

#include <set>

#include "app/agent/instance_lock.h"
#include "base/file.h"
#include "kernel/scratch_bpffs.h"
#include "kernel/scratch_netns.h"

namespace axo {
namespace {

namespace fs = std::filesystem;

class CleanupTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        fs::remove_all(root_);
        bpffs_ = std::make_unique<ScratchBpffs>();
        netns_ = std::make_unique<ScratchNetns>();
        settings_.bpf.root = bpffs_->path();
        settings_.state_dir = root_ / "cilium";
        settings_.cni_conf_dir = root_ / "net.d";
        settings_.cni_bin_dir = root_ / "bin";
    }
    void TearDown() override { fs::remove_all(root_); }

    void put(const fs::path& path, const std::string& text) {
        ASSERT_OK(make_directories(path.parent_path()));
        ASSERT_OK(write_atomic(path, text));
    }
    std::vector<std::string> found() {
        std::vector<std::string> all;
        netns_->inside([&] {
            const auto leftovers = find_leftovers(settings_);
            ASSERT_OK(leftovers);
            for (const Leftover& one : *leftovers) all.push_back(one.kind + " " + one.what);
        });
        return all;
    }

    const fs::path root_ = "/tmp/axo-cleanup-" + std::to_string(::getpid());
    CleanupSettings settings_;
    std::unique_ptr<ScratchBpffs> bpffs_;
    std::unique_ptr<ScratchNetns> netns_;
};

TEST_F(CleanupTest, OursGoesAndOthersStay) {
    EXPECT_EQ(found(), std::vector<std::string>{});
    put(settings_.cni_conf_dir / "05-cilium.conflist", R"({"plugins":[{"type":"cilium-cni"}]})");
    put(settings_.cni_conf_dir / "10-other.conf.cilium_bak", R"({"type":"other"})");
    put(settings_.cni_conf_dir / "20-more.conf", R"({"type":"more"})");
    put(settings_.cni_bin_dir / "cilium-cni", "… axoneme …");
    put(settings_.cni_bin_dir / "other", "axoneme");
    put(settings_.state_dir / "state" / "node.json", "{}");
    put(settings_.state_dir / "cilium.sock", "");
    put(settings_.state_dir / "others", "");
    fs::create_directories(bpffs_->path() + "/other");
    netns_->inside([] {
        auto netlink = Netlink::open();
        ASSERT_OK(netlink);
        for (const auto& [name, peer] :
             {std::pair{"lxc0123456789ab", "a"}, std::pair{"lxcbr0", "b"}, std::pair{"cilium_host", "cilium_net"}})
            ASSERT_OK(netlink->add_veth({.name = name, .peer_name = peer, .mac = {}, .peer_mac = {}}));
    });
    const std::string conf = settings_.cni_conf_dir.string(), state = settings_.state_dir.string();
    auto all = found();
    EXPECT_EQ(std::set<std::string>(all.begin(), all.end()),
              (std::set<std::string>{"CNI configuration " + conf + "/05-cilium.conflist",
                                     "CNI configuration " + conf + "/10-other.conf.cilium_bak",
                                     "CNI plugin " + (settings_.cni_bin_dir / "cilium-cni").string(),
                                     "device cilium_host", "device cilium_net", "pod's device lxc0123456789ab",
                                     "file " + state + "/cilium.sock", "file " + state + "/state"}));
    netns_->inside([&] { ASSERT_OK(remove_leftovers(settings_)); });
    EXPECT_EQ(found(), std::vector<std::string>{});
    EXPECT_TRUE(fs::exists(settings_.cni_conf_dir / "10-other.conf"));
    EXPECT_TRUE(fs::exists(settings_.cni_conf_dir / "20-more.conf"));
    EXPECT_TRUE(fs::exists(settings_.cni_bin_dir / "other"));
    EXPECT_TRUE(fs::exists(settings_.state_dir / "others"));
    EXPECT_TRUE(fs::exists(bpffs_->path() + "/other"));
    EXPECT_TRUE(netns_->netlink().link("lxcbr0"));
    netns_->inside([&] { EXPECT_OK(remove_leftovers(settings_)); });
}

TEST_F(CleanupTest, OnlyBpfState) {
    put(settings_.state_dir / "state" / "node.json", "{}");
    settings_.all_state = false;
    netns_->inside([] {
        auto netlink = Netlink::open();
        ASSERT_OK(netlink->add_veth({.name = "cilium_host", .peer_name = "cilium_net", .mac = {}, .peer_mac = {}}));
    });
    EXPECT_EQ(found(), (std::vector<std::string>{"device cilium_net", "device cilium_host"}));
    netns_->inside([&] { ASSERT_OK(remove_leftovers(settings_)); });
    EXPECT_TRUE(fs::exists(settings_.state_dir / "state" / "node.json"));
    EXPECT_FALSE(netns_->netlink().link("cilium_host"));
}

TEST_F(CleanupTest, NotUnderARunningAgent) {
    const auto lock = lock_instance(settings_.state_dir);
    ASSERT_OK(lock);
    netns_->inside([&] {
        const Status refused = remove_leftovers(settings_);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
    });
}

TEST_F(CleanupTest, CiliumsPluginAndALinkStay) {
    put(settings_.cni_bin_dir / "cilium-cni", "github.com/cilium/cilium");
    EXPECT_EQ(found(), std::vector<std::string>{});
    fs::remove(settings_.cni_bin_dir / "cilium-cni");
    put(root_ / "plugin", "axoneme");
    fs::create_symlink(root_ / "plugin", settings_.cni_bin_dir / "cilium-cni");
    EXPECT_EQ(found(), std::vector<std::string>{});
}

}  // namespace
}  // namespace axo
