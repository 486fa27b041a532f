#include "io/kubernetes/access.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"

namespace axo::kubernetes {
namespace {

class AccessTest : public testing::Test {
protected:
    AccessTest() {
        std::string pattern = "/tmp/axo-access-XXXXXX";
        directory_ = ::mkdtemp(pattern.data());
    }
    ~AccessTest() override { std::filesystem::remove_all(directory_); }
    Result<Access> kubeconfig(const std::string& text, const std::vector<std::string>& servers = {}) {
        const std::string path = directory_ + "/config";
        EXPECT_TRUE(write_atomic(path, text));
        return load_access({.kubeconfig = path, .servers = servers, .environment = {}});
    }
    static std::string config(const std::string& cluster, const std::string& user) {
        return "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {cluster: k, user: "
               "u}\nclusters:\n- name: other\n  cluster: {server: https://other}\n- name: k\n  cluster: {" +
               cluster + "}\nusers:\n- name: u\n  user: {" + user + "}\n";
    }
    std::string refusal(const std::string& cluster, const std::string& user) {
        const auto access = kubeconfig(config(cluster, user));
        return access ? "" : access.error().message;
    }
    std::string directory_;
};

TEST_F(AccessTest, Servers) {
    const auto text = [](const std::string& server) { return parse_server(server).value().to_string(); };
    EXPECT_EQ(text("https://10.0.0.1:6443"), "https://10.0.0.1:6443");
    EXPECT_EQ(text("10.0.0.1:6443"), "https://10.0.0.1:6443");
    EXPECT_EQ(text("api.example.com"), "https://api.example.com:443");
    EXPECT_EQ(text("http://[fd00::1]:80/prefix/"), "http://[fd00::1]:80/prefix");
    for (const char* bad :
         {"", "https://", "ftp://x", "https://x:0", "https://x:y", "fd00::1", "https://[fd00::1", "a b"})
        EXPECT_FALSE(parse_server(bad)) << bad;
}

TEST_F(AccessTest, Kubeconfig) {
    const auto access = kubeconfig(
        config("server: \"https://1.2.3.4:6443\", certificate-authority: pki/ca.crt, tls-server-name: kubernetes",
               "client-certificate-data: Y2VydA==, client-key-data: a2V5"));
    ASSERT_TRUE(access) << access.error().message;
    EXPECT_EQ(access->servers, (std::vector<Server>{{true, "1.2.3.4", 6443, ""}}));
    EXPECT_EQ(access->ca.file, directory_ + "/pki/ca.crt");
    EXPECT_EQ(access->server_name, "kubernetes");
    EXPECT_EQ(access->client_certificate.text, "cert");
    EXPECT_EQ(access->client_key.text, "key");
    EXPECT_FALSE(access->insecure);
    const auto token = kubeconfig(config("server: x, insecure-skip-tls-verify: true", "token: t, tokenFile: /run/t"),
                                  {"https://a", "https://b:1"});
    ASSERT_TRUE(token);
    EXPECT_EQ(token->token, (Material{"", "/run/t"}));
    EXPECT_TRUE(token->insecure);
    EXPECT_EQ(token->servers.size(), 2U);
}

TEST_F(AccessTest, WhatIsNotSupportedIsRefusedByName) {
    const auto contains = [](const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos ? testing::AssertionSuccess() : testing::AssertionFailure() << text;
    };
    EXPECT_TRUE(
        contains(refusal("server: x, proxy-url: http://p", "token: t"), "cluster k: proxy-url is not supported"));
    EXPECT_TRUE(contains(refusal("server: x", "exec: {command: aws}"), "user u: exec (a credential plugin) is not"));
    EXPECT_TRUE(contains(refusal("server: x", "username: u, password: p"), "user u: username is not supported"));
    EXPECT_TRUE(contains(refusal("server: x", "client-key-data: a2V5"), "belong together"));
    EXPECT_TRUE(contains(refusal("server: 'x:y'", ""), "cluster k: server: API server \"x:y\": port is not"));
    EXPECT_TRUE(contains(refusal("server: x, certificate-authority-data: '?'", ""), "certificate-authority-data"));
    EXPECT_TRUE(contains(kubeconfig("current-context: y\n").error().message, "contexts has no entry named \"y\""));
    EXPECT_TRUE(contains(kubeconfig("{}").error().message, "current-context is not set"));
    EXPECT_TRUE(contains(kubeconfig("- a").error().message, "a mapping is expected"));
    EXPECT_EQ(load_access({.kubeconfig = directory_ + "/none", .servers = {}, .environment = {}}).error().code,
              Code::kNotFound);
}

TEST_F(AccessTest, InAPod) {
    AccessOptions options{.service_account = directory_, .environment = {}};
    EXPECT_EQ(load_access(options).error().code, Code::kNotFound);
    options.environment = {{"KUBERNETES_SERVICE_HOST", "fd00::1"}, {"KUBERNETES_SERVICE_PORT", "6443"}};
    ASSERT_TRUE(write_atomic(directory_ + "/token", "t"));
    ASSERT_TRUE(write_atomic(directory_ + "/ca.crt", "c"));
    const auto access = load_access(options);
    ASSERT_TRUE(access) << access.error().message;
    EXPECT_EQ(access->servers[0].to_string(), "https://[fd00::1]:6443");
    EXPECT_EQ(access->token.file, directory_ + "/token");
    EXPECT_EQ(access->ca.file, directory_ + "/ca.crt");
}

}  // namespace
}  // namespace axo::kubernetes
