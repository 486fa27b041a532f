#include "app/relay/listen.h"

#include <charconv>

namespace axo {

Status listen_http(HttpServer& server, const std::string& address) {
    const std::size_t colon = address.rfind(':');
    std::uint16_t port = 0;
    const std::string_view digits = colon == std::string::npos ? "" : std::string_view(address).substr(colon + 1);
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (digits.empty() || read.ec != std::errc() || read.ptr != digits.data() + digits.size())
        return fail(Code::kInvalidArgument, "'" + address + "': expected host:port or :port");
    std::string host = address.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (host == "localhost") host = "127.0.0.1";
    if (!host.empty()) {
        TRY_ASSIGN(const IpAddress ip, IpAddress::parse(host));
        return server.listen_tcp(ip, port);
    }
    // A socket of the one family does not hear the other; a machine may lack one of them.
    const Status v6 = server.listen_tcp(*IpAddress::parse("::"), port);
    const Status v4 = server.listen_tcp(*IpAddress::parse("0.0.0.0"), port);
    return v4 || !v6 ? v4 : v6;
}

}  // namespace axo
