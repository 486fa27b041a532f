// The commands against a fake agent and namespaces of their own; a "node" namespace stands for the host.
#include "app/cni/commands.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include "app/cni/delete_queue.h"
#include "app/cni/fake_agent.h"
#include "app/cni/pod_interface.h"
#include "base/file.h"
#include "base/sha256.h"
#include "kernel/scratch_netns.h"

namespace axo::cni {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

class CniCommands : public testing::Test {
protected:
    CniCommands() : directory_(std::filesystem::temp_directory_path() / ("axo-cni-" + std::to_string(::getpid()))) {
        std::filesystem::create_directories(directory_);
        agent_ = std::make_unique<FakeAgent>(
            socket(), [this](const std::string& device) { EXPECT_TRUE(node_.netlink().remove_link(device)); });
    }
    ~CniCommands() override {
        agent_.reset();
        std::filesystem::remove_all(directory_);
    }

    [[nodiscard]] std::string socket() const { return (directory_ / "cilium.sock").string(); }
    [[nodiscard]] std::filesystem::path queue() const { return directory_ / "deleteQueue"; }

    Session session(const std::string& container, const std::string& netns, Command command = Command::kAdd) const {
        Session session;
        session.request.command = command;
        session.request.attachment = {container, "eth0"};
        session.request.netns = netns;
        session.request.pod = {"pod-" + container, "default", ""};
        session.request.conf.cni_version = "1.1.0";
        session.request.conf.name = "cilium";
        session.socket_path = socket();
        session.patience = 300ms;
        session.call_timeout = 300ms;
        session.delete_patience = 300ms;
        session.queue_patience = 300ms;
        return session;
    }

    using Run = Outcome<std::string> (*)(const Session&);
    Outcome<std::string> on_node(Run run, const Session& session) const {
        Outcome<std::string> outcome;
        node_.inside([&] { outcome = run(session); });
        return outcome;
    }
    static int code(const Outcome<std::string>& outcome) {
        return outcome ? 0 : static_cast<int>(outcome.error().code);
    }

    // Nothing of the plugin is left on the node, in the pod or in the agent.
    void expect_clean(const ScratchNetns& pod, const std::string& why) {
        Netlink node = node_.netlink();
        const std::vector<Link> links = node.links().value();
        for (const Link& link : links) EXPECT_FALSE(link.name.starts_with("lxc")) << why << ": " << link.name;
        EXPECT_FALSE(pod.netlink().link("eth0")) << why;
        EXPECT_TRUE(agent_->addresses().empty()) << why;
        EXPECT_TRUE(agent_->endpoints().empty()) << why;
    }

