#include "app/cli/observe/connection.h"

#include <grpc/support/log.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "base/base64.h"
#include "base/fd.h"
#include "base/file.h"
#include "hubble/text/version.h"

namespace axo::cli {
namespace {

Result<std::shared_ptr<grpc::ChannelCredentials>> tls_credentials(const Settings& settings) {
    std::string roots, certificate, key;
    for (const std::string& path : settings.list("tls-ca-cert-files")) {
        auto pem = read_file(path);
        if (!pem) return std::unexpected(std::move(pem.error()).with_context("--tls-ca-cert-files"));
        if (pem->find("-----BEGIN CERTIFICATE-----") == std::string::npos)
            return fail(Code::kInvalidArgument,
                        "--tls-ca-cert-files: cannot process cert '" + path + "': must be a PEM encoded certificate");
        roots += *pem + "\n";
    }
    // The library's own search knows other distributions' places; Debian's is this one.
    if (roots.empty())
        if (auto pem = read_file("/etc/ssl/certs/ca-certificates.crt")) roots = std::move(*pem);
    const std::string cert_file = settings.text("tls-client-cert-file"),
                      key_file = settings.text("tls-client-key-file");
    if (cert_file.empty() != key_file.empty())
        return fail(Code::kInvalidArgument,
                    "--tls-client-cert-file and --tls-client-key-file belong together: give both or none");
    if (!cert_file.empty()) {
        TRY_ASSIGN(certificate, read_file(cert_file));
        TRY_ASSIGN(key, read_file(key_file));
    }
    if (!settings.flag("tls-allow-insecure"))
        return grpc::SslCredentials({.pem_root_certs = roots, .pem_private_key = key, .pem_cert_chain = certificate});
    namespace tls = grpc::experimental;
    tls::TlsChannelCredentialsOptions options;
    options.set_verify_server_certs(false);
    options.set_check_call_host(false);
    options.set_certificate_verifier(std::make_shared<tls::NoOpCertificateVerifier>());
    if (!certificate.empty()) {
        options.set_certificate_provider(std::make_shared<tls::StaticDataCertificateProvider>(
            std::vector<tls::IdentityKeyCertPair>{{key, certificate}}));
        options.watch_identity_key_cert_pairs();
    }
    return tls::TlsCredentials(options);
}

}  // namespace

Result<Connection> Connection::open(const Settings& settings) {
    Connection out;
    if (settings.flag("port-forward"))
        return fail(Code::kUnimplemented, "--port-forward is not supported: run `kubectl -n " +
                                              settings.text("kube-namespace") +
                                              " port-forward service/hubble-relay 4245:80` beside this command");
    std::string server = settings.text("server");
    bool tls = settings.flag("tls");
    if (server.starts_with("tls://")) {
        tls = true;
        server.erase(0, 6);
    }
    if (server.empty()) return fail(Code::kInvalidArgument, "--server is empty: expected host:port or unix:///path");
    if (server.starts_with('/')) server = "unix://" + server;
    out.target_ = server;
    const std::string user = settings.text("basic-auth-username"), password = settings.text("basic-auth-password");
    if (!user.empty() && !password.empty()) out.authorization_ = "Basic " + base64_encode(user + ":" + password);
    TRY_ASSIGN(out.request_timeout_, settings.duration("request-timeout"));
    TRY_ASSIGN(const std::chrono::nanoseconds timeout, settings.duration("timeout"));

    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    grpc::ChannelArguments arguments;
    if (tls) {
        TRY_ASSIGN(credentials, tls_credentials(settings));
        if (const std::string name = settings.text("tls-server-name"); !name.empty())
            arguments.SetSslTargetNameOverride(name);
    }
    // What goes wrong is told in words of our own.
    ::gpr_set_log_function([](gpr_log_func_args*) {});
    arguments.SetUserAgentPrefix("axoneme-hubble/" + std::string(kHubbleVersion));
    arguments.SetMaxReceiveMessageSize(64 << 20);
    out.channel_ = grpc::CreateCustomChannel(server, credentials, arguments);
    const auto until =
        std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::microseconds>(timeout);
    if (!out.channel_->WaitForConnected(until))
        return fail(Code::kUnavailable, "failed to connect to '" + server + "' within " + settings.text("timeout") +
                                            (tls ? ": is it up, does it speak TLS, and do its certificate's name and "
                                                   "authority fit --tls-server-name and --tls-ca-cert-files?"
                                                 : ": is it up, and does it speak without TLS? (--tls)") +
                                            " --server or HUBBLE_SERVER name another one");
    return out;
}

void Connection::prepare(grpc::ClientContext& context, bool stream) const {
    if (!authorization_.empty()) context.AddMetadata("authorization", authorization_);
    if (!stream)
        context.set_deadline(std::chrono::system_clock::now() +
                             std::chrono::duration_cast<std::chrono::microseconds>(request_timeout_));
}

Error Connection::error(const grpc::Status& status) const {
    std::string text = status.error_message().empty() ? "no reason given" : status.error_message();
    switch (status.error_code()) {
        case grpc::StatusCode::UNAVAILABLE: return {Code::kUnavailable, "the server at " + target_ + ": " + text, 0};
        case grpc::StatusCode::UNIMPLEMENTED:
            return {Code::kUnimplemented, "the server at " + target_ + " does not know this: " + text, 0};
        case grpc::StatusCode::DEADLINE_EXCEEDED:
            return {Code::kDeadlineExceeded, "the server at " + target_ + " did not answer in time (--request-timeout)",
                    0};
        default: return {Code::kUnknown, text, 0};
    }
}

namespace {

// What the signal handler writes to: whichever thread takes the signal, gRPC's too.
int interrupt_fd = -1;

void on_interrupt(int) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(interrupt_fd, &one, sizeof(one));
}

}  // namespace

struct CancelOnInterrupt::State {
    Fd interrupted, stop;
    std::thread thread;
};

CancelOnInterrupt::CancelOnInterrupt(grpc::ClientContext& context) : state_(std::make_unique<State>()) {
    state_->interrupted = Fd(::eventfd(0, EFD_CLOEXEC));
    state_->stop = Fd(::eventfd(0, EFD_CLOEXEC));
    interrupt_fd = state_->interrupted.get();
    struct sigaction action{};
    action.sa_handler = on_interrupt;
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second interrupt ends the program at once
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    state_->thread = std::thread([this, &context] {
        pollfd watched[] = {{state_->interrupted.get(), POLLIN, 0}, {state_->stop.get(), POLLIN, 0}};
        while (::poll(watched, 2, -1) < 0) {
        }
        if (watched[0].revents != 0) context.TryCancel();
    });
}

CancelOnInterrupt::~CancelOnInterrupt() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(state_->stop.get(), &one, sizeof(one));
    state_->thread.join();
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGTERM, SIG_DFL);
}

}  // namespace axo::cli
