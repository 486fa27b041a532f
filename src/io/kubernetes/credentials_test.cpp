#include "io/kubernetes/credentials.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "io/kubernetes/client.h"
#include "io/kubernetes/fake_api.h"
#include "io/store_fixture.h"

namespace axo::kubernetes {
namespace {

class KubeconfigRotation : public testing::Test {
protected:
    KubeconfigRotation() {
        char directory[] = "/tmp/axo-credentials-XXXXXX";
        if (::mkdtemp(directory) == nullptr) ADD_FAILURE();
        path_ = directory;
    }
    ~KubeconfigRotation() override { std::filesystem::remove_all(path_); }

    void write(const std::string& server, const std::string& user) {
        ASSERT_TRUE(write_atomic(path_ + "/config",
                                 "current-context: c\n"
                                 "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
                                 "clusters: [{name: c, cluster: {server: \"" +
                                     server + "\"}}]\nusers: [{name: u, user: {" + user + "}}]\n"));
    }
    std::string asked_as(Client& client, FakeApi& api) {
        const auto answer = run_to_end(loop_, client.request({.target = "/version"}));
        if (!answer) return answer.error().message;
        return api.asked.empty() ? "nobody asked" : api.asked.back().authorization;
    }

    EventLoop loop_;
    FakeApi api_{loop_}, moved_{loop_};
    std::string path_;
};

TEST_F(KubeconfigRotation, TokensAndServersInsideOfIt) {
    write(api_.address(), "token: first");
    Client client(loop_, load_access({.kubeconfig = path_ + "/config"}).value(), {});
    EXPECT_EQ(asked_as(client, api_), "Bearer first");
    write(api_.address(), "token: second");
    EXPECT_EQ(asked_as(client, api_), "Bearer second");
    // What cannot be read changes nothing.
    write(api_.address(), "username: somebody");
    EXPECT_EQ(asked_as(client, api_), "Bearer second");
    ASSERT_TRUE(write_atomic(path_ + "/config", "current-con"));
    EXPECT_EQ(asked_as(client, api_), "Bearer second");
    std::filesystem::remove(path_ + "/config");
    EXPECT_EQ(asked_as(client, api_), "Bearer second");
    write(moved_.address(), "token: third");
    EXPECT_EQ(asked_as(client, moved_), "Bearer third");
}

}  // namespace
}  // namespace axo::kubernetes
