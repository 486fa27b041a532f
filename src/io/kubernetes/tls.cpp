#include "io/kubernetes/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <boost/asio/ssl/context.hpp>

#include "model/time.h"

namespace axo::kubernetes {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

std::chrono::system_clock::time_point time_of(const ASN1_TIME* time) {
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return {};
    return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

std::string name_of(const X509_NAME* name) {
    char text[256] = {};
    if (name == nullptr || X509_NAME_oneline(name, text, sizeof(text)) == nullptr) return "?";
    return text;
}

std::string what(const Access& access, const Material& material, std::string_view role) {
    return access.origin + ": " + std::string(role) + (material.file.empty() ? "" : " " + material.file);
}

}  // namespace

TlsContext::TlsContext() : context_(std::make_unique<ssl::context>(ssl::context::tls_client)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::make(const Access& access) {
    std::shared_ptr<TlsContext> made(new TlsContext);
    ssl::context& context = *made->context_;
    made->insecure_ = access.insecure;
    SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_mode(context.native_handle(), SSL_MODE_RELEASE_BUFFERS);
    error_code error;
    const auto read = [&](const Material& material, std::string_view role) -> Result<std::string> {
        if (!material.file.empty()) made->files_.push_back({material.file, file_version(material.file)});
        auto pem = material.read();
        if (!pem) return forward_error(std::move(pem).error().with_context(what(access, material, role)));
        return pem;
    };
    const auto refused = [&](const Material& material, std::string_view role) {
        return fail(Code::kInvalidArgument, what(access, material, role) + ": " + error.message());
    };
    if (access.ca.empty()) {
        context.set_default_verify_paths(error);
    } else {
        TRY_ASSIGN(const std::string pem, read(access.ca, "certificate-authority"));
        context.add_certificate_authority(boost::asio::buffer(pem), error);
        if (error) return refused(access.ca, "certificate-authority");
    }
    context.set_verify_mode(access.insecure ? ssl::verify_none : ssl::verify_peer, error);
    if (access.client_certificate.empty()) return made;
    TRY_ASSIGN(const std::string certificate, read(access.client_certificate, "client-certificate"));
    context.use_certificate_chain(boost::asio::buffer(certificate), error);
    if (error) return refused(access.client_certificate, "client-certificate");
    TRY_ASSIGN(const std::string key, read(access.client_key, "client-key"));
    context.use_private_key(boost::asio::buffer(key), ssl::context::pem, error);
    if (error) return refused(access.client_key, "client-key");
    made->read_client_certificate();
    return made;
}

void TlsContext::read_client_certificate() {
    const X509* own = SSL_CTX_get0_certificate(context_->native_handle());
    if (own == nullptr) return;
    client_name_ = name_of(X509_get_subject_name(own));
    client_expires_ = time_of(X509_get0_notAfter(own));
}

bool TlsContext::stale() const {
    for (const Watched& file : files_) {
        const std::string now = file_version(file.path);
        // A file that is just being replaced may be missing for a moment.
        if (!now.empty() && now != file.version) return true;
    }
    return false;
}

std::string certificate_problem(int error, const void* certificate, const std::string& expected_name) {
    const auto* x509 = static_cast<const X509*>(certificate);
    const std::string subject = x509 == nullptr ? "" : name_of(X509_get_subject_name(x509));
    const std::string now = format_time(std::chrono::system_clock::now());
    switch (error) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return "the certificate " + subject + " expired at " + format_time(time_of(X509_get0_notAfter(x509))) +
                   "; this machine's clock says " + now;
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return "the certificate " + subject + " is valid from " + format_time(time_of(X509_get0_notBefore(x509))) +
                   " only; this machine's clock says " + now + ": one of the two clocks is wrong";
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return "the certificate " + subject + " is not for \"" + expected_name +
                   "\"; tls-server-name names another one to expect";
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_CERT_SIGNATURE_FAILURE:
            return "the certificate " + subject + ", issued by " +
                   (x509 == nullptr ? "?" : name_of(X509_get_issuer_name(x509))) +
                   ", is not signed by the certificate authority that is configured (" +
                   X509_verify_cert_error_string(error) + ")";
        default: return "the certificate " + subject + ": " + X509_verify_cert_error_string(error);
    }
}

}  // namespace axo::kubernetes
