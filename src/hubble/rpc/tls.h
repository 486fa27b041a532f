// A server's TLS: TLS 1.3, HTTP/2 by ALPN, client certificates where CAs for them are given. Thread: any (immutable).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

struct ssl_ctx_st;

namespace axo::rpc {

struct TlsFiles {
    std::filesystem::path certificate, key;
    std::vector<std::filesystem::path> client_cas;  // empty: clients need no certificate
};

using TlsContext = std::shared_ptr<ssl_ctx_st>;
// The error names the file.
Result<TlsContext> load_tls(const TlsFiles& files);

}  // namespace axo::rpc
