#include "app/agent/api/process_times.h"

#include <chrono>

#include "base/elapsed.h"

namespace axo {
namespace {

using Clock = std::chrono::steady_clock;

class TimedResponder : public HttpResponder {
public:
    TimedResponder(std::shared_ptr<HttpResponder> inner, std::shared_ptr<ProcessTimes> times, std::string path,
                   std::string method)
        : inner_(std::move(inner)), times_(std::move(times)), path_(std::move(path)), method_(std::move(method)) {}
    void send(HttpResponse response) override {
        note(response.status);
        inner_->send(std::move(response));
    }
    void send_head(int status, const std::string& content_type) override {
        note(status);
        inner_->send_head(status, content_type);
    }
    bool send_chunk(std::string data) override { return inner_->send_chunk(std::move(data)); }
    void end() override { inner_->end(); }
    [[nodiscard]] std::size_t pending_bytes() const override { return inner_->pending_bytes(); }
    [[nodiscard]] bool client_gone() const override { return inner_->client_gone(); }
    void on_gone(std::function<void()> callback) override { inner_->on_gone(std::move(callback)); }

private:
    void note(int status) { times_->observe(path_, method_, status, seconds_since(start_)); }

    std::shared_ptr<HttpResponder> inner_;
    std::shared_ptr<ProcessTimes> times_;
    std::string path_, method_;
    Clock::time_point start_ = Clock::now();
};

}  // namespace

std::shared_ptr<HttpResponder> ProcessTimes::timed(std::shared_ptr<HttpResponder> responder, std::string path,
                                                   std::string method) {
    return std::make_shared<TimedResponder>(std::move(responder), shared_from_this(), std::move(path),
                                            std::move(method));
}

}  // namespace axo
