#include "io/acceptor.h"

#include <cerrno>
#include <cstring>

namespace axo {
namespace {

constexpr int kPerTurn = 16;
constexpr Duration kPause = std::chrono::milliseconds(200);
constexpr Duration kRefusalPause = std::chrono::minutes(1);  // between two lines about it

}  // namespace

Acceptor::Acceptor(EventLoop& loop, Fd listening, SocketFile file, const Logger& log, Take take)
    : loop_(loop), listening_(std::move(listening)), file_(std::move(file)), log_(log), take_(std::move(take)) {
    watch();
}

void Acceptor::watch() {
    readable_ = loop_.on_readable(listening_.get(), [this] { accept(); });
}

void Acceptor::accept() {
    for (int i = 0; i < kPerTurn; ++i) {
        sockaddr_storage peer{};
        socklen_t length = sizeof(peer);
        Fd connection(
            ::accept4(listening_.get(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!connection) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno == EAGAIN) return;
            // Asking again at once would spin.
            log_.warn("Cannot accept a connection", {{"error", std::strerror(errno)}});
            readable_.cancel();
            pause_ = loop_.after(kPause, [this] { watch(); });
            return;
        }
        if (!take_(connection, peer)) note_refusal();
    }
}

void Acceptor::note_refusal() {
    ++refused_;
    const auto now = std::chrono::steady_clock::now();
    if (refusal_told_ && now - *refusal_told_ < kRefusalPause) return;
    refusal_told_ = now;
    log_.warn("Too many connections, refusing one", {{"refusedSoFar", refused_}});
}

}  // namespace axo
