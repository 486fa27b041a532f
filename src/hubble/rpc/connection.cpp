#include "hubble/rpc/connection.h"

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstring>

namespace axo::rpc {

namespace {

constexpr std::size_t kMaxRequest = 4U << 20;
constexpr std::size_t kFrameHead = 5;  // compressed flag, length
constexpr std::size_t kStream = 1024;  // what a stream takes besides its texts, with nghttp2's part

nghttp2_nv header(std::string_view name, std::string_view value) {
    const auto bytes = [](std::string_view text) {
        return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
    };
    return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// Of grpc-message: printable ASCII but for '%', which everything else is escaped with.
std::string percent_encoded(std::string_view text) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    std::string encoded;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7F && c != '%') {
            encoded += c;
        } else {
            encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
        }
    }
    return encoded;
}

// The number on the wire; our codes are gRPC's.
int wire_code(Code code) {
    switch (code) {
        case Code::kCancelled: return 1;
        case Code::kUnknown: return 2;
        case Code::kInvalidArgument: return 3;
        case Code::kDeadlineExceeded: return 4;
        case Code::kNotFound: return 5;
        case Code::kAlreadyExists: return 6;
        case Code::kPermissionDenied: return 7;
        case Code::kResourceExhausted: return 8;
        case Code::kFailedPrecondition: return 9;
        case Code::kAborted: return 10;
        case Code::kOutOfRange: return 11;
        case Code::kUnimplemented: return 12;
        case Code::kInternal: return 13;
        case Code::kUnavailable: return 14;
        case Code::kDataLoss: return 15;
    }
    return 2;
}

}  // namespace

struct Callbacks {
    static Connection& self(void* user) { return *static_cast<Connection*>(user); }
    static Connection::Stream* find(void* user, std::int32_t id) {
        const auto found = self(user).streams_.find(id);
        return found == self(user).streams_.end() ? nullptr : &found->second;
    }

    static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
        Connection::Stream& stream = self(user).streams_[frame->hd.stream_id];
        stream.id = frame->hd.stream_id;
        self(user).hold(stream, kStream);
        return 0;
    }
    static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                         std::size_t name_length, const std::uint8_t* value, std::size_t value_length, std::uint8_t,
                         void* user) {
        Connection::Stream* stream = find(user, frame->hd.stream_id);
        if (stream == nullptr || stream->refused) return 0;
        const std::string_view key(reinterpret_cast<const char*>(name), name_length);
        const std::string_view text(reinterpret_cast<const char*>(value), value_length);
        std::string* const into = key == ":path"           ? &stream->path
                                  : key == "content-type"  ? &stream->content_type
                                  : key == "grpc-encoding" ? &stream->encoding
                                                           : nullptr;
        if (into != nullptr && self(user).hold(*stream, text.size())) *into = text;
        return 0;
    }
    static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t length,
                       void* user) {
        Connection::Stream* stream = find(user, id);
        if (stream == nullptr || stream->refused) return 0;
        if (stream->request.size() + length > kMaxRequest) {
            self(user).refuse(*stream, fail(Code::kResourceExhausted, "the request is larger than 4 MiB"));
            return 0;
        }
        if (self(user).hold(*stream, length)) stream->request.append(reinterpret_cast<const char*>(data), length);
        return 0;
    }
    static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
        if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
        Connection::Stream* stream = find(user, frame->hd.stream_id);
        if (stream != nullptr && !stream->refused && !stream->call) self(user).begin(*stream);
        return 0;
    }
    // The answer is complete; the client need not send the rest. (A reset before it would take its place.)
    static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
        const Connection::Stream* stream = find(user, frame->hd.stream_id);
        if (stream != nullptr && stream->refused &&
            ::nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
            ::nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        return 0;
    }
    static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t, void* user) {
        Connection& connection = self(user);
        const auto found = connection.streams_.find(id);
        if (found == connection.streams_.end()) return 0;
        if (found->second.call) --connection.load_.calls;
        connection.release(found->second);
        connection.streams_.erase(found);
        return 0;
    }
    static ssize_t read_data(nghttp2_session*, std::int32_t id, std::uint8_t* buffer, std::size_t length,
                             std::uint32_t* flags, nghttp2_data_source*, void* user) {
        Connection::Stream* stream = find(user, id);
        if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        return self(user).produce(*stream, buffer, length, flags);
    }
};

