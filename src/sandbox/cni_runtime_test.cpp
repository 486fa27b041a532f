#include "sandbox/cni_runtime.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

namespace axo::sandbox {
namespace {

// Plugins are shell scripts that record what they were called with.
class CniRuntimeTest : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/axo-cni-XXXXXX";
        ASSERT_NE(::mkdtemp(name), nullptr);
        folder_ = name;
        place_ = {folder_ / "conf", folder_ / "bin"};
        ASSERT_TRUE(make_directories(place_.conf_dir));
        ASSERT_TRUE(make_directories(place_.plugin_dir));
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    void plugin(const std::string& name, const std::string& script) {
        const auto path = place_.plugin_dir / name;
        ASSERT_TRUE(write_atomic(path, "#!/bin/sh\ncd " + folder_.string() + "\n" + script, 0755));
    }
    void configure(const std::string& file, const std::string& text) {
        ASSERT_TRUE(write_atomic(place_.conf_dir / file, text));
    }
    std::string recorded(const std::string& name) { return read_file(folder_ / name).value_or(""); }

    std::filesystem::path folder_;
    CniPlace place_;
    CniAttachment attachment_{
        .container_id = "c1", .netns = "/n", .name_space = "ns", .pod = "web", .uid = "u", .previous_result = {}};
};

TEST_F(CniRuntimeTest, ChainHandsResultsOnAndDelRunsBackwards) {
    configure("20-other.conflist", "{}");
    configure("05-x.conflist",
              R"({"cniVersion":"1.0.0","name":"net","plugins":[{"type":"first"},{"type":"second","extra":1}]})");
    plugin("first",
           "cat >first.in; env | grep ^CNI_ | sort >first.env; echo first >>order; [ $CNI_COMMAND = DEL ] || echo "
           "'{\"ips\":[1]}'\n");
    plugin("second", "cat >second.in; echo second >>order; [ $CNI_COMMAND = DEL ] || echo '{\"ips\":[1,2]}'\n");
    auto added = cni_call("ADD", attachment_, place_);
    ASSERT_TRUE(added) << added.error().to_string();
    EXPECT_EQ(added->result.dump(), R"({"ips":[1,2]})");
    EXPECT_GT(added->duration.count(), 0);
    const auto second = nlohmann::json::parse(recorded("second.in"));
    EXPECT_EQ(second["prevResult"].dump(), R"({"ips":[1]})");
    EXPECT_EQ(second["name"], "net");
    EXPECT_EQ(second["cniVersion"], "1.0.0");
    EXPECT_EQ(second["extra"], 1);
    EXPECT_NE(recorded("first.env").find("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web;"),
              std::string::npos);
    EXPECT_NE(recorded("first.env").find("CNI_CONTAINERID=c1\n"), std::string::npos);

    attachment_.previous_result = added->result;
    auto deleted = cni_call("DEL", attachment_, place_);
    ASSERT_TRUE(deleted) << deleted.error().to_string();
    EXPECT_EQ(recorded("order"), "first\nsecond\nsecond\nfirst\n");
    EXPECT_EQ(nlohmann::json::parse(recorded("first.in"))["prevResult"].dump(), R"({"ips":[1,2]})");
}

TEST_F(CniRuntimeTest, PluginErrorsKeepTheirCodeAndText) {
    configure("05.conf", R"({"cniVersion":"0.3.1","name":"net","type":"bad"})");
    plugin("bad", "echo '{\"code\":11,\"msg\":\"try again\",\"details\":\"busy\"}'; exit 1\n");
    auto outcome = cni_call("ADD", attachment_, place_);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().message, "bad ADD failed: code 11: try again (busy)");
    plugin("bad", "echo oops >&2; exit 2\n");
    EXPECT_EQ(cni_call("ADD", attachment_, place_).error().message, "bad ADD failed: exit status 2: oops\n");
    plugin("bad", "echo nonsense\n");
    EXPECT_EQ(cni_call("ADD", attachment_, place_).error().message, "bad ADD printed no result: nonsense\n");
}

TEST_F(CniRuntimeTest, NoConfigurationSaysWhoWritesIt) {
    auto outcome = cni_call("ADD", attachment_, place_);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::kNotFound);
    EXPECT_NE(outcome.error().message.find("the agent writes it when it is ready"), std::string::npos);
}

}  // namespace
}  // namespace axo::sandbox
