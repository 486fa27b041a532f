// The way to a Hubble server: an agent's socket, an agent's or the relay's port. Thread: main's.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "app/cli/observe/settings.h"
#include "base/result.h"

namespace axo::cli {

class Connection {
public:
    // Connects, within --timeout; errors name the server and what to look at.
    static Result<Connection> open(const Settings& settings);

    [[nodiscard]] const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
    [[nodiscard]] const std::string& target() const { return target_; }
    // For an answer: with --request-timeout and credentials. For a stream: credentials only.
    void prepare(grpc::ClientContext& context, bool stream) const;
    // What a call's failure means to the user.
    [[nodiscard]] Error error(const grpc::Status& status) const;

private:
    std::shared_ptr<grpc::Channel> channel_;
    std::string target_, authorization_;
    std::chrono::nanoseconds request_timeout_{};
};

// Cancels the call when the user interrupts: what was printed stays, and that is no failure.
class CancelOnInterrupt {
public:
    explicit CancelOnInterrupt(grpc::ClientContext& context);
    ~CancelOnInterrupt();
    CancelOnInterrupt(const CancelOnInterrupt&) = delete;
    CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace axo::cli
