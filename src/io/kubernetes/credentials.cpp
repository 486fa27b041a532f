#include "io/kubernetes/credentials.h"

#include <algorithm>

#include "model/time.h"

namespace axo::kubernetes {
namespace {

using Clock = std::chrono::steady_clock;

// kubelet writes a new token long before the old one ends.
constexpr auto kTokenAge = std::chrono::seconds(10);
constexpr auto kExpiryNotice = std::chrono::hours(24 * 3);
constexpr auto kExpiryReminder = std::chrono::hours(6);

std::string trimmed(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
    return text;
}

}  // namespace

Credentials::Credentials(Access access) : access_(std::move(access)) {
    if (access_.source) kubeconfig_version_ = file_version(access_.source->kubeconfig);
}

Status Credentials::refresh() {
    read_kubeconfig();
    if (std::ranges::none_of(access_.servers, &Server::tls)) return {};
    TRY(read_certificates());
    look_at_expiry();
    return {};
}

// It may hold certificates and tokens itself, or the address of an API server that has moved.
void Credentials::read_kubeconfig() {
    if (!access_.source) return;
    std::string now = file_version(access_.source->kubeconfig);
    // One that is just being replaced may be missing for a moment.
    if (now.empty() || now == kubeconfig_version_) return;
    auto read = load_access(*access_.source);
    std::shared_ptr<TlsContext> tls;
    if (read) {
        auto made = TlsContext::make(*read);
        if (made)
            tls = std::move(*made);
        else
            read = forward_error(std::move(made).error());
    }
    if (!read) {
        if (reported_ != read.error().message) log_.warn("The kubeconfig that was in force stays so", {read.error()});
        reported_ = read.error().message;
        return;
    }
    log_.info("The kubeconfig has been read again", {{"origin", read->origin}});
    access_ = std::move(*read);
    kubeconfig_version_ = std::move(now);
    reported_.clear();
    tls_ = std::move(tls);
    token_.clear();
    token_read_ = expiry_reported_ = {};
    ++generation_;
}

Status Credentials::read_certificates() {
    if (tls_ && !tls_->stale()) return {};
    auto made = TlsContext::make(access_);
    if (!made) {
        // In the middle of a rotation certificate and key may not belong together.
        if (tls_) return {};
        return forward_error(std::move(made).error());
    }
    if (tls_) {
        log_.info("Certificates have been read again", {{"origin", access_.origin}});
        ++generation_;
    }
    tls_ = std::move(*made);
    expiry_reported_ = {};
    return {};
}

bool Credentials::expires_soon() const {
    return tls_ && !tls_->client_name().empty() &&
           tls_->client_expires() - std::chrono::system_clock::now() < kExpiryNotice;
}

// When a certificate ends that nobody renews, nothing is told and nothing can be written any more.
void Credentials::look_at_expiry() {
    if (!expires_soon()) return;
    const auto now = Clock::now();
    if (expiry_reported_ != Clock::time_point{} && now - expiry_reported_ < kExpiryReminder) return;
    expiry_reported_ = now;
    log_.warn("The client certificate expires soon; a new one in its place is read by itself",
              {{"certificate", tls_->client_name()},
               {"expires", format_time(tls_->client_expires())},
               {"origin", access_.origin}});
}

Result<std::string> Credentials::bearer() {
    if (access_.token.empty()) return std::string();
    const auto now = Clock::now();
    if (token_read_ != Clock::time_point{} && now - token_read_ < kTokenAge) return token_;
    auto text = access_.token.read();
    if (!text) {
        if (!token_.empty()) return token_;
        return forward_error(std::move(text).error().with_context(access_.origin + ": token"));
    }
    token_ = trimmed(std::move(*text));
    token_read_ = now;
    return token_;
}

bool Credentials::token_refused() {
    token_read_ = {};
    return !access_.token.file.empty();
}

std::vector<std::string> Credentials::concerns() const {
    if (!expires_soon()) return {};
    return {"the client certificate " + tls_->client_name() + " expires at " + format_time(tls_->client_expires()) +
            ": have it renewed"};
}

}  // namespace axo::kubernetes