    std::filesystem::path directory_;
    ScratchNetns node_{"axoc"};
    std::unique_ptr<FakeAgent> agent_;
};

std::string sysctl_in(const ScratchNetns& netns, const std::string& key) {
    std::string value;
    netns.inside([&] { value = read_sysctl(key).value_or("?"); });
    return value;
}

TEST_F(CniCommands, AddGivesThePodItsNetwork) {
    const ScratchNetns pod("axoc");
    pod.inside([] { ASSERT_OK(write_sysctl("net.ipv6.conf.all.disable_ipv6", "1")); });
    agent_->set_status_field("ipLocalReservedPorts", "8472");
    const auto outcome = on_node(run_add, session("abc", pod.path()));
    ASSERT_TRUE(outcome) << outcome.error().message << outcome.error().details;

    Netlink node = node_.netlink();
    Netlink inside = pod.netlink();
    const auto host_end = node.link("lxcb133159de544");
    const auto pod_end = inside.link("eth0");
    ASSERT_OK(host_end);
    ASSERT_OK(pod_end);
    EXPECT_TRUE(host_end->up);
    EXPECT_TRUE(pod_end->up);
    EXPECT_EQ(pod_end->mtu, 1500U);
    EXPECT_EQ(pod_end->alternative_name, "cilium_cni:eth0");
    EXPECT_EQ(sysctl_in(node_, "net.ipv4.conf.lxcb133159de544.rp_filter"), "0");
    EXPECT_EQ(sysctl_in(pod, "net.ipv6.conf.eth0.disable_ipv6"), "0");
    EXPECT_EQ(sysctl_in(pod, "net.ipv6.conf.lo.disable_ipv6"), "0");
    EXPECT_EQ(sysctl_in(pod, "net.ipv4.ip_local_reserved_ports"), "8472");

    std::set<std::string> addresses;
    const std::vector<InterfaceAddress> present = inside.addresses().value();
    for (const InterfaceAddress& a : present) {
        if (a.link == pod_end->index && !a.address.is_link_local())
            addresses.insert(a.address.to_string() + "/" + std::to_string(a.prefix_length));
    }
    EXPECT_EQ(addresses, (std::set<std::string>{"10.9.0.10/32", "fd09::10/128"}));
    std::set<std::string> routes;
    const std::vector<Route> all_routes = inside.routes().value();
    for (const Route& r : all_routes) {
        if (r.table != 254 || r.link != pod_end->index || r.destination.address().is_link_local()) continue;
        routes.insert(r.destination.to_string() + (r.gateway ? " via " + r.gateway->to_string() : "") +
                      (r.mtu != 0 ? " mtu " + std::to_string(r.mtu) : ""));
    }
    EXPECT_EQ(routes, (std::set<std::string>{"10.9.0.1/32", "0.0.0.0/0 via 10.9.0.1 mtu 1450", "fd09::1/128",
                                             "fd09::10/128", "::/0 via fd09::1 mtu 1450"}));

    const json result = json::parse(*outcome);
    EXPECT_EQ(result["ips"][0]["address"], "10.9.0.10/32");
    EXPECT_EQ(result["ips"][1]["address"], "fd09::10/128");
    EXPECT_EQ(result["interfaces"][0]["name"], "lxcb133159de544");
    EXPECT_EQ(result["interfaces"][0]["mac"], host_end->mac.to_string());
    EXPECT_EQ(result["interfaces"][1]["mac"], pod_end->mac.to_string());
    EXPECT_EQ(result["interfaces"][1]["sandbox"], pod.path());

    const json endpoint = agent_->endpoints().at("abc:eth0");
    EXPECT_EQ(endpoint["interface-index"], host_end->index.value);
    EXPECT_EQ(endpoint["mac"], pod_end->mac.to_string());
    EXPECT_EQ(endpoint["k8s-pod-name"], "pod-abc");
    EXPECT_NE(endpoint["netns-cookie"], "0");
    EXPECT_EQ(agent_->calls(),
              (std::vector<std::string>{"GET /v1/config", "POST /v1/ipam", "PUT /v1/endpoint/cilium-local:0"}));
}

TEST_F(CniCommands, OneFamilyAlone) {
    const ScratchNetns pod("axoc");
    agent_->set_families(false, true);
    const auto outcome = on_node(run_add, session("abc", pod.path()));
    ASSERT_TRUE(outcome) << outcome.error().message;
    const json result = json::parse(*outcome);
    EXPECT_EQ(result["ips"].size(), 1U);
    EXPECT_EQ(result["ips"][0]["address"], "fd09::10/128");
    const std::vector<InterfaceAddress> present = pod.netlink().addresses().value();
    for (const InterfaceAddress& a : present) EXPECT_FALSE(a.address.is_v4() && !a.address.is_loopback());
}

TEST_F(CniCommands, AgentMayChooseTheMacAddress) {
    const ScratchNetns pod("axoc");
    agent_->set_mac("02:aa:bb:cc:dd:ee");
    const auto outcome = on_node(run_add, session("abc", pod.path()));
    ASSERT_TRUE(outcome) << outcome.error().message;
    EXPECT_EQ(pod.netlink().link("eth0")->mac.to_string(), "02:aa:bb:cc:dd:ee");
    EXPECT_EQ(json::parse(*outcome)["interfaces"][1]["mac"], "02:aa:bb:cc:dd:ee");
}

TEST_F(CniCommands, CheckSeesWhatChanged) {
    const ScratchNetns pod("axoc");
    const auto added = on_node(run_add, session("abc", pod.path()));
    ASSERT_TRUE(added);
    Session check = session("abc", pod.path(), Command::kCheck);
    check.request.conf.previous = *decode_result(*added);
    const auto fine = on_node(run_check, check);
    EXPECT_TRUE(fine) << fine.error().message;

    Netlink inside = pod.netlink();
    const Link link = *inside.link("eth0");
    const auto message = [&] {
        const auto outcome = on_node(run_check, check);
        return outcome ? std::string("fine") : outcome.error().message;
    };
    ASSERT_OK(inside.remove_address(link.index, *IpAddress::parse("fd09::10"), 128));
    EXPECT_NE(message().find("fd09::10/128"), std::string::npos) << message();
    ASSERT_OK(inside.add_address(link.index, *Prefix::parse("fd09::10/128"), *IpAddress::parse("fd09::10")));
    EXPECT_EQ(message(), "fine");
    Route everything;
    everything.destination = *Prefix::parse("0.0.0.0/0");
    everything.gateway = *IpAddress::parse("10.9.0.1");
    everything.link = link.index;
    ASSERT_OK(inside.remove_route(everything));
    EXPECT_NE(message().find("0.0.0.0/0"), std::string::npos) << message();
    ASSERT_OK(inside.put_route(everything));
    ASSERT_OK(inside.set_mac(link.index, *MacAddress::parse("02:00:00:00:00:77")));
    EXPECT_NE(message().find("02:00:00:00:00:77"), std::string::npos) << message();
    ASSERT_OK(inside.remove_link("eth0"));
    EXPECT_NE(message().find("eth0 is missing"), std::string::npos) << message();

    agent_->fail("GET /v1/endpoint/", {500});
    EXPECT_NE(code(on_node(run_check, check)), 0);
    agent_->heal();
    Session other = session("other", pod.path(), Command::kCheck);
    other.request.conf.previous = AddResult{};
    EXPECT_EQ(code(on_node(run_check, other)), 100);
}

TEST_F(CniCommands, DelAnyNumberOfTimes) {
    auto pod = std::make_unique<ScratchNetns>("axoc");
    const std::string path = pod->path();
    ASSERT_TRUE(on_node(run_add, session("abc", path)));
    const Session del = session("abc", path, Command::kDel);
    auto outcome = on_node(run_del, del);
    EXPECT_TRUE(outcome) << outcome.error().message;
    EXPECT_EQ(*outcome, "");
    expect_clean(*pod, "after DEL");
    EXPECT_TRUE(on_node(run_del, del));

    ASSERT_TRUE(on_node(run_add, session("abc", path)));
    pod.reset();  // the runtime took the namespace away first
    outcome = on_node(run_del, del);
    EXPECT_TRUE(outcome) << outcome.error().message;
    EXPECT_TRUE(agent_->endpoints().empty());
    EXPECT_FALSE(node_.netlink().link("lxcb133159de544"));
    Session without = del;
    without.request.netns.clear();
    EXPECT_TRUE(on_node(run_del, without));
}

TEST_F(CniCommands, SecondAddIsRefusedAndTheFirstStays) {
    const ScratchNetns pod("axoc");
    ASSERT_TRUE(on_node(run_add, session("abc", pod.path())));
    const Link before = *pod.netlink().link("eth0");
    const auto again = on_node(run_add, session("abc", pod.path()));
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().message.find("eth0"), std::string::npos);
    EXPECT_EQ(pod.netlink().link("eth0")->index, before.index);
    EXPECT_EQ(pod.netlink().link("eth0")->mac, before.mac);
    EXPECT_EQ(agent_->addresses().size(), 2U);
    EXPECT_EQ(agent_->endpoints().size(), 1U);
}

