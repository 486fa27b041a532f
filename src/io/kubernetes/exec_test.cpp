#include "io/kubernetes/exec.h"

#include <gtest/gtest.h>

#include "io/kubernetes/fake_api.h"

namespace axo::kubernetes {
namespace {

using namespace exec_detail;

// A frame as a server sends it.
std::string server_frame(std::uint8_t first, const std::string& payload) {
    std::string out(1, static_cast<char>(first));
    if (payload.size() < 126) {
        out += static_cast<char>(payload.size());
    } else {
        out += static_cast<char>(126);
        out += static_cast<char>(payload.size() >> 8);
        out += static_cast<char>(payload.size() & 0xFF);
    }
    return out + payload;
}
std::string on_channel(int channel, const std::string& text) {
    return server_frame(0x82, std::string(1, static_cast<char>(channel)) + text);
}

TEST(ExecFrames, ClientsAreMasked) {
    // RFC 6455, 5.7: a masked "Hello".
    EXPECT_EQ(frame(Opcode::kText, "Hello", 0x3d21fa37),
              std::string("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11));
    EXPECT_EQ(frame(Opcode::kBinary, std::string(200, 'x'), 0).substr(0, 4), std::string("\x82\xfe\x00\xc8", 4));
    EXPECT_EQ(frame(Opcode::kBinary, std::string(70'000, 'x'), 0).substr(0, 10),
              std::string("\x82\xff\x00\x00\x00\x00\x00\x01\x11\x70", 10));
}

TEST(ExecFrames, MessagesComeInAnyPieces) {
    const std::string wire = server_frame(0x02, "ab") + server_frame(0x89, "ping") + server_frame(0x80, "cd") +
                             server_frame(0x82, std::string(300, 'y'));
    Messages messages;
    std::vector<std::string> got;
    for (const char byte : wire) {
        messages.add(std::string_view(&byte, 1));
        for (;;) {
            const auto next = messages.next();
            ASSERT_TRUE(next);
            if (!*next) break;
            got.push_back((*next)->payload);
        }
    }
    EXPECT_EQ(got, (std::vector<std::string>{"ping", "abcd", std::string(300, 'y')}));
    Messages masked, torn;
    masked.add(frame(Opcode::kBinary, "x", 1));
    EXPECT_FALSE(masked.next());
    torn.add(server_frame(0x80, "x"));
    EXPECT_FALSE(torn.next());
}

TEST(ExecFrames, LastWord) {
    EXPECT_EQ(exit_status(R"({"status":"Success"})").value_or(-1), 0);
    EXPECT_EQ(exit_status(R"({"status":"Failure","reason":"NonZeroExitCode","message":"command terminated",
                              "details":{"causes":[{"reason":"ExitCode","message":"3"}]}})")
                  .value_or(-1),
              3);
    const auto absent = exit_status(R"({"status":"Failure","reason":"InternalError","message":"no such file"})");
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().message, "no such file");
}

class Execute : public testing::Test {
protected:
    Result<ExecOutcome> run(const std::string& answer, const std::string& input = "") {
        api.answer = [&](const FakeApi::Asked&) { return answer; };
        Client client(loop, {.servers = {*parse_server(api.address())}}, {});
        std::optional<Result<ExecOutcome>> outcome;
        TaskGroup tasks;
        tasks.spawn(execute(client, {.name_space = "ns",
                                     .pod = "p",
                                     .container = "c",
                                     .command = {"/bin/a b", "x&y"},
                                     .input = input,
                                     .limit = std::chrono::seconds(5)}),
                    [&](Result<ExecOutcome> done) {
                        outcome = std::move(done);
                        loop.stop();
                    });
        while (!outcome) loop.run();
        return std::move(*outcome);
    }
    EventLoop loop;
    FakeApi api{loop};
};

TEST_F(Execute, OutputAndStatus) {
    const std::string head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    const auto done =
        run(head + on_channel(1, "") + on_channel(1, "one ") + on_channel(2, "bad") + on_channel(1, "two") +
                on_channel(3, R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"7"}]}})"),
            "[1]");
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(done->out, "one two");
    EXPECT_EQ(done->err, "bad");
    EXPECT_EQ(done->exit_status, 7);
    ASSERT_EQ(api.asked.size(), 1U);
    // Kubelet's and the container runtime's servers answer a wish for a certain type with 406.
    EXPECT_EQ(api.asked[0].accept, "*/*");
    EXPECT_EQ(api.asked[0].target,
              "/api/v1/namespaces/ns/pods/p/exec?container=c&stdout=true&stderr=true&stdin=true"
              "&command=%2Fbin%2Fa%20b&command=x%26y");
}

TEST_F(Execute, RefusedAndCutOff) {
    const auto refused = run(FakeApi::http(403, FakeApi::status_body(403, "Forbidden", "pods/exec is forbidden")));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
    EXPECT_NE(refused.error().message.find("exec in pod ns/p: status 403: pods/exec is forbidden"), std::string::npos);
    const auto cut =
        run("HTTP/1.1 101 Switching Protocols\r\n\r\n" + on_channel(1, "x") + server_frame(0x88, "\x03\xe8"));
    ASSERT_FALSE(cut);
    EXPECT_NE(cut.error().message.find("without the program's status"), std::string::npos);
}

}  // namespace
}  // namespace axo::kubernetes
