#include "app/relay/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "base/file.h"

namespace axo {
namespace {

TEST(RelayOptions, TakesHubbleRelaysConfigFile) {
    const std::string path = "/tmp/axo-relay-options-" + std::to_string(::getpid()) + ".yaml";
    ASSERT_TRUE(write_atomic(path,
                             "cluster-name: prod\npeer-service: \"hubble-peer.kube-system.svc.cluster.local.:443\"\n"
                             "listen-address: :4245\ngops: true\ngops-port: \"9893\"\nretry-timeout: 7s\n"
                             "sort-buffer-len-max: 50\nsort-buffer-drain-timeout: 500ms\n"
                             "tls-hubble-client-cert-file: /c.crt\ntls-hubble-client-key-file: /c.key\n"
                             "tls-hubble-server-ca-files: /ca.crt\ndisable-server-tls: true\n"));
    const auto options = parse_relay_options({"serve", "--config=" + path, "--sort-buffer-len-max", "10", "--debug"});
    std::remove(path.c_str());
    ASSERT_TRUE(options) << options.error().message;
    EXPECT_EQ(options->relay.cluster_name, "prod");
    EXPECT_EQ(options->relay.peer_service, "hubble-peer.kube-system.svc.cluster.local.:443");
    EXPECT_EQ(options->relay.retry_timeout, std::chrono::seconds(7));
    EXPECT_EQ(options->relay.sort_buffer_length, 10U);
    EXPECT_EQ(options->relay.sort_buffer_wait, std::chrono::milliseconds(500));
    EXPECT_TRUE(options->relay.client.enabled);
    EXPECT_EQ(options->relay.client.others, std::vector<std::string>{"/ca.crt"});
    EXPECT_FALSE(options->relay.server.enabled);
    EXPECT_EQ(options->log_level, LogLevel::kDebug);
}

TEST(RelayOptions, FlagsTakeTheFilesPlace) {
    const std::string path = "/tmp/axo-relay-options-" + std::to_string(::getpid()) + ".yaml";
    ASSERT_TRUE(write_atomic(path,
                             "tls-hubble-server-ca-files: [/file.crt, /file2.crt]\ntls-relay-client-ca-files: /f.crt\n"
                             "disable-client-tls: true\ndebug: true\nretry-timeout: soon\n"));
    const auto options =
        parse_relay_options({"--config=" + path, "--tls-hubble-server-ca-files=/a.crt,/b.crt", "--retry-timeout=1m1.5s",
                             "--tls-hubble-server-ca-files", "/c.crt", "--disable-client-tls=false", "--debug=false"});
    std::remove(path.c_str());
    ASSERT_TRUE(options) << options.error().message;
    EXPECT_EQ(options->relay.client.others, (std::vector<std::string>{"/a.crt", "/b.crt", "/c.crt"}));
    EXPECT_EQ(options->relay.server.others, std::vector<std::string>{"/f.crt"});
    EXPECT_TRUE(options->relay.client.enabled);
    EXPECT_EQ(options->log_level, LogLevel::kInfo);
    EXPECT_EQ(options->relay.retry_timeout, std::chrono::milliseconds(61'500));
}

TEST(RelayOptions, RefusesWithNames) {
    const auto error = [](const std::vector<std::string>& arguments) {
        return parse_relay_options(arguments).error().message;
    };
    EXPECT_NE(error({"--bogus"}).find("unknown flag --bogus"), std::string::npos);
    EXPECT_NE(error({"--retry-timeout", "soon"}).find("--retry-timeout: expected a duration"), std::string::npos);
    EXPECT_NE(error({"--sort-buffer-len-max=0"}).find("expected a number from 1"), std::string::npos);
    EXPECT_NE(error({"--listen-address"}).find("needs a value"), std::string::npos);
    EXPECT_NE(error({"--config", "/nowhere.yaml"}).find("/nowhere.yaml"), std::string::npos);
}

}  // namespace
}  // namespace axo