TEST_F(CniCommands, OfTwoAddsAtOnceOneWins) {
    for (int round = 0; round < 5; ++round) {
        const ScratchNetns pod("axoc");
        std::array<int, 4> codes{};
        std::vector<std::thread> threads;
        for (int& result : codes)
            threads.emplace_back([&] { result = code(on_node(run_add, session("abc", pod.path()))); });
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(std::count(codes.begin(), codes.end(), 0), 1);
        EXPECT_EQ(agent_->addresses().size(), 2U);
        ASSERT_EQ(agent_->endpoints().size(), 1U);
        EXPECT_EQ(agent_->endpoints().at("abc:eth0")["mac"], pod.netlink().link("eth0")->mac.to_string());
        EXPECT_TRUE(on_node(run_del, session("abc", pod.path(), Command::kDel)));
        expect_clean(pod, "round " + std::to_string(round));
    }
}

TEST_F(CniCommands, ManyAddsAndDelsAtOnce) {
    constexpr int kPods = 24;
    std::vector<std::unique_ptr<ScratchNetns>> pods;
    for (int i = 0; i < kPods; ++i) pods.push_back(std::make_unique<ScratchNetns>("axoc"));
    const auto all = [&](Run run, Command command) {
        std::vector<std::thread> threads;
        for (int i = 0; i < kPods; ++i) {
            threads.emplace_back([&, i] {
                Session one = session("c" + std::to_string(i), pods[static_cast<std::size_t>(i)]->path(), command);
                one.call_timeout = 20s;
                one.delete_patience = 20s;
                const auto outcome = on_node(run, one);
                EXPECT_TRUE(outcome) << outcome.error().message;
            });
        }
        for (std::thread& thread : threads) thread.join();
    };
    all(run_add, Command::kAdd);
    EXPECT_EQ(agent_->endpoints().size(), std::size_t{kPods});
    EXPECT_EQ(agent_->addresses().size(), std::size_t{2 * kPods});
    all(run_del, Command::kDel);
    for (const auto& pod : pods) expect_clean(*pod, "after all");
}

