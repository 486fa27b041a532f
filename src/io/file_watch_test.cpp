#include "io/file_watch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace axo {
namespace {

namespace fs = std::filesystem;

class FileWatchTest : public testing::Test {
protected:
    void SetUp() override {
        char pattern[] = "/tmp/axo-file-watch-XXXXXX";
        root_ = ::mkdtemp(pattern);
    }
    void TearDown() override { fs::remove_all(root_); }
    void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
    // Runs the loop until something is told, at most three seconds.
    std::string next(EventLoop& loop) {
        const std::size_t before = told_.size();
        const auto deadline = loop.after(std::chrono::seconds(3), [&loop] { loop.stop(); });
        wake_ = [&loop] { loop.stop(); };
        loop.run();
        return told_.size() > before ? told_.back() : "nothing";
    }
    FileWatch::Changed sink() {
        return [this](const Result<std::optional<std::string>>& content) {
            told_.push_back(!content ? "error" : *content ? **content : "none");
            if (wake_) wake_();
        };
    }
    fs::path root_;
    std::vector<std::string> told_;
    std::function<void()> wake_;
};

TEST_F(FileWatchTest, TellsEachContentOnce) {
    write(root_ / "a", "one");
    EventLoop loop;
    const FileWatch watch(loop, root_ / "a", sink(), std::chrono::hours(1));
    EXPECT_EQ(next(loop), "one");
    write(root_ / "a", "two");
    EXPECT_EQ(next(loop), "two");
    write(root_ / "b", "another file");
    write(root_ / "a", "two");
    write(root_ / "c", "x");
    fs::rename(root_ / "c", root_ / "a");
    EXPECT_EQ(next(loop), "x");
    fs::remove(root_ / "a");
    EXPECT_EQ(next(loop), "none");
    EXPECT_EQ(told_, (std::vector<std::string>{"one", "two", "x", "none"}));
}

// A mounted ConfigMap: file -> ..data/file, ..data -> a directory that is replaced by renaming a link.
TEST_F(FileWatchTest, FollowsASwappedConfigMap) {
    for (const char* version : {"..1", "..2"}) fs::create_directory(root_ / version);
    write(root_ / "..1/config", "first");
    write(root_ / "..2/config", "second");
    fs::create_symlink("..1", root_ / "..data");
    fs::create_symlink("..data/config", root_ / "config");
    EventLoop loop;
    const FileWatch watch(loop, root_ / "config", sink(), std::chrono::hours(1));
    EXPECT_EQ(next(loop), "first");
    fs::create_symlink("..2", root_ / "..data_tmp");
    fs::rename(root_ / "..data_tmp", root_ / "..data");
    EXPECT_EQ(next(loop), "second");
}

TEST_F(FileWatchTest, ADirectoryThatComesLater) {
    EventLoop loop;
    const FileWatch watch(loop, root_ / "one/two/config", sink(), std::chrono::hours(1));
    EXPECT_EQ(next(loop), "none");
    fs::create_directories(root_ / "one/two");
    write(root_ / "one/two/config", "here");
    EXPECT_EQ(next(loop), "here");
    fs::remove_all(root_ / "one");
    EXPECT_EQ(next(loop), "none");
    fs::create_directories(root_ / "one/two");
    write(root_ / "one/two/config", "again");
    EXPECT_EQ(next(loop), "again");
}

TEST_F(FileWatchTest, WhatCannotBeReadIsAnError) {
    fs::create_directory(root_ / "a");
    EventLoop loop;
    const FileWatch watch(loop, root_ / "a", sink(), std::chrono::hours(1));
    EXPECT_EQ(next(loop), "error");
}

}  // namespace
}  // namespace axo
