// Certificates, good and bad, between the client and a small TLS server.
#include "io/kubernetes/tls.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/fd.h"
#include "base/file.h"
#include "io/kubernetes/client.h"

using namespace std::chrono_literals;

namespace axo::kubernetes {
namespace {

struct Certificate {
    std::shared_ptr<EVP_PKEY> key;
    std::shared_ptr<X509> x509;

    template <class Write>
    static std::string pem(Write write) {
        BIO* bio = BIO_new(BIO_s_mem());
        write(bio);
        char* text = nullptr;
        const long size = BIO_get_mem_data(bio, &text);
        std::string all(text, static_cast<std::size_t>(size));
        BIO_free(bio);
        return all;
    }
    [[nodiscard]] std::string certificate_pem() const {
        return pem([this](BIO* bio) { PEM_write_bio_X509(bio, x509.get()); });
    }
    [[nodiscard]] std::string key_pem() const {
        return pem(
            [this](BIO* bio) { PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
    }
};

struct Wanted {
    std::string name;
    std::string san;                            // "DNS:x,IP:1.2.3.4"
    std::chrono::seconds from = -1h, to = 24h;  // from now
    const Certificate* issuer = nullptr;        // nullptr: a certificate authority of its own
};

Certificate make_certificate(const Wanted& wanted) {
    Certificate made{std::shared_ptr<EVP_PKEY>(EVP_EC_gen("P-256"), EVP_PKEY_free),
                     std::shared_ptr<X509>(X509_new(), X509_free)};
    X509* x509 = made.x509.get();
    static long serial = 1;
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x509), wanted.from.count());
    X509_gmtime_adj(X509_getm_notAfter(x509), wanted.to.count());
    X509_set_pubkey(x509, made.key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(wanted.name.c_str()), -1, -1, 0);
    const Certificate& issuer = wanted.issuer == nullptr ? made : *wanted.issuer;
    X509_set_issuer_name(x509, X509_get_subject_name(issuer.x509.get()));
    const auto add = [x509](int nid, const std::string& value) {
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
        X509_add_ext(x509, extension, -1);
        X509_EXTENSION_free(extension);
    };
    if (wanted.issuer == nullptr) add(NID_basic_constraints, "critical,CA:TRUE");
    if (!wanted.san.empty()) add(NID_subject_alt_name, wanted.san);
    X509_sign(x509, issuer.key.get(), EVP_sha256());
    return made;
}

// Answers every connection's first request with the name of its client certificate.
class TlsServer {
public:
    explicit TlsServer(const Certificate& certificate) : context_(SSL_CTX_new(TLS_server_method())) {
        SSL_CTX_use_certificate(context_, certificate.x509.get());
        SSL_CTX_use_PrivateKey(context_, certificate.key.get());
        SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
        listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
        ::listen(listener_.get(), 8);
        socklen_t length = sizeof(address);
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~TlsServer() {
        ::shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
        SSL_CTX_free(context_);
    }
    TlsServer(const TlsServer&) = delete;
    TlsServer& operator=(const TlsServer&) = delete;
    [[nodiscard]] Server address() const { return {true, "127.0.0.1", port_, ""}; }

private:
    void serve() {
        while (true) {
            const Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (client.get() < 0) return;
            SSL* session = SSL_new(context_);
            SSL_set_fd(session, client.get());
            char request[4096];
            if (SSL_accept(session) == 1 && SSL_read(session, request, sizeof(request)) > 0) {
                X509* peer = SSL_get1_peer_certificate(session);
                char name[128] = "nobody";
                if (peer != nullptr) X509_NAME_oneline(X509_get_subject_name(peer), name, sizeof(name));
                X509_free(peer);
                const std::string answer =
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + std::to_string(std::strlen(name)) +
                    "\r\n\r\n" + name;
                SSL_write(session, answer.data(), static_cast<int>(answer.size()));
                SSL_shutdown(session);
            }
            SSL_free(session);
        }
    }

    SSL_CTX* context_;
    Fd listener_;
    std::uint16_t port_ = 0;
    std::thread thread_;
};

class Tls : public testing::Test {
protected:
    Access access(const TlsServer& server) {
        Access access;
        access.servers = {server.address()};
        access.origin = "test";
        access.ca.text = authority_.certificate_pem();
        return access;
    }
    Result<Response> ask(Client& client) { return run_to_end(loop_, client.request({.target = "/"})); }
    std::string refusal(const Wanted& wanted) {
        const TlsServer server(make_certificate(wanted));
        Client client(loop_, access(server), {});
        const auto answer = ask(client);
        EXPECT_FALSE(answer);
        if (answer) return "";
        EXPECT_EQ(answer.error().code, Code::kFailedPrecondition) << answer.error().message;
        EXPECT_FALSE(client.state().reachable);
        return answer.error().message;
    }