struct Injection {
    const char* what;
    const char* call;
    FakeAgent::Failure failure;
    int code;
};

TEST_F(CniCommands, AFailedAddLeavesNothingBehind) {
    const Injection injections[] = {
        {"configuration refused", "GET /v1/config", {500}, 999},
        {"configuration unanswered", "GET /v1/config", {0}, 100},
        {"agent starting", "GET /v1/config", {503}, 11},
        {"pool exhausted", "POST /v1/ipam", {502}, 11},
        {"allocation rate-limited", "POST /v1/ipam", {429}, 11},
        {"allocation forbidden", "POST /v1/ipam", {403}, 999},
        {"endpoint refused", "PUT /v1/endpoint/", {400}, 999},
        {"endpoint exists", "PUT /v1/endpoint/", {409}, 999},
        {"endpoint rate-limited", "PUT /v1/endpoint/", {429}, 11},
        {"endpoint made, then an error", "PUT /v1/endpoint/", {500, true}, 999},
        {"endpoint made, then silence", "PUT /v1/endpoint/", {0, true}, 100},
    };
    for (const Injection& injection : injections) {
        const ScratchNetns pod("axoc");
        agent_->fail(injection.call, injection.failure);
        const auto outcome = on_node(run_add, session("abc", pod.path()));
        EXPECT_EQ(code(outcome), injection.code) << injection.what << (outcome ? "" : ": " + outcome.error().message);
        agent_->heal();
        expect_clean(pod, injection.what);
        // Nothing stands in the way of the next try.
        EXPECT_TRUE(on_node(run_add, session("abc", pod.path()))) << injection.what;
        EXPECT_TRUE(on_node(run_del, session("abc", pod.path(), Command::kDel))) << injection.what;
        expect_clean(pod, injection.what);
    }
}

TEST_F(CniCommands, AFailedInterfaceLeavesNothingBehind) {
    const std::pair<const char*, json> settings[] = {
        {"deviceMTU", 70000},                  // refused when the pair is made
        {"ipLocalReservedPorts", "nonsense"},  // refused inside the pod, after the pair is there
        {"datapathMode", "netkit"},
        {"ipam-mode", "delegated-plugin"},
    };
    for (const auto& [key, value] : settings) {
        const ScratchNetns pod("axoc");
        agent_->set_status_field(key, value);
        const auto outcome = on_node(run_add, session("abc", pod.path()));
        EXPECT_FALSE(outcome) << key;
        expect_clean(pod, key);
        agent_->set_status_field(key, key == std::string("deviceMTU") ? json(1500) : json(nullptr));
    }
    const ScratchNetns pod("axoc");
    agent_->set_mac("01:00:5e:00:00:01");  // a multicast address: the kernel refuses it after the endpoint was made
    EXPECT_FALSE(on_node(run_add, session("abc", pod.path())));
    expect_clean(pod, "mac");
}

TEST_F(CniCommands, BadNamespacesAreRefusedBeforeAnythingIsAsked) {
    EXPECT_EQ(code(on_node(run_add, session("abc", "/var/run/netns/axoc-is-not-there"))), 3);
    const auto file = directory_ / "file";
    ASSERT_OK(write_atomic(file, "x"));
    EXPECT_EQ(code(on_node(run_add, session("abc", file.string()))), 4);
    EXPECT_EQ(code(on_node(run_add, session("abc", node_.path()))), 4);  // the node itself
    EXPECT_TRUE(agent_->calls().empty());
}

TEST_F(CniCommands, AgentDown) {
    const ScratchNetns pod("axoc");
    ASSERT_TRUE(on_node(run_add, session("abc", pod.path())));
    agent_->stop();
    const ScratchNetns other("axoc");
    EXPECT_EQ(code(on_node(run_add, session("new", other.path()))), 100);
    EXPECT_FALSE(other.netlink().link("eth0"));
    EXPECT_EQ(code(on_node(run_status, session("", "", Command::kStatus))), 50);

    const Session del = session("abc", pod.path(), Command::kDel);
    auto outcome = on_node(run_del, del);
    EXPECT_TRUE(outcome) << outcome.error().message;
    EXPECT_FALSE(pod.netlink().link("eth0"));
    const std::string content = R"({"container-id":"abc"})";
    const auto file = queue() / (sha256_hex(content) + ".delete");
    EXPECT_EQ(read_file(file).value_or("missing"), content);
    EXPECT_TRUE(on_node(run_del, del));  // once more is still one file
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(queue()))
        files += entry.path().extension() == ".delete" ? 1 : 0;
    EXPECT_EQ(files, 1U);
    agent_->start();
    EXPECT_TRUE(on_node(run_status, session("", "", Command::kStatus)));
}

