// One gRPC call as a method's code sees it: it is asked for the next message when the client can take one, so a client
// that does not read costs nothing but its place. Thread: the server's only, except where said.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace axo::rpc {

class Call {
public:
    enum class Next {
        kMessage,  // one was appended
        kLater,    // nothing now; ask again after Server::wake
        kBusy,     // not finished looking; ask again when others had their turn
        kDone,     // no more; status() says how it ended
    };
    virtual ~Call() = default;
    virtual Next next(std::string& message) = 0;
    [[nodiscard]] virtual Status status() const { return {}; }
};

// request: the message's bytes. An error ends the call.
using Method = std::function<Result<std::unique_ptr<Call>>(std::string_view request)>;

// A call with one answer.
class Answer final : public Call {
public:
    explicit Answer(std::string message) : message_(std::move(message)) {}
    Next next(std::string& message) override {
        if (done_) return Next::kDone;
        done_ = true;
        message += message_;
        return Next::kMessage;
    }

private:
    std::string message_;
    bool done_ = false;
};

}  // namespace axo::rpc
