// "127.0.0.1:9234", "[::1]:9234", ":9962": where a server of ours is told to listen. Thread: any.
#pragma once

#include <string_view>

#include "base/ip.h"
#include "io/http.h"

namespace axo {

struct ListenAddress {
    IpAddress address;  // unset: every address of the machine
    std::uint16_t port = 0;
    friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

// "localhost" is 127.0.0.1. kInvalidArgument: its message is what is accepted.
Result<ListenAddress> parse_listen_address(std::string_view text);
// On every address: both families, or the one that the machine has.
Status listen_at(HttpServer& server, const ListenAddress& where);

}  // namespace axo
