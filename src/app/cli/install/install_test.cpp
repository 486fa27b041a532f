#include <gtest/gtest.h>

#include "app/cli/install/cluster_status.h"
#include "app/cli/install/duration.h"
#include "app/cli/install/installer.h"

namespace axo::cli::install {
namespace {

// A cluster in memory whose controllers are always done.
class PaperServer : public Api {
public:
    std::map<std::string, Json> objects;
    std::vector<std::string> changes;
    std::string refuses;  // requests whose path contains it: 403

    [[nodiscard]] std::string server() const override { return "https://192.0.2.1:6443"; }
    [[nodiscard]] std::pair<std::string, int> host_and_port() const override { return {"192.0.2.1", 6443}; }

    void put(Json object) {
        const std::string path = *object_path(object);
        objects[path] = std::move(object);
    }

    Result<ApiResponse> call(const std::string& method, const std::string& target, const std::string& body,
                             const std::string& /*content_type*/) override {
        const std::string path = target.substr(0, target.find('?'));
        if (!refuses.empty() && path.find(refuses) != std::string::npos)
            return ApiResponse{403, R"({"kind":"Status","message":"forbidden: it is not yours"})"};
        if (path == "/version") return ApiResponse{200, R"({"gitVersion":"v1.30.2"})"};
        const auto found = objects.find(path);
        if (method == "PATCH") {
            Json object = Json::parse(body);
            const std::string kind = object["kind"];
            if (kind == "DaemonSet" || kind == "Deployment") object["status"] = done();
            changes.push_back("apply " + object_title(object));
            objects[path] = object;
            return ApiResponse{200, object.dump()};
        }
        if (found == objects.end()) return method == "GET" && is_list(path) ? list(path) : absent();
        if (method == "DELETE") {
            changes.push_back("delete " + object_title(found->second));
            objects.erase(found);
            return ApiResponse{200, "{}"};
        }
        return ApiResponse{200, found->second.dump()};
    }

    Result<Ended> execute(const Exec& /*exec*/) override { return fail(Code::kUnimplemented, "of paper"); }

