#include "sandbox/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"

namespace axo::sandbox {
namespace {

using std::chrono::milliseconds;

class ProcessTest : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/axo-process-XXXXXX";
        ASSERT_NE(::mkdtemp(name), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path folder_;
};

TEST_F(ProcessTest, CapturesOutputErrorsAndStatus) {
    auto output = run_captured(
        {.argv = {"sh", "-c", "cat; echo bad >&2; echo $NAME; exit 3"}, .environment = {"NAME=value"}, .prepare = {}},
        "from stdin\n", milliseconds(5000));
    ASSERT_TRUE(output) << output.error().to_string();
    EXPECT_EQ(output->exit_status, 3);
    EXPECT_EQ(output->out, "from stdin\nvalue\n");
    EXPECT_EQ(output->err, "bad\n");
}

TEST_F(ProcessTest, LargeInputThatNobodyReadsDoesNotBlock) {
    auto output = run_captured({.argv = {"true"}, .environment = {}, .prepare = {}}, std::string(1 << 20, 'x'),
                               milliseconds(5000));
    ASSERT_TRUE(output) << output.error().to_string();
    EXPECT_EQ(output->exit_status, 0);
}

TEST_F(ProcessTest, TimeLimitEndsTheChild) {
    auto output = run_captured({.argv = {"sleep", "60"}, .environment = {}, .prepare = {}}, "", milliseconds(50));
    ASSERT_FALSE(output);
    EXPECT_EQ(output.error().code, Code::kDeadlineExceeded);
}

TEST_F(ProcessTest, MissingProgramAndFailingPreparationAreErrors) {
    auto missing =
        run_captured({.argv = {"/no/such/program"}, .environment = {}, .prepare = {}}, "", milliseconds(1000));
    ASSERT_FALSE(missing);
    EXPECT_NE(missing.error().message.find("/no/such/program"), std::string::npos);
    auto refused = spawn_detached(
        {.argv = {"true"}, .environment = {}, .prepare = [] { return Status(fail(Code::kAborted, "not now")); }},
        folder_ / "log");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "not now");
    EXPECT_EQ(refused.error().code, Code::kAborted);
}

TEST_F(ProcessTest, DetachedProcessIsLoggedAndStopped) {
    const auto log = folder_ / "log";
    auto process =
        spawn_detached({.argv = {"sh", "-c", "echo started; sleep 60"}, .environment = {}, .prepare = {}}, log);
    ASSERT_TRUE(process) << process.error().to_string();
    EXPECT_TRUE(is_alive(*process));
    for (int i = 0; i < 200 && read_file(log).value_or("").empty(); ++i) ::usleep(5000);
    EXPECT_EQ(read_file(log).value_or(""), "started\n");
    ASSERT_TRUE(stop_processes({*process}, milliseconds(2000)));
    EXPECT_FALSE(is_alive(*process));
    EXPECT_TRUE(signal_process(*process, SIGTERM));  // gone is fine
}

TEST_F(ProcessTest, StubbornProcessIsKilled) {
    auto process = spawn_detached(
        {.argv = {"sh", "-c", "trap '' TERM; echo ready; sleep 60 & wait; sleep 60"}, .environment = {}, .prepare = {}},
        folder_ / "log");
    ASSERT_TRUE(process);
    for (int i = 0; i < 200 && read_file(folder_ / "log").value_or("").empty(); ++i) ::usleep(5000);
    ASSERT_TRUE(stop_processes({*process}, milliseconds(50)));
    EXPECT_FALSE(is_alive(*process));
}

TEST_F(ProcessTest, ReusedPidIsAnotherProcess) {
    auto self = identify(::getpid());
    ASSERT_TRUE(self);
    EXPECT_TRUE(is_alive(*self));
    const ProcessId earlier{self->pid, self->start_time - 1};
    EXPECT_FALSE(is_alive(earlier));
    EXPECT_TRUE(signal_process(earlier, SIGKILL));  // and we live on
}

TEST_F(ProcessTest, ForkedWorkReturnsTextAndErrors) {
    auto results = run_forked_all({[]() -> Result<std::string> { return std::to_string(::getpid()); },
                                   []() -> Result<std::string> { return fail(Code::kNotFound, "no such thing"); },
                                   []() -> Result<std::string> { ::_exit(7); }});
    ASSERT_TRUE(results[0]);
    EXPECT_NE(*results[0], std::to_string(::getpid()));
    ASSERT_FALSE(results[1]);
    EXPECT_EQ(results[1].error().message, "no such thing");
    ASSERT_FALSE(results[2]);
    EXPECT_NE(results[2].error().message.find("status 7"), std::string::npos);
}

}  // namespace
}  // namespace axo::sandbox
