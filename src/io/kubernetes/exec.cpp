#include "io/kubernetes/exec.h"

#include <random>

#include "io/kubernetes/api.h"
#include "model/json.h"

namespace axo::kubernetes {

namespace {

using exec_detail::Opcode;

constexpr const char* kProtocol = "v4.channel.k8s.io";
constexpr char kInput = 0, kOut = 1, kErr = 2, kStatus = 3;
constexpr std::size_t kMessageLimit = 64 * 1024 * 1024;

std::string target_of(const ExecRequest& request) {
    std::string target = "/api/v1/namespaces/" + escaped(request.name_space) + "/pods/" + escaped(request.pod) +
                         "/exec?container=" + escaped(request.container) + "&stdout=true&stderr=true";
    if (!request.input.empty()) target += "&stdin=true";
    for (const std::string& word : request.command) target += "&command=" + escaped(word);
    return target;
}

// What the API server says instead of switching protocols.
Error refusal(const std::string& what, const Client::Upgraded& answer) {
    const Json body = Json::parse(answer.body, nullptr, false);
    const std::string message =
        body.is_object() ? body.value("message", std::string()) : answer.body.substr(0, answer.body.find('\n'));
    const Code code = answer.status == 404   ? Code::kNotFound
                      : answer.status == 403 ? Code::kPermissionDenied
                                             : Code::kUnavailable;
    return {code, what + ": status " + std::to_string(answer.status) + (message.empty() ? "" : ": " + message), 0};
}

}  // namespace

namespace exec_detail {

std::string frame(Opcode opcode, std::string_view payload, std::uint32_t mask) {
    constexpr std::uint8_t kFinal = 0x80, kMasked = 0x80, kSize16 = 126, kSize64 = 127;
    std::string out{static_cast<char>(kFinal | static_cast<std::uint8_t>(opcode))};
    const std::uint64_t size = payload.size();
    const int bytes = size < kSize16 ? 0 : size <= 0xFFFF ? 2 : 8;
    out += static_cast<char>(kMasked | (bytes == 0 ? size : bytes == 2 ? kSize16 : kSize64));
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(size >> (8 * i) & 0xFF);
    char key[4];
    for (int i = 0; i < 4; ++i) key[i] = static_cast<char>(mask >> (8 * i) & 0xFF);
    out.append(key, 4);
    for (std::size_t i = 0; i < payload.size(); ++i) out += static_cast<char>(payload[i] ^ key[i % 4]);
    return out;
}

Result<std::optional<Message>> Messages::next() {
    const auto byte = [this](std::size_t i) { return static_cast<std::uint8_t>(bytes_[i]); };
    for (;;) {
        if (bytes_.size() < 2) return std::nullopt;
        const auto opcode = static_cast<Opcode>(byte(0) & 0x0F);
        const bool final = (byte(0) & 0x80) != 0;
        if ((byte(1) & 0x80) != 0 || (byte(0) & 0x70) != 0)
            return fail(Code::kDataLoss, "a frame that no server sends in this protocol");
        std::uint64_t size = byte(1);
        std::size_t head = 2;
        if (size >= 126) {
            const std::size_t length = size == 126 ? 2 : 8;
            if (bytes_.size() < head + length) return std::nullopt;
            size = 0;
            for (std::size_t i = 0; i < length; ++i) size = size << 8 | byte(head + i);
            head += length;
        }
        if (size > kMessageLimit)
            return fail(Code::kResourceExhausted, "a message of " + std::to_string(size) + " bytes");
        if (bytes_.size() < head + size) return std::nullopt;
        std::string payload = bytes_.substr(head, size);
        bytes_.erase(0, head + size);
        // Control frames may stand between the parts of a message.
        if (static_cast<std::uint8_t>(opcode) >= 8) return Message{opcode, std::move(payload)};
        if ((opcode == Opcode::kContinuation) != begun_.has_value())
            return fail(Code::kDataLoss, "the parts of a message are mixed up");
        if (opcode != Opcode::kContinuation) begun_ = Message{opcode, {}};
        begun_->payload += payload;
        if (final) return std::exchange(begun_, std::nullopt);
    }
}

Result<int> exit_status(const std::string& status) {
    const Json json = Json::parse(status, nullptr, false);
    if (!json.is_object()) return fail(Code::kDataLoss, "the API server's last word is not JSON: " + status);
    if (json.value("status", std::string()) == "Success") return 0;
    const Json causes = json.value("/details/causes"_json_pointer, Json::array());
    for (const Json& cause : causes) {
        if (cause.value("reason", std::string()) == "ExitCode")
            return std::atoi(cause.value("message", std::string("1")).c_str());
    }
    return fail(Code::kNotFound, json.value("message", std::string("it could not be run")));
}

}  // namespace exec_detail

Task<Result<ExecOutcome>> execute(Client& client, ExecRequest request) {
    std::random_device random;
    // 16 bytes in base64.
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string key;
    for (int i = 0; i < 21; ++i) key += kDigits[random() % kDigits.size()];
    key += "A==";
    const std::string what = "exec in pod " + request.name_space + "/" + request.pod;
    const std::string headers =
        std::string("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n") +
        "Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Protocol: " + kProtocol + "\r\n";
    // The container runtime's server answers this, and it refuses who wants a certain type.
    CO_TRY_ASSIGN(Client::Upgraded answer,
                  client.upgrade({.target = target_of(request), .accept = "*/*", .headers = headers}));
    if (!answer.connection) co_return forward_error(refusal(what, answer));
    const std::shared_ptr<Connection> connection = std::move(answer.connection);
    // Large inputs go in pieces, as the other side's buffers have limits.
    constexpr std::size_t kPiece = 16 * 1024;
    for (std::size_t at = 0; at < request.input.size(); at += kPiece) {
        const std::string payload = std::string(1, kInput) + request.input.substr(at, kPiece);
        CO_TRY(connection->send(exec_detail::frame(Opcode::kBinary, payload, random()), request.limit));
    }
    ExecOutcome outcome;
    exec_detail::Messages messages;
    for (;;) {
        auto next = messages.next();
        if (!next) co_return forward_error(std::move(next).error().with_context(what));
        if (!*next) {
            CO_AWAIT(auto bytes, connection->receive(request.limit));
            if (!bytes) co_return forward_error(std::move(bytes).error().with_context(what));
            messages.add(*bytes);
            continue;
        }
        const auto& [opcode, payload] = **next;
        if (opcode == Opcode::kPing) {
            CO_TRY(connection->send(exec_detail::frame(Opcode::kPong, payload, random()), request.limit));
        } else if (opcode == Opcode::kClose) {
            co_return fail(Code::kUnavailable, what + ": the API server ended it without the program's status");
        } else if (!payload.empty() && payload[0] == kStatus) {
            auto status = exec_detail::exit_status(payload.substr(1));
            connection->close();
            if (!status) co_return forward_error(std::move(status).error().with_context(what));
            outcome.exit_status = *status;
            co_return outcome;
        } else if (!payload.empty() && payload[0] == kOut) {
            outcome.out += payload.substr(1);
        } else if (!payload.empty() && payload[0] == kErr) {
            outcome.err += payload.substr(1);
        }
    }
}

}  // namespace axo::kubernetes