Connection::Connection(std::unique_ptr<Transport> transport, const Methods& methods, Load& load,
                       const ServerLimits& limits)
    : transport_(std::move(transport)), methods_(methods), load_(load), limits_(limits) {
    nghttp2_session_callbacks* callbacks = nullptr;
    if (::nghttp2_session_callbacks_new(&callbacks) != 0) return;
    ::nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, &Callbacks::begin_headers);
    ::nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::on_header);
    ::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::on_data);
    ::nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &Callbacks::on_frame);
    ::nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, &Callbacks::on_sent);
    ::nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::on_close);
    ::nghttp2_session_server_new(&session_, callbacks, this);
    ::nghttp2_session_callbacks_del(callbacks);
    // Many more than are served: who has too many is told so, instead of waiting for a place that nobody leaves.
    const std::array<nghttp2_settings_entry, 1> settings{{{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 16384}}};
    if (session_ != nullptr) ::nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
}

Connection::~Connection() {
    for (auto& [id, stream] : streams_) {
        if (stream.call) --load_.calls;
        release(stream);
    }
    ::nghttp2_session_del(session_);
}

bool Connection::drive() {
    if (session_ == nullptr) return false;
    return read() && write();
}

bool Connection::wake() {
    busy_ = false;
    for (auto& [id, stream] : streams_) {
        if (!stream.waiting) continue;
        stream.waiting = false;
        ::nghttp2_session_resume_data(session_, id);
    }
    return write();
}

bool Connection::read() {
    // As large as TLS's records, none of which is half read then; and epoll tells of what is left.
    std::array<unsigned char, 16384> buffer;
    for (int turns = 0; turns < 64; ++turns) {
        const long got = transport_->read(buffer);
        if (got == Transport::kAgain) return true;
        if (got < 0) return false;
        if (::nghttp2_session_mem_recv(session_, buffer.data(), static_cast<std::size_t>(got)) < 0) return false;
    }
    return true;
}

bool Connection::hold(Stream& stream, std::size_t bytes) {
    const bool here = held_ + bytes > limits_.connection_bytes;
    if (here || load_.bytes + bytes > limits_.bytes) {
        refuse(stream, fail(Code::kResourceExhausted,
                            std::string(here ? "this connection's" : "this server's") +
                                " requests that are not complete take " + std::to_string(here ? held_ : load_.bytes) +
                                " bytes; more than " + std::to_string(here ? limits_.connection_bytes : limits_.bytes) +
                                " are not kept"));
        return false;
    }
    stream.held += bytes;
    held_ += bytes;
    load_.bytes += bytes;
    return true;
}

void Connection::release(Stream& stream) {
    held_ -= stream.held;
    load_.bytes -= stream.held;
    stream.held = 0;
}

void Connection::refuse(Stream& stream, const Status& status) {
    stream.refused = true;
    stream.request = {};
    release(stream);
    finish(stream.id, status, true);
}

bool Connection::write() {
    // Some of it, then others have their turn.
    std::size_t budget = 1U << 20;
    wants_write_ = false;
    for (;;) {
        if (left_at_ == left_.size()) {
            const std::uint8_t* data = nullptr;
            const ssize_t length = ::nghttp2_session_mem_send(session_, &data);
            if (length < 0) return false;
            if (length == 0) break;
            left_.assign(data, data + length);
            left_at_ = 0;
        }
        const long put = transport_->write(std::span(left_).subspan(left_at_));
        if (put == Transport::kAgain) {
            wants_write_ = transport_->wants_write();
            return true;
        }
        if (put < 0) return false;
        left_at_ += static_cast<std::size_t>(put);
        if (static_cast<std::size_t>(put) >= budget) {
            wants_write_ = true;
            return true;
        }
        budget -= static_cast<std::size_t>(put);
    }
    return ::nghttp2_session_want_read(session_) != 0 || ::nghttp2_session_want_write(session_) != 0;
}

