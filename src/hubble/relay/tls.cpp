#include "hubble/relay/tls.h"

#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>

#include "base/file.h"

namespace axo::relay_server {
namespace {

namespace tls = grpc::experimental;

constexpr unsigned kLookEverySeconds = 10;

Status check_pem(const std::string& path, std::string_view what, std::string_view kind) {
    auto text = read_file(path);
    if (!text) return std::unexpected(std::move(text.error()).with_context(what));
    if (text->find("-----BEGIN") == std::string::npos || text->find(kind) == std::string::npos)
        return fail(Code::kInvalidArgument, std::string(what) + ": " + path + " holds no PEM " + std::string(kind));
    return {};
}

Status check(const TlsSettings& settings) {
    if (settings.certificate.empty() != settings.key.empty())
        return fail(Code::kInvalidArgument, "a certificate file and its key file belong together: give both or none");
    if (!settings.certificate.empty()) {
        TRY(check_pem(settings.certificate, "TLS certificate", "CERTIFICATE"));
        TRY(check_pem(settings.key, "TLS key", "PRIVATE KEY"));
    }
    for (const std::string& path : settings.others) TRY(check_pem(path, "TLS authorities", "CERTIFICATE"));
    return {};
}

// The library watches one file of authorities.
Result<std::string> authorities(const TlsSettings& settings) {
    if (settings.others.size() > 1)
        return fail(Code::kInvalidArgument,
                    "more than one file of TLS authorities: put the certificates into one file, one after another");
    return settings.others.empty() ? std::string() : settings.others.front();
}

}  // namespace

Result<std::shared_ptr<grpc::ChannelCredentials>> channel_credentials(const TlsSettings& settings) {
    if (!settings.enabled) return grpc::InsecureChannelCredentials();
    TRY(check(settings));
    TRY_ASSIGN(const std::string roots, authorities(settings));
    if (roots.empty())
        return fail(Code::kInvalidArgument,
                    "TLS to peers needs their certificate authority: tls-hubble-server-ca-files");
    tls::TlsChannelCredentialsOptions options;
    options.set_certificate_provider(std::make_shared<tls::FileWatcherCertificateProvider>(
        settings.key, settings.certificate, roots, kLookEverySeconds));
    options.watch_root_certs();
    if (!settings.certificate.empty()) options.watch_identity_key_cert_pairs();
    return tls::TlsCredentials(options);
}

Result<std::shared_ptr<grpc::ServerCredentials>> server_credentials(const TlsSettings& settings) {
    if (!settings.enabled) return grpc::InsecureServerCredentials();
    TRY(check(settings));
    if (settings.certificate.empty())
        return fail(
            Code::kInvalidArgument,
            "TLS for clients needs tls-relay-server-cert-file and tls-relay-server-key-file (or disable-server-tls)");
    TRY_ASSIGN(const std::string roots, authorities(settings));
    tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
        settings.key, settings.certificate, roots, kLookEverySeconds));
    options.watch_identity_key_cert_pairs();
    if (!roots.empty()) {
        options.watch_root_certs();
        options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    }
    return tls::TlsServerCredentials(options);
}

std::string tls_server_name(std::string_view node, std::string_view cluster) {
    std::string name(node);
    std::ranges::replace(name, '.', '-');
    std::string of(cluster);
    std::ranges::replace(of, '.', '-');
    return name + "." + of + ".hubble-grpc.cilium.io";
}

}  // namespace axo::relay_server
