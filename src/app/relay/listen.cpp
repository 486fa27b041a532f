#include "app/relay/listen.h"

#include "io/listen_address.h"

namespace axo {

Status listen_http(HttpServer& server, const std::string& address) {
    const auto where = parse_listen_address(address);
    if (!where) return fail(Code::kInvalidArgument, "'" + address + "': expected " + where.error().message);
    return listen_at(server, *where);
}

}  // namespace axo
