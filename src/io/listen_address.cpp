#include "io/listen_address.h"

#include <charconv>
#include <string>

namespace axo {

Result<ListenAddress> parse_listen_address(std::string_view text) {
    const auto wrong = [] {
        return fail(Code::kInvalidArgument, "address:port such as 127.0.0.1:9234, [::1]:9234 or :9234");
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return wrong();
    ListenAddress where;
    const std::string_view port = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), where.port);
    if (error != std::errc{} || end != port.data() + port.size() || where.port == 0) return wrong();
    std::string host(text.substr(0, colon));
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    if (host == "localhost") host = "127.0.0.1";
    if (host.empty()) return where;
    const auto address = IpAddress::parse(host);
    if (!address) return wrong();
    where.address = *address;
    return where;
}

Status listen_at(HttpServer& server, const ListenAddress& where) {
    if (where.address) return server.listen_tcp(where.address, where.port);
    // A socket of the one family does not hear the other; a machine may lack one of them.
    const Status v6 = server.listen_tcp(IpAddress::parse("::").value(), where.port);
    const Status v4 = server.listen_tcp(IpAddress::parse("0.0.0.0").value(), where.port);
    return v4 || !v6 ? v4 : v6;
}

}  // namespace axo
