// The whole agent in a network and mount namespace of its own: starts, serves, is restarted, finds everything as it
// was.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "app/agent/control_plane.h"
#include "kernel/bpf_object.h"
#include "model/json.h"

namespace axo {
namespace {

class Agent {
public:
    explicit Agent(const std::filesystem::path& root) : root_(root) {}

    // Runs one life of an agent and the calls against it; "" or what went wrong.
    std::string live(const std::function<std::string(
                         const std::function<Json(const std::string&, const std::string&, const Json&)>&)>& session) {
        auto parsed =
            parse_config({"--object-store=dir:" + (root_ / "store").string(), "--k8s-node-name=n1",
                          "--state-dir=" + (root_ / "run").string(), "--bpf-root=" + (root_ / "bpf").string(),
                          "--write-cni-conf-when-ready=" + (root_ / "cni/05-cilium.conflist").string(),
                          "--enable-ipv4-masquerade=false", "--enable-ipv6-masquerade=false", "--log-opt=level=error"},
                         {});
        if (!parsed) return parsed.error().message;
        set_log_level(parsed->config.log_level);
        EventLoop loop;
        std::string failure;
        ControlPlane plane(loop, parsed->config, std::chrono::steady_clock::now());
        const auto fatal = [&](const Error& error) {
            failure = error.message;
            loop.stop();
        };
        if (auto started = plane.start(fatal); !started) return started.error().message;
        std::thread caller([&] {
            const auto call = [&](const std::string& method, const std::string& path, const Json& body) -> Json {
                auto client =
                    HttpClient::connect("unix://" + (root_ / "run/cilium.sock").string(), std::chrono::seconds(5));
                if (!client) return {{"failed", client.error().message}};
                auto answer =
                    client->request(method, "/v1" + path, body.is_null() ? "" : body.dump(), {{"expiration", "true"}});
                if (!answer) return {{"failed", answer.error().message}};
                return {{"status", answer->status}, {"body", Json::parse(answer->body, nullptr, false)}};
            };
            std::string outcome = "not ready in time";
            for (int i = 0; i < 2000; ++i) {
                const Json health = call("GET", "/healthz", nullptr);
                if (health.contains("body") && health["body"].is_object() &&
                    health["body"]["cilium"]["state"] == "Ok") {
                    outcome = session(call);
                    break;
                }
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            }
            loop.post([&, outcome] {
                if (failure.empty()) failure = outcome;
                loop.stop();
            });
        });
        loop.run();
        caller.join();
        plane.stop();
        return failure;
    }

private:
    std::filesystem::path root_;
};

std::string prepare(const std::filesystem::path& root) {
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return "unshare failed";
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "private mounts failed";
    for (const char* directory : {"store", "run", "bpf", "cni"}) std::filesystem::create_directories(root / directory);
    if (auto mounted = ensure_bpffs(root / "bpf"); !mounted) return mounted.error().message;
    std::ofstream(root / "store/nodes.yaml")
        << "apiVersion: cilium.io/v2\nkind: CiliumNode\nmetadata: {name: n1}\nspec: {ipam: {podCIDRs: [10.77.1.0/24]}}\n";
    std::ofstream(root / "store/pod.yaml")
        << "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: default, labels: {app: web}}\nspec: {nodeName: n1}\n";
    auto netlink = Netlink::open();
    if (!netlink) return netlink.error().message;
    const auto up = [&](const std::string& name) -> Status {
        TRY_ASSIGN(const Link link, netlink->link(name));
        return netlink->set_up(link.index, true);
    };
    const auto setup = [&]() -> Status {
        TRY(up("lo"));
        TRY(netlink->add_veth({.name = "eth0", .peer_name = "wire", .mac = {}, .peer_mac = {}}));
        TRY(up("eth0"));
        TRY(up("wire"));
        TRY_ASSIGN(const Link eth0, netlink->link("eth0"));
        TRY(netlink->add_address(eth0.index, Prefix::parse("192.168.77.1/24").value(),
                                 IpAddress::parse("192.168.77.1").value()));
        TRY(netlink->put_route({.destination = Prefix(IpAddress::v4(0U), 0),
                                .gateway = IpAddress::parse("192.168.77.254").value(),
                                .link = eth0.index,
                                .source = {}}));
        TRY(netlink->add_veth(
            {.name = "lxcweb", .peer_name = "podweb", .mac = MacAddress::random(), .peer_mac = MacAddress::random()}));
        return up("lxcweb");
    };
    if (auto done = setup(); !done) return done.error().to_string();
    return "";
}

std::string first_life(const std::function<Json(const std::string&, const std::string&, const Json&)>& call) {
    const Json lease = call("POST", "/ipam?family=ipv4&owner=default/web", nullptr);
    if (lease["status"] != 201) return "ipam: " + lease.dump();
    auto netlink = Netlink::open();
    const auto outer = netlink->link("lxcweb"), inner = netlink->link("podweb");
    const Json address = lease["body"]["address"];
    const Json made = call("PUT", "/endpoint/cilium-local:0",
                           {{"container-id", "c1"},
                            {"container-interface-name", "eth0"},
                            {"interface-name", "lxcweb"},
                            {"interface-index", outer->index.value},
                            {"mac", inner->mac.to_string()},
                            {"host-mac", outer->mac.to_string()},
                            {"k8s-pod-name", "web"},
                            {"k8s-namespace", "default"},
                            {"state", "waiting-for-identity"},
                            {"addressing", address}});
    if (made["status"] != 201) return "endpoint: " + made.dump();
    const Json& status = made["body"]["status"];
    if (status["state"] != "ready" || status["identity"]["id"].get<int>() < 256)
        return "endpoint is not ready with an identity: " + status.dump();
    if (status["networking"]["addressing"][0]["ipv4"] != address["ipv4"]) return "endpoint has another address";
    return "";
}

std::string second_life(const std::function<Json(const std::string&, const std::string&, const Json&)>& call) {
    const Json health = call("GET", "/healthz", nullptr)["body"];
    const Json& own = health["axoneme"];
    if (own["datapath"]["programs"] != "adopted") return "programs were loaded again";
    for (const Json& reconciler : own["reconcilers"]) {
        if (reconciler["added"] != 0 || reconciler["updated"] != 0 || reconciler["removed"] != 0 ||
            reconciler["failed"] != 0)
            return "the restart wrote: " + reconciler.dump();
    }
    const Json found = call("GET", "/endpoint/container-id:c1", nullptr);
    if (found["status"] != 200 || found["body"]["status"]["state"] != "ready")
        return "endpoint was not restored: " + found.dump();
    if (call("DELETE", "/endpoint", {{"container-id", "c1"}})["status"] != 200) return "endpoint cannot be deleted";
    if (call("DELETE", "/endpoint", {{"container-id", "c1"}})["status"] != 404) return "endpoint was deleted twice";
    return "";
}

TEST(AgentSmoke, StartsServesAndRestartsWithoutWriting) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    char pattern[] = "/tmp/axo-agent-XXXXXX";
    const std::filesystem::path root = ::mkdtemp(pattern);
    // The namespaces are the child's and go with it.
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        std::string failure = prepare(root);
        Agent agent(root);
        if (failure.empty()) failure = agent.live(first_life);
        if (failure.empty()) failure = agent.live(second_life);
        if (!std::filesystem::exists(root / "cni/05-cilium.conflist") && failure.empty())
            failure = "no CNI configuration was written";
        if (!failure.empty()) std::fprintf(stderr, "%s\n", failure.c_str());
        ::_exit(failure.empty() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    std::error_code error;
    std::filesystem::remove_all(root, error);
}

}  // namespace
}  // namespace axo