    [[nodiscard]] bool has(const std::string& text) const {
        return std::ranges::any_of(objects,
                                   [&text](const auto& one) { return one.first.find(text) != std::string::npos; });
    }

private:
    static Json done() {
        return {{"desiredNumberScheduled", 2}, {"updatedNumberScheduled", 2}, {"numberReady", 2},
                {"numberAvailable", 2},        {"updatedReplicas", 2},        {"readyReplicas", 2},
                {"availableReplicas", 2}};
    }
    static ApiResponse absent() { return {404, R"({"kind":"Status","message":"not found"})"}; }
    static bool is_list(const std::string& path) {
        const std::string last = path.substr(path.rfind('/') + 1);
        return last.ends_with('s') && last != "x" && last != "kube-dns";
    }
    [[nodiscard]] ApiResponse list(const std::string& path) const {
        Json items = Json::array();
        for (const auto& [where, object] : objects) {
            if (where.substr(0, where.rfind('/')) == path) items.push_back(object);
        }
        return {200, Json{{"items", items}}.dump()};
    }
};

class Install : public testing::Test {
protected:
    void SetUp() override {
        server.put(reference("apps/v1", "DaemonSet", "kube-system", "kube-proxy"));
        server.put(reference("v1", "ConfigMap", "kube-system", "another"));
        server.put(reference("v1", "Namespace", "", "kube-system"));
        Json crd = reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "ciliumnodes.cilium.io");
        crd["spec"]["group"] = "cilium.io";
        server.put(std::move(crd));
        before = server.objects;
    }
    Json config() { return server.objects.at("/api/v1/namespaces/kube-system/configmaps/cilium-config").at("data"); }
    std::vector<std::string> lines;
    Say say = [this](const std::string& line) { lines.push_back(line); };
    PaperServer server;
    std::map<std::string, Json> before;
};

TEST_F(Install, ThenUninstallLeavesWhatWasThere) {
    const auto installed = run_install(server, {.values = {{"cluster", {{"name", "east"}}}}, .wait = true}, say);
    ASSERT_TRUE(installed) << installed.error().message;
    EXPECT_TRUE(server.has("/daemonsets/cilium"));
    EXPECT_TRUE(server.has("/deployments/cilium-operator"));
    EXPECT_EQ(config().at("cluster-name"), "east");
    EXPECT_EQ(installed_version(server, "kube-system").value_or("?"), own_version().value_or(""));
    server.changes.clear();
    const auto gone = run_uninstall(server, {}, say);
    ASSERT_TRUE(gone) << gone.error().message;
    EXPECT_EQ(server.objects, before);
    // Agents first, then the nodes, then what both need.
    const auto at = [this](const std::string& change) {
        const auto found = std::ranges::find(server.changes, change);
        EXPECT_NE(found, server.changes.end()) << change;
        return found - server.changes.begin();
    };
    EXPECT_LT(at("delete DaemonSet kube-system/cilium"), at("apply DaemonSet kube-system/axoneme-cleanup"));
    EXPECT_LT(at("delete DaemonSet kube-system/axoneme-cleanup"), at("delete ConfigMap kube-system/cilium-config"));
    EXPECT_EQ(server.changes.back(), "delete ConfigMap kube-system/axoneme-installation");
}

TEST_F(Install, OnlyToldSoItDeletesDefinitions) {
    ASSERT_TRUE(run_install(server, {}, say));
    ASSERT_TRUE(run_uninstall(server, {.delete_crds = true}, say));
    EXPECT_FALSE(server.has("ciliumnodes.cilium.io"));
}

TEST_F(Install, UpgradeKeepsValuesAndTakesAwayWhatIsNotWanted) {
    ASSERT_TRUE(run_install(
        server,
        {.values = {{"cluster", {{"name", "east"}}}, {"operator", {{"podDisruptionBudget", {{"enabled", true}}}}}}},
        say));
    EXPECT_TRUE(server.has("poddisruptionbudgets"));
    Json values{{"operator", {{"podDisruptionBudget", {{"enabled", false}}}}}};
    ASSERT_TRUE(run_install(server, {.values = values, .upgrade = true}, say));
    EXPECT_FALSE(server.has("poddisruptionbudgets"));
    EXPECT_EQ(config().at("cluster-name"), "east");
    ASSERT_TRUE(run_install(server, {.upgrade = true, .reset_values = true}, say));
    EXPECT_EQ(config().at("cluster-name"), "default");
    ASSERT_TRUE(run_uninstall(server, {}, say));
    EXPECT_EQ(server.objects, before);
}

TEST_F(Install, RefusesWithTheWholeListAndChangesNothing) {
    const auto refused =
        run_install(server, {.values = {{"kubeProxyReplacment", true}, {"MTU", "large"}, {"nosuch", {{"a", 1}}}}}, say);
    ASSERT_FALSE(refused);
    for (const char* part : {"3 of the values", "kubeProxyReplacment: unknown", "MTU=large", "nosuch.a: unknown"})
        EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
    EXPECT_EQ(server.objects, before);
}

TEST_F(Install, RefusesWhatItDidNotMake) {
    Json role = reference("rbac.authorization.k8s.io/v1", "ClusterRole", "", "cilium");
    role["metadata"]["labels"] = {{"app.kubernetes.io/managed-by", "Helm"}};
    server.put(role);
    const auto refused = run_install(server, {}, say);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("ClusterRole cilium (managed by Helm)"), std::string::npos);
    EXPECT_TRUE(server.changes.empty());
    EXPECT_FALSE(run_install(server, {.upgrade = true}, say)) << "nothing to upgrade";
}

TEST_F(Install, InstalledTwiceIsAnError) {
    ASSERT_TRUE(run_install(server, {}, say));
    const auto again = run_install(server, {}, say);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Code::kAlreadyExists);
}

TEST_F(Install, ABeginningCanBeTakenBack) {
    server.refuses = "/daemonsets/cilium";
    const auto stopped = run_install(server, {}, say);
    ASSERT_FALSE(stopped);
    EXPECT_NE(stopped.error().message.find("DaemonSet kube-system/cilium: forbidden: it is not yours"),
              std::string::npos);
    server.refuses.clear();
    ASSERT_TRUE(run_uninstall(server, {}, say));
    EXPECT_EQ(server.objects, before);
}

