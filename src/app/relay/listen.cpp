#include "app/relay/listen.h"

#include <charconv>
#include <string_view>

#include "io/listen_address.h"

namespace axo {

Status listen_http(HttpServer& server, const std::string& address) {
    if (constexpr std::string_view kInherited = "fd://"; address.starts_with(kInherited)) {
        int fd = -1;
        const char* end = address.data() + address.size();
        if (const auto [rest, error] = std::from_chars(address.data() + kInherited.size(), end, fd);
            error != std::errc{} || rest != end || fd < 3)
            return fail(Code::kInvalidArgument, "'" + address + "': expected fd://N, an inherited descriptor");
        return server.listen_fd(fd);
    }
    const auto where = parse_listen_address(address);
    if (!where) return fail(Code::kInvalidArgument, "'" + address + "': expected " + where.error().message);
    return listen_at(server, *where);
}

}  // namespace axo
