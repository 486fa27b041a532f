// Who we are to an API server and whom we trust, kept current: kubeconfig, certificates and tokens are files that
// others replace at any time (kubelet, a mounted Secret, kubeadm). Thread: the loop's only.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/kubernetes/access.h"
#include "io/kubernetes/tls.h"

namespace axo::kubernetes {

class Credentials {
public:
    explicit Credentials(Access access);

    [[nodiscard]] const Access& access() const { return access_; }
    // Reads again what has been replaced. What cannot be read, or does not fit together as in the middle of a rotation,
    // leaves what was in force.
    Status refresh();
    // After refresh(); for servers with TLS.
    [[nodiscard]] const std::shared_ptr<TlsContext>& tls() const { return tls_; }
    Result<std::string> bearer();
    // The server does not take the token: it may have been replaced just now. False: there is no file to look into.
    bool token_refused();
    // Another one whenever kubeconfig or certificates are others: connections made before belong to who we were.
    [[nodiscard]] unsigned generation() const { return generation_; }
    // What will be a problem, for status.
    [[nodiscard]] std::vector<std::string> concerns() const;

private:
    void read_kubeconfig();
    Status read_certificates();
    [[nodiscard]] bool expires_soon() const;
    void look_at_expiry();

    Access access_;
    Logger log_{"k8s-client"};
    std::string kubeconfig_version_;
    std::string reported_;  // of a kubeconfig that cannot be read
    std::shared_ptr<TlsContext> tls_;
    std::string token_;
    std::chrono::steady_clock::time_point token_read_{}, expiry_reported_{};
    unsigned generation_ = 0;
};

}  // namespace axo::kubernetes