Result<std::unique_ptr<Call>> Connection::start(const Stream& stream) {
    const auto method = methods_.by_path.find(stream.path);
    if (method == methods_.by_path.end()) return fail(Code::kUnimplemented, "unknown method " + stream.path);
    if (stream.request.size() < kFrameHead) return fail(Code::kInternal, "the request has no message");
    if (stream.request[0] != 0)
        return fail(Code::kUnimplemented,
                    "the request is compressed (" + stream.encoding + "); only identity is served");
    std::size_t length = 0;
    for (std::size_t i = 1; i < kFrameHead; ++i) length = length << 8 | static_cast<unsigned char>(stream.request[i]);
    if (length + kFrameHead != stream.request.size())
        return fail(Code::kInternal, "the request is not one message of the length it says");
    if (load_.calls >= limits_.calls)
        return fail(Code::kResourceExhausted, "this server answers " + std::to_string(limits_.calls) +
                                                  " requests at a time, and has as many; try again later");
    return method->second(std::string_view(stream.request).substr(kFrameHead));
}

void Connection::begin(Stream& stream) {
    const std::int32_t id = stream.id;
    if (!stream.content_type.starts_with("application/grpc")) {
        stream.refused = true;
        const std::array headers{header(":status", "415")};
        ::nghttp2_submit_response(session_, id, headers.data(), headers.size(), nullptr);
        return;
    }
    auto call = start(stream);
    stream.request = {};
    if (!call) {
        stream.refused = true;
        finish(id, std::unexpected(call.error()), true);
        return;
    }
    stream.call = std::move(*call);
    release(stream);
    ++load_.calls;
    answer_headers(stream);
}

void Connection::answer_headers(const Stream& stream) {
    std::vector headers{header(":status", "200"), header("content-type", "application/grpc")};
    if (!methods_.server_version.empty()) headers.push_back(header("hubble-server-version", methods_.server_version));
    nghttp2_data_provider data{};
    data.read_callback = &Callbacks::read_data;
    ::nghttp2_submit_response(session_, stream.id, headers.data(), headers.size(), &data);
}

void Connection::finish(std::int32_t id, const Status& status, bool trailers_only) {
    const std::string code = std::to_string(status ? 0 : wire_code(status.error().code));
    const std::string message = status ? "" : percent_encoded(status.error().message);
    std::vector<nghttp2_nv> headers;
    if (trailers_only) headers = {header(":status", "200"), header("content-type", "application/grpc")};
    headers.push_back(header("grpc-status", code));
    if (!message.empty()) headers.push_back(header("grpc-message", message));
    if (trailers_only) {
        ::nghttp2_submit_response(session_, id, headers.data(), headers.size(), nullptr);
    } else {
        ::nghttp2_submit_trailer(session_, id, headers.data(), headers.size());
    }
}

long Connection::produce(Stream& stream, unsigned char* buffer, std::size_t length, std::uint32_t* flags) {
    std::size_t filled = 0;
    while (filled < length) {
        if (stream.sent < stream.out.size()) {
            const std::size_t part = std::min(length - filled, stream.out.size() - stream.sent);
            std::memcpy(buffer + filled, stream.out.data() + stream.sent, part);
            stream.sent += part;
            filled += part;
            continue;
        }
        stream.out.assign(kFrameHead, '\0');
        stream.sent = 0;
        const Call::Next next = stream.call->next(stream.out);
        if (next == Call::Next::kMessage) {
            const std::size_t size = stream.out.size() - kFrameHead;
            for (std::size_t i = 1; i < kFrameHead; ++i)
                stream.out[i] = static_cast<char>(size >> (8 * (kFrameHead - 1 - i)));
            continue;
        }
        stream.out.clear();
        if (next == Call::Next::kDone) {
            *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
            finish(stream.id, stream.call->status(), false);
            break;
        }
        busy_ = busy_ || next == Call::Next::kBusy;
        if (filled != 0) {
            // Asked again at once, which tells that there is nothing.
            break;
        }
        stream.waiting = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<long>(filled);
}

}  // namespace axo::rpc