    EventLoop loop_;
    const Certificate authority_ = make_certificate({.name = "test-ca", .to = 240h});
};

TEST_F(Tls, GoodCertificates) {
    for (const char* san : {"IP:127.0.0.1", "DNS:kubernetes"}) {
        const TlsServer server(make_certificate({.name = "server", .san = san, .issuer = &authority_}));
        Access how = access(server);
        if (std::string(san) == "DNS:kubernetes") how.server_name = "kubernetes";
        Client client(loop_, how, {});
        const auto answer = ask(client);
        ASSERT_TRUE(answer) << answer.error().message;
        EXPECT_EQ(answer->body, "nobody");
    }
}

TEST_F(Tls, BadOnesAreNamed) {
    const Certificate other = make_certificate({.name = "other-ca"});
    const auto contains = [](const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos ? testing::AssertionSuccess() : testing::AssertionFailure() << text;
    };
    EXPECT_TRUE(contains(refusal({.name = "s", .san = "IP:127.0.0.1", .issuer = &other}),
                         "issued by /CN=other-ca, is not signed by the certificate authority that is configured"));
    EXPECT_TRUE(contains(refusal({.name = "s", .san = "IP:127.0.0.1", .from = -2h, .to = -1h, .issuer = &authority_}),
                         "/CN=s expired at "));
    EXPECT_TRUE(contains(refusal({.name = "s", .san = "IP:127.0.0.1", .from = 1h, .issuer = &authority_}),
                         "one of the two clocks is wrong"));
    EXPECT_TRUE(contains(refusal({.name = "s", .san = "DNS:elsewhere", .issuer = &authority_}),
                         "/CN=s is not for \"127.0.0.1\""));
}

TEST_F(Tls, AnyCertificateWillDoWhenToldSo) {
    const TlsServer server(make_certificate({.name = "self"}));
    Access how = access(server);
    how.insecure = true;
    Client client(loop_, how, {});
    EXPECT_TRUE(ask(client));
}

TEST_F(Tls, ClientCertificatesAreReadAgain) {
    char directory[] = "/tmp/axo-tls-XXXXXX";
    ASSERT_NE(::mkdtemp(directory), nullptr);
    const std::string path(directory);
    const auto store = [&](const Wanted& wanted) {
        const Certificate made = make_certificate(wanted);
        ASSERT_TRUE(write_atomic(path + "/crt", made.certificate_pem()));
        ASSERT_TRUE(write_atomic(path + "/key", made.key_pem()));
    };
    const TlsServer server(make_certificate({.name = "server", .san = "IP:127.0.0.1", .issuer = &authority_}));
    Access how = access(server);
    how.client_certificate.file = path + "/crt";
    how.client_key.file = path + "/key";
    store({.name = "first", .to = 24h, .issuer = &authority_});
    Client client(loop_, how, {});
    EXPECT_EQ(ask(client).value().body, "/CN=first");
    ASSERT_EQ(client.concerns().size(), 1U);
    EXPECT_NE(client.concerns()[0].find("/CN=first expires at"), std::string::npos);
    store({.name = "second", .to = 2400h, .issuer = &authority_});
    EXPECT_EQ(ask(client).value().body, "/CN=second");
    EXPECT_TRUE(client.concerns().empty());
    // In the middle of a rotation the two do not belong together: the old ones stay.
    ASSERT_TRUE(
        write_atomic(path + "/crt", make_certificate({.name = "third", .issuer = &authority_}).certificate_pem()));
    EXPECT_EQ(ask(client).value().body, "/CN=second");
    // Without a request, too: what status says is what is there.
    store({.name = "fourth", .to = 24h, .issuer = &authority_});
    Client waiting(loop_, how, {.refresh_interval = std::chrono::milliseconds(10)});
    EXPECT_EQ(ask(waiting).value().body, "/CN=fourth");
    EXPECT_EQ(waiting.concerns().size(), 1U);
    store({.name = "fifth", .to = 2400h, .issuer = &authority_});
    const auto timer = loop_.after(std::chrono::milliseconds(50), [this] { loop_.stop(); });
    loop_.run();
    EXPECT_TRUE(waiting.concerns().empty());
    std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace axo::kubernetes
