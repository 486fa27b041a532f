// The relay and certificates: both ways, and what is wrong with files.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "hubble/relay/relay_fixture.h"
#include "hubble/relay/tls.h"

namespace axo::relay_server {
namespace {

using namespace std::chrono_literals;

// A certificate authority and what it signed.
class RelayTlsTest : public RelayTest {
protected:
    void SetUp() override {
        RelayTest::SetUp();
        make_ca("ca");
        make("node", "ca", "a.default.hubble-grpc.cilium.io");
        make("relay", "ca", "ui.hubble-relay.cilium.io");
        make("client", "ca", "client");
        make_ca("other");
        make("stranger", "other", "client");
    }
    void run(const std::string& command) { ASSERT_EQ(std::system((command + " 2>/dev/null").c_str()), 0) << command; }
    [[nodiscard]] std::string file(const std::string& name) const { return folder_ + "/" + name; }
    void make_ca(const std::string& name) {
        run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" + name +
            " -keyout " + file(name + ".key") + " -out " + file(name + ".crt"));
    }
    void make(const std::string& name, const std::string& ca, const std::string& dns) {
        run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name + " -keyout " +
            file(name + ".key") + " -out " + file(name + ".csr"));
        ASSERT_TRUE(write_atomic(file(name + ".ext"), "subjectAltName=DNS:" + dns + "\n"));
        run("openssl x509 -req -days 2 -in " + file(name + ".csr") + " -CA " + file(ca + ".crt") + " -CAkey " +
            file(ca + ".key") + " -CAcreateserial -extfile " + file(name + ".ext") + " -out " + file(name + ".crt"));
    }
    [[nodiscard]] TlsSettings tls(const std::string& name, const std::string& ca) const {
        return {.enabled = true,
                .certificate = file(name + ".crt"),
                .key = file(name + ".key"),
                .others = {file(ca + ".crt")}};
    }
    // Asks the relay as a client with this certificate.
    grpc::Status ask(const std::string& name, const std::string& server_name) {
        auto credentials = grpc::SslCredentials({.pem_root_certs = *read_file(file("ca.crt")),
                                                 .pem_private_key = *read_file(file(name + ".key")),
                                                 .pem_cert_chain = *read_file(file(name + ".crt"))});
        grpc::ChannelArguments arguments;
        arguments.SetSslTargetNameOverride(server_name);
        channel_ = grpc::CreateCustomChannel(address_, credentials, arguments);
        stub_ = observer::Observer::NewStub(channel_);
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + 10s);
        observer::ServerStatusResponse status;
        return stub_->ServerStatus(&context, {}, &status);
    }
};

TEST_F(RelayTlsTest, BothWays) {
    settings_.client = tls("client", "ca");
    settings_.server = tls("relay", "ca");
    nodes_.push_back(std::make_unique<FakeNode>("a", "127.0.0.1:0"));
    nodes_[0]->start(*server_credentials(tls("node", "ca")));
    nodes_[0]->add(1'000'000'000, "one");
    peers_->add("a", nodes_[0]->address(), tls_server_name("a", "default"));
    peers_->add("liar", nodes_[0]->address(), tls_server_name("liar", "default"));
    serve(1);
    EXPECT_TRUE(ask("client", "ui.hubble-relay.cilium.io").ok());
    const Got got = all_flows();
    EXPECT_EQ(got.uuids, std::vector<std::string>{"one"});
    // A peer whose certificate is of another name is no peer.
    EXPECT_TRUE(eventually([&] { return pool_->states()["TRANSIENT_FAILURE"] == 1; }));
    EXPECT_FALSE(ask("stranger", "ui.hubble-relay.cilium.io").ok());
    EXPECT_FALSE(ask("client", "another.hubble-relay.cilium.io").ok());
}

TEST_F(RelayTlsTest, BadFilesAreNamed) {
    TlsSettings missing = tls("client", "ca");
    missing.key = file("nothing.key");
    EXPECT_NE(channel_credentials(missing).error().message.find("nothing.key"), std::string::npos);
    TlsSettings swapped = tls("client", "ca");
    std::swap(swapped.key, swapped.certificate);
    EXPECT_NE(server_credentials(swapped).error().message.find("holds no PEM"), std::string::npos);
    EXPECT_EQ(tls_server_name("k8s.1", "my.cluster"), "k8s-1.my-cluster.hubble-grpc.cilium.io");
}

}  // namespace
}  // namespace axo::relay_server
