// The TLS side of a connection to an API server: what is trusted, who we are, and what is wrong when it fails.
//
// A context is made from the files as they are now; stale() says when they have been replaced (rotation by kubelet, a
// mounted Secret). Thread: the loop's only.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/kubernetes/access.h"

namespace boost::asio::ssl {
class context;
}

namespace axo::kubernetes {

class TlsContext {
public:
    static Result<std::shared_ptr<TlsContext>> make(const Access& access);
    ~TlsContext();
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

    // Whether one of its files is another one by now.
    [[nodiscard]] bool stale() const;
    [[nodiscard]] bool insecure() const { return insecure_; }
    // "": none; end of the client certificate's life.
    [[nodiscard]] const std::string& client_name() const { return client_name_; }
    [[nodiscard]] std::chrono::system_clock::time_point client_expires() const { return client_expires_; }
    boost::asio::ssl::context& native() { return *context_; }

private:
    TlsContext();
    struct Watched {
        std::string path;
        std::string version;  // inode, size, time
    };
    void read_client_certificate();

    std::unique_ptr<boost::asio::ssl::context> context_;
    std::vector<Watched> files_;
    bool insecure_ = false;
    std::string client_name_;
    std::chrono::system_clock::time_point client_expires_{};
};

// What X.509 found wrong with the server's certificate, for a person: names the certificate, its dates and this
// machine's clock where they are the matter. error: X509_V_ERR_…; certificate: X509*, or nullptr.
std::string certificate_problem(int error, const void* certificate, const std::string& expected_name);

}  // namespace axo::kubernetes
