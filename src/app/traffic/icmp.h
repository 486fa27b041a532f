// Echo requests and their replies over a raw socket, both families. Thread: any one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace axo::traffic {

class IcmpSocket {
public:
    static Result<IcmpSocket> open(const IpAddress& to, std::uint16_t id);
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] std::uint16_t id() const { return id_; }
    // `bytes` of pattern after the header.
    Status send(std::uint16_t sequence, std::size_t bytes);
    // The sequence of a reply to this socket's identifier with the right payload; empty: none within the socket's
    // limit.
    std::optional<std::uint16_t> receive(std::size_t bytes, bool wait = true);

private:
    IcmpSocket(Fd fd, bool v6, std::uint16_t id) : fd_(std::move(fd)), v6_(v6), id_(id), buffer_(1 << 16) {}
    Fd fd_;
    bool v6_;
    std::uint16_t id_;
    std::vector<std::uint8_t> buffer_;
};

}  // namespace axo::traffic