TEST_F(CniCommands, DeleteQueueIsBounded) {
    agent_->stop();
    std::filesystem::create_directories(queue());
    for (std::size_t i = 0; i < DeleteQueue::kMaxEntries; ++i)
        ASSERT_OK(write_atomic(queue() / (std::to_string(i) + ".delete"), "{}"));
    const auto outcome = on_node(run_del, session("abc", "/var/run/netns/axoc-gone", Command::kDel));
    EXPECT_EQ(code(outcome), 11);
    EXPECT_NE(outcome.error().message.find("256"), std::string::npos);
}

TEST_F(CniCommands, DelWaitsForAnAgentThatReplays) {
    const ScratchNetns pod("axoc");
    ASSERT_TRUE(on_node(run_add, session("abc", pod.path())));
    agent_->stop();
    std::filesystem::create_directories(queue());
    Fd lock(::open((queue() / "lockfile").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
    Session del = session("abc", pod.path(), Command::kDel);
    EXPECT_EQ(code(on_node(run_del, del)), 11);  // does not write behind the agent's back

    del.queue_patience = 10s;
    std::thread agent([&] {
        std::this_thread::sleep_for(200ms);
        agent_->start();
        ::flock(lock.get(), LOCK_UN);
    });
    const auto outcome = on_node(run_del, del);
    agent.join();
    EXPECT_TRUE(outcome) << outcome.error().message;
    EXPECT_TRUE(agent_->endpoints().empty());  // told the agent, did not queue
    EXPECT_FALSE(std::filesystem::exists(queue() / (sha256_hex(R"({"container-id":"abc"})") + ".delete")));
}

TEST_F(CniCommands, DelFailsOnlyWhereRepeatingHelps) {
    const ScratchNetns pod("axoc");
    const Session del = session("abc", pod.path(), Command::kDel);
    const std::pair<int, int> cases[] = {{400, 0}, {404, 0}, {206, 0}, {429, 11}, {500, 11}, {503, 0}};
    for (const auto& [status, expected] : cases) {
        ASSERT_TRUE(on_node(run_add, session("abc", pod.path())));
        agent_->fail("DELETE /v1/endpoint", {status});
        EXPECT_EQ(code(on_node(run_del, del)), expected) << status;
        EXPECT_FALSE(pod.netlink().link("eth0")) << status;
        EXPECT_EQ(std::filesystem::exists(queue() / (sha256_hex(R"({"container-id":"abc"})") + ".delete")),
                  status == 503)
            << status;
        agent_->heal();
        EXPECT_TRUE(on_node(run_del, del));
        std::filesystem::remove_all(queue());
    }
}

TEST_F(CniCommands, GcKeepsWhatTheRuntimeKnows) {
    const ScratchNetns keep("axoc");
    const ScratchNetns drop("axoc");
    ASSERT_TRUE(on_node(run_add, session("keep", keep.path())));
    ASSERT_TRUE(on_node(run_add, session("drop", drop.path())));
    Session gc = session("", "", Command::kGc);
    gc.request.conf.valid_attachments = std::vector<Attachment>{{"keep", "eth0"}, {"unknown", "eth0"}};
    const auto outcome = on_node(run_gc, gc);
    ASSERT_TRUE(outcome) << outcome.error().message;
    EXPECT_TRUE(keep.netlink().link("eth0"));
    EXPECT_FALSE(drop.netlink().link("eth0"));
    EXPECT_EQ(agent_->endpoints().size(), 1U);
    EXPECT_TRUE(agent_->endpoints().contains("keep:eth0"));

    gc.request.conf.valid_attachments->clear();
    agent_->fail("DELETE /v1/endpoint/", {500});
    EXPECT_EQ(code(on_node(run_gc, gc)), 11);
    EXPECT_TRUE(keep.netlink().link("eth0"));
}

TEST_F(CniCommands, StatusTellsWhetherAddWouldWork) {
    EXPECT_TRUE(on_node(run_status, session("", "", Command::kStatus)));
    agent_->fail("GET /v1/healthz", {503});
    EXPECT_EQ(code(on_node(run_status, session("", "", Command::kStatus))), 50);
}

}  // namespace
}  // namespace axo::cni
