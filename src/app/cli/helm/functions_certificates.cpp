// Sprig's certificates: genCA, buildCustomCert, genSignedCert. Keys are of P-256 where Sprig makes RSA's.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <memory>

#include "app/cli/helm/functions.h"
#include "base/base64.h"

namespace axo::cli::helm {
namespace {

template <auto free>
struct Free {
    void operator()(auto* object) const { free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Free<::EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<::X509_free>>;
using Bio = std::unique_ptr<BIO, Free<::BIO_free>>;

std::unexpected<Error> crypto_error(const std::string& what) {
    char reason[256] = "no reason given";
    if (const unsigned long code = ::ERR_get_error(); code != 0) ::ERR_error_string_n(code, reason, sizeof reason);
    ::ERR_clear_error();
    return wrong(what + ": " + reason);
}

struct Signed {
    Certificate certificate;
    Key key;
};

std::string content(const Bio& bio) {
    char* data = nullptr;
    const long size = ::BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

Result<Value> as_value(const Signed& made) {
    const Bio certificate(::BIO_new(::BIO_s_mem())), key(::BIO_new(::BIO_s_mem()));
    if (::PEM_write_bio_X509(certificate.get(), made.certificate.get()) != 1 ||
        ::PEM_write_bio_PrivateKey(key.get(), made.key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
        return crypto_error("writing a certificate");
    return Value(Object{{"Cert", content(certificate)}, {"Key", content(key)}});
}

Result<Signed> signed_of(const Value& value, const std::string& what) {
    const Object* object = value.object();
    const auto text = [&](const char* name) {
        const auto found = object != nullptr ? object->find(name) : Object::const_iterator{};
        return object != nullptr && found != object->end() ? found->second.text() : std::string();
    };
    const std::string certificate_text = text("Cert"), key_text = text("Key");
    const Bio certificate(::BIO_new_mem_buf(certificate_text.data(), static_cast<int>(certificate_text.size())));
    const Bio key(::BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())));
    Signed read{Certificate(::PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr)), {}};
    if (!read.certificate) return crypto_error(what + ": its certificate is not PEM");
    // An encrypted key is no reason to ask at the terminal.
    const auto no_password = [](char*, int, int, void*) { return 0; };
    read.key.reset(::PEM_read_bio_PrivateKey(key.get(), nullptr, no_password, nullptr));
    if (!read.key) return crypto_error(what + ": its key is not PEM");
    if (::X509_check_private_key(read.certificate.get(), read.key.get()) != 1)
        return crypto_error(what + ": its key does not fit its certificate");
    return read;
}

struct Wanted {
    std::string name;  // the subject's common name
    std::vector<std::string> addresses, dns_names;
    std::int64_t days = 0;
};

Status add_extension(X509* certificate, int kind, const char* text) {
    const std::unique_ptr<X509_EXTENSION, Free<::X509_EXTENSION_free>> extension(
        ::X509V3_EXT_conf_nid(nullptr, nullptr, kind, text));
    if (!extension || ::X509_add_ext(certificate, extension.get(), -1) != 1) return crypto_error(text);
    return {};
}

Status add_names(X509* certificate, const Wanted& wanted) {
    const std::unique_ptr<GENERAL_NAMES, Free<::GENERAL_NAMES_free>> names(sk_GENERAL_NAME_new_null());
    const auto add = [&names](int kind, auto* value) {
        GENERAL_NAME* name = ::GENERAL_NAME_new();
        ::GENERAL_NAME_set0_value(name, kind, value);
        sk_GENERAL_NAME_push(names.get(), name);
    };
    for (const std::string& text : wanted.dns_names) {
        ASN1_IA5STRING* name = ::ASN1_IA5STRING_new();
        ::ASN1_STRING_set(name, text.data(), static_cast<int>(text.size()));
        add(GEN_DNS, name);
    }
    for (const std::string& text : wanted.addresses) {
        ASN1_OCTET_STRING* address = ::a2i_IPADDRESS(text.c_str());
        if (address == nullptr) return wrong("\"" + text + "\": not an IP address");
        add(GEN_IPADD, address);
    }
    if (::X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) != 1)
        return crypto_error("names of " + wanted.name);
    return {};
}

// Of itself without a signer: an authority.
Result<Signed> make(const Wanted& wanted, const Signed* signer) {
    if (wanted.days <= 0) return wrong(std::to_string(wanted.days) + " days: a certificate holds for some");
    Signed made{Certificate(::X509_new()), Key(::EVP_EC_gen("P-256"))};
    if (!made.certificate || !made.key) return crypto_error("a key for " + wanted.name);
    X509* certificate = made.certificate.get();
    unsigned char serial[16];
    if (::RAND_bytes(serial, sizeof serial) != 1) return crypto_error("a serial number");
    serial[0] &= 0x7F;  // positive
    const std::unique_ptr<BIGNUM, Free<::BN_free>> number(::BN_bin2bn(serial, sizeof serial, nullptr));
    ::BN_to_ASN1_INTEGER(number.get(), ::X509_get_serialNumber(certificate));
    ::X509_set_version(certificate, 2);  // counted from 0
    ::X509_gmtime_adj(::X509_getm_notBefore(certificate), 0);
    ::X509_time_adj_ex(::X509_getm_notAfter(certificate), static_cast<int>(wanted.days), 0, nullptr);
    ::X509_set_pubkey(certificate, made.key.get());
    X509_NAME* subject = ::X509_get_subject_name(certificate);
    if (::X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                     reinterpret_cast<const unsigned char*>(wanted.name.data()),
                                     static_cast<int>(wanted.name.size()), -1, 0) != 1)
        return crypto_error("\"" + wanted.name + "\" as a common name");
    ::X509_set_issuer_name(certificate,
                           signer != nullptr ? ::X509_get_subject_name(signer->certificate.get()) : subject);
    TRY(add_extension(certificate, NID_basic_constraints,
                      signer != nullptr ? "critical,CA:FALSE" : "critical,CA:TRUE"));
    TRY(add_extension(certificate, NID_key_usage,
                      signer != nullptr ? "critical,digitalSignature,keyEncipherment"
                                        : "critical,digitalSignature,keyEncipherment,keyCertSign"));
    TRY(add_extension(certificate, NID_ext_key_usage, "serverAuth,clientAuth"));
    if (!wanted.dns_names.empty() || !wanted.addresses.empty()) TRY(add_names(certificate, wanted));
    if (::X509_sign(certificate, signer != nullptr ? signer->key.get() : made.key.get(), ::EVP_sha256()) == 0)
        return crypto_error("signing " + wanted.name);
    return made;
}

// null: none.
Result<std::vector<std::string>> texts_of(const Value& value) {
    std::vector<std::string> texts;
    if (value.is_nil()) return texts;
    if (value.array() == nullptr) return wrong("a list of texts is wanted, not " + value.kind());
    for (const Value& one : *value.array()) texts.push_back(one.text());
    return texts;
}

Result<std::string> decoded(const Value& value) {
    TRY_ASSIGN(const auto bytes, base64_decode(value.text()));
    return std::string(bytes.begin(), bytes.end());
}

}  // namespace

void add_certificate_functions(Functions& all) {
    all["genCA"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Signed made,
                   make({.name = a[0].text(), .days = static_cast<std::int64_t>(as_number(a[1]))}, nullptr));
        return as_value(made);
    });
    all["buildCustomCert"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const std::string certificate, decoded(a[0]));
        TRY_ASSIGN(const std::string key, decoded(a[1]));
        Value read(Object{{"Cert", certificate}, {"Key", key}});
        TRY(signed_of(read, "the given certificate"));
        return read;
    });
    all["genSignedCert"] = counted(5, 5, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Signed signer, signed_of(a[4], "the authority"));
        Wanted wanted{.name = a[0].text(), .days = static_cast<std::int64_t>(as_number(a[3]))};
        TRY_ASSIGN(wanted.addresses, texts_of(a[1]));
        TRY_ASSIGN(wanted.dns_names, texts_of(a[2]));
        TRY_ASSIGN(const Signed made, make(wanted, &signer));
        return as_value(made);
    });
}

}  // namespace axo::cli::helm
