#include "hubble/rpc/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace axo::rpc {

namespace {

std::unexpected<Error> tls_error(const std::string& what) {
    char text[256] = "no reason given";
    if (const unsigned long code = ::ERR_get_error(); code != 0) ::ERR_error_string_n(code, text, sizeof(text));
    ::ERR_clear_error();
    return fail(Code::kFailedPrecondition, what + ": " + text);
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                    unsigned in_length, void*) {
    static constexpr unsigned char kHttp2[] = "\x02h2";
    unsigned char* chosen = nullptr;
    if (::SSL_select_next_proto(&chosen, out_length, kHttp2, sizeof(kHttp2) - 1, in, in_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<TlsContext> load_tls(const TlsFiles& files) {
    ::ERR_clear_error();
    TlsContext context(::SSL_CTX_new(::TLS_server_method()), &::SSL_CTX_free);
    if (!context) return tls_error("TLS");
    ::SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
    // Buffers of idle connections are given back.
    ::SSL_CTX_set_mode(context.get(),
                       SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    ::SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    ::SSL_CTX_set_alpn_select_cb(context.get(), &choose_protocol, nullptr);
    if (::SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1)
        return tls_error("certificate " + files.certificate.string());
    if (::SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1)
        return tls_error("key " + files.key.string());
    if (::SSL_CTX_check_private_key(context.get()) != 1)
        return tls_error("key " + files.key.string() + " does not fit to " + files.certificate.string());
    for (const std::filesystem::path& ca : files.client_cas) {
        if (::SSL_CTX_load_verify_locations(context.get(), ca.c_str(), nullptr) != 1)
            return tls_error("client CA " + ca.string());
    }
    if (!files.client_cas.empty())
        ::SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    return context;
}

}  // namespace axo::rpc
