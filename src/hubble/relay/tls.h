// Credentials that follow their files: a certificate that is renewed is used for the next connection. Thread: any.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "base/result.h"
#include "hubble/relay/settings.h"

namespace axo::relay_server {

// Errors name the file that is missing or is no PEM.
Result<std::shared_ptr<grpc::ChannelCredentials>> channel_credentials(const TlsSettings& settings);
Result<std::shared_ptr<grpc::ServerCredentials>> server_credentials(const TlsSettings& settings);
// The name on an agent's certificate: "node1.cluster.hubble-grpc.cilium.io"; dots in names become dashes.
std::string tls_server_name(std::string_view node, std::string_view cluster);

}  // namespace axo::relay_server
