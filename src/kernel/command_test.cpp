#include "kernel/command.h"

#include <gtest/gtest.h>

#include <csignal>

namespace axo {
namespace {

using std::chrono::milliseconds;

TEST(Command, CarriesInputOutputAndStatus) {
    const auto done = run_command({"sh", "-c", "cat; echo oops >&2; exit 3"}, "text", milliseconds(5000));
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(done->out, "text");
    EXPECT_EQ(done->err, "oops\n");
    EXPECT_EQ(done->exit_status, 3);
}

// Larger than pipes hold, both ways.
TEST(Command, LongTexts) {
    const std::string text(1 << 20, 'x');
    const auto done = run_command({"cat"}, text, milliseconds(5000));
    ASSERT_TRUE(done);
    EXPECT_EQ(done->out, text);
}

TEST(Command, OneThatReadsNothing) {
    ::signal(SIGPIPE, SIG_IGN);
    const auto done = run_command({"true"}, std::string(1 << 20, 'x'), milliseconds(5000));
    ASSERT_TRUE(done);
    EXPECT_EQ(done->exit_status, 0);
}

TEST(Command, OneThatHangsIsEnded) {
    const auto done = run_command({"sleep", "60"}, "", milliseconds(50));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kUnavailable);
    EXPECT_EQ(done.error().message, "sleep did not end within 50 ms and was stopped");
}

TEST(Command, OneThatDoesNotExist) {
    const auto done = run_command({"axo-no-such-program"}, "", milliseconds(50));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kNotFound);
}

}  // namespace
}  // namespace axo
