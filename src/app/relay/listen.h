// "host:port" and ":port" for the HTTP servers of the relay. Thread: the loop's.
#pragma once

#include <string>

#include "base/result.h"
#include "io/http.h"

namespace axo {

// "fd://3" takes a listening socket that the relay was started with. ":port" listens on all addresses, of IPv6 and
// IPv4. Errors name the address.
Status listen_http(HttpServer& server, const std::string& address);

}  // namespace axo
