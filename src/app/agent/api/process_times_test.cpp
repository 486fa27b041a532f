#include "app/agent/api/process_times.h"

#include <gtest/gtest.h>

namespace axo {
namespace {

class Answered : public HttpResponder {
public:
    void send(HttpResponse response) override { status = response.status; }
    void send_head(int head, const std::string&) override { status = head; }
    bool send_chunk(std::string data) override {
        chunks += data;
        return true;
    }
    void end() override { ended = true; }
    [[nodiscard]] std::size_t pending_bytes() const override { return 7; }
    [[nodiscard]] bool client_gone() const override { return false; }
    void on_gone(std::function<void()> callback) override { gone = std::move(callback); }

    int status = 0;
    std::string chunks;
    bool ended = false;
    std::function<void()> gone;
};

TEST(ProcessTimes, AreCountedByRouteMethodAndStatus) {
    const auto times = std::make_shared<ProcessTimes>();
    const auto answered = std::make_shared<Answered>(), streamed = std::make_shared<Answered>();
    times->timed(answered, "/v1/endpoint", "GET")->send({.status = 404});
    EXPECT_EQ(answered->status, 404);
    const auto stream = times->timed(streamed, "/v1/monitor", "GET");
    stream->send_head(200, "text/plain");
    EXPECT_TRUE(stream->send_chunk("a"));
    stream->end();
    EXPECT_EQ(streamed->chunks, "a");
    EXPECT_TRUE(streamed->ended);
    EXPECT_EQ(stream->pending_bytes(), 7U);
    times->observe("/v1/endpoint", "GET", 404, 0.02);
    times->observe("/v1/endpoint", "GET", 404, 60);
    MetricSet set("cilium_");
    times->add_to(set);
    const std::string text = set.text();
    const std::string series = R"({method="GET",path="/v1/endpoint",return_code="404")";
    EXPECT_NE(text.find("# TYPE cilium_agent_api_process_time_seconds histogram\n"), std::string::npos) << text;
    EXPECT_NE(text.find("_bucket" + series + R"(,le="0.025"} 2)" + "\n"), std::string::npos) << text;
    EXPECT_NE(text.find("_bucket" + series + R"(,le="10"} 2)" + "\n"), std::string::npos) << text;
    EXPECT_NE(text.find("_bucket" + series + R"(,le="+Inf"} 3)" + "\n"), std::string::npos) << text;
    EXPECT_NE(text.find("_count" + series + "} 3\n"), std::string::npos) << text;
    EXPECT_NE(text.find(R"(path="/v1/monitor",return_code="200"} 1)"), std::string::npos) << text;
}

}  // namespace
}  // namespace axo
