#include "hubble/rpc/transport.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>

namespace axo::rpc {

Transport::Transport(Fd fd, const TlsContext& tls) : fd_(std::move(fd)), context_(tls) {
    if (!context_) return;
    ssl_ = ::SSL_new(context_.get());
    if (ssl_ == nullptr) return;
    ::SSL_set_fd(ssl_, fd_.get());
    ::SSL_set_accept_state(ssl_);
}

Transport::~Transport() {
    if (ssl_ == nullptr) return;
    ::SSL_shutdown(ssl_);
    ::SSL_free(ssl_);
    ::ERR_clear_error();
}

long Transport::tls_outcome(int result) {
    const int why = ::SSL_get_error(ssl_, result);
    ::ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ) return kAgain;
    if (why == SSL_ERROR_WANT_WRITE) {
        wants_write_ = true;
        return kAgain;
    }
    return kClosed;
}

long Transport::read(std::span<unsigned char> buffer) {
    wants_write_ = false;
    if (context_ && ssl_ == nullptr) return kClosed;
    if (ssl_ != nullptr) {
        const int got = ::SSL_read(ssl_, buffer.data(), static_cast<int>(buffer.size()));
        return got > 0 ? got : tls_outcome(got);
    }
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? kAgain : kClosed;
}

long Transport::write(std::span<const unsigned char> bytes) {
    wants_write_ = false;
    if (ssl_ != nullptr) {
        const int put = ::SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
        return put > 0 ? put : tls_outcome(put);
    }
    const ssize_t put = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put >= 0) return put;
    if (errno != EAGAIN && errno != EINTR) return kClosed;
    wants_write_ = true;
    return kAgain;
}

}  // namespace axo::rpc
