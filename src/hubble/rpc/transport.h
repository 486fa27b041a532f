// Bytes to and from one client, plain or through TLS, without blocking. Thread: the server's only.
#pragma once

#include <cstddef>
#include <span>

#include "base/fd.h"
#include "hubble/rpc/tls.h"

struct ssl_st;

namespace axo::rpc {

class Transport {
public:
    // tls: null: plain.
    Transport(Fd fd, const TlsContext& tls);
    ~Transport();
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;

    static constexpr long kAgain = -1, kClosed = -2;
    // The number of bytes, kAgain or kClosed.
    long read(std::span<unsigned char> buffer);
    long write(std::span<const unsigned char> bytes);
    // What the last kAgain waits for.
    [[nodiscard]] bool wants_write() const { return wants_write_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

private:
    long tls_outcome(int result);

    Fd fd_;
    TlsContext context_;
    ssl_st* ssl_ = nullptr;
    bool wants_write_ = false;
};

}  // namespace axo::rpc
