// A program in a container, by way of the API server: what `kubectl exec` does. Over a WebSocket (RFC 6455) with the
// subprotocol v4.channel.k8s.io, which every API server since 1.20 and all kubelets know: the first byte of a message
// is the stream it belongs to. The program's standard input gets no end, as that protocol has no way to say it: what is
// started has to know by itself when it has read enough.
//
// The server has proven who it is by its certificate, so its answer to the key of the handshake is not looked at.
// Thread: the loop's only.
#pragma once

#include <string>
#include <vector>

#include "io/kubernetes/client.h"

namespace axo::kubernetes {

struct ExecRequest {
    std::string name_space, pod, container;
    std::vector<std::string> command;
    std::string input{};
    Duration limit = std::chrono::seconds(30);  // of silence
};

struct ExecOutcome {
    int exit_status = 0;
    std::string out, err;
};

// Any end of the program is a success, whatever its status. kNotFound: no such program, pod or container.
Task<Result<ExecOutcome>> execute(Client& client, ExecRequest request);

namespace exec_detail {

// Frames as a client sends them, and messages out of what a server sends.
enum class Opcode : std::uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };
std::string frame(Opcode opcode, std::string_view payload, std::uint32_t mask);

struct Message {
    Opcode opcode = Opcode::kBinary;
    std::string payload;
};
class Messages {
public:
    void add(std::string_view bytes) { bytes_ += bytes; }
    // The next whole message; nullopt: more bytes are needed. An error: these are no frames of a server.
    Result<std::optional<Message>> next();

private:
    std::string bytes_;
    std::optional<Message> begun_;
};

// Of the message on the status channel.
Result<int> exit_status(const std::string& status);

}  // namespace exec_detail

}  // namespace axo::kubernetes