TEST_F(Install, WithoutKubeProxyItReplacesIt) {
    ASSERT_TRUE(run_install(server, {}, say));
    EXPECT_EQ(config().at("kube-proxy-replacement"), "false");
    ASSERT_TRUE(run_uninstall(server, {}, say));
    server.objects.erase("/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy");
    ASSERT_TRUE(run_install(server, {}, say));
    EXPECT_EQ(config().at("kube-proxy-replacement"), "true");
    ASSERT_TRUE(run_uninstall(server, {}, say));
    ASSERT_TRUE(run_install(server, {.values = {{"kubeProxyReplacement", false}}}, say));
    EXPECT_EQ(config().at("kube-proxy-replacement"), "false");
}

TEST_F(Install, MakesItsNamespaceAndTakesItAway) {
    ASSERT_TRUE(run_install(server, {.name_space = "net"}, say));
    EXPECT_TRUE(server.has("/api/v1/namespaces/net"));
    ASSERT_TRUE(run_uninstall(server, {.name_space = "net"}, say));
    EXPECT_EQ(server.objects, before);
    ASSERT_TRUE(run_install(server, {.name_space = "net"}, say));
    server.put(reference("v1", "Secret", "net", "users"));
    ASSERT_TRUE(run_uninstall(server, {.name_space = "net"}, say));
    EXPECT_TRUE(server.objects.contains("/api/v1/namespaces/net"));
}

TEST(ClusterStatus, CountsAndNamesWhatIsWrong) {
    PaperServer server;
    const auto before = read_cluster_status(server, "kube-system");
    ASSERT_TRUE(before) << before.error().message;
    EXPECT_FALSE(before->ok());
    EXPECT_NE(cluster_status_text(*before).find("DaemonSet kube-system/cilium does not exist"), std::string::npos);
    ASSERT_TRUE(run_install(server, {}, [](const std::string&) {}));
    Json pod = reference("v1", "Pod", "kube-system", "cilium-1");
    pod["spec"] = {{"hostNetwork", true}, {"containers", {{{"image", "axoneme:1"}}}}};
    pod["status"] = {
        {"phase", "Running"},
        {"containerStatuses",
         {{{"name", "cilium-agent"},
           {"restartCount", 3},
           {"state", {{"waiting", {{"reason", "CrashLoopBackOff"}, {"message", "back-off 5m"}}}}},
           {"lastState",
            {{"terminated", {{"reason", "Error"}, {"exitCode", 1}, {"message", "a\nno such device\n"}}}}}}}}};
    server.put(pod);
    const auto status = read_cluster_status(server, "kube-system");
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_FALSE(status->ok());
    const std::string text = cluster_status_text(*status);
    for (const char* part :
         {"Cilium:             ", "Hubble Relay:       disabled", "Desired: 2, Ready: 2/2, Available: 2/2",
          "CrashLoopBackOff: back-off 5m; its last end: Error, status 1: no such device", "axoneme:1: 1",
          "0/0 managed by Cilium", "Helm chart version:"})
        EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
    const Json json = cluster_status_json(*status);
    EXPECT_EQ(json.at("pod_state").at("cilium").at("Ready"), 2);
    EXPECT_EQ(json.at("errors").at("cilium").at("cilium-1").at("Errors").size(), 1U);
}

TEST(WaitDuration, AsGoWritesThem) {
    const auto seconds = [](const char* text) {
        const auto parsed = parse_wait_duration("--wait-duration", text);
        return parsed ? parsed->count() : -1;
    };
    EXPECT_EQ(seconds("5m0s"), 300);
    EXPECT_EQ(seconds("90"), 90);
    EXPECT_EQ(seconds("1h2m3s"), 3723);
    for (const char* wrong : {"", "m", "-5s", "5x", "5m x"}) EXPECT_EQ(seconds(wrong), -1) << wrong;
}

}  // namespace
}  // namespace axo::cli::install
