#include "io/dir_store.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/file.h"
#include "io/resources.h"
#include "io/store_fixture.h"

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace axo {
namespace {

using Json = nlohmann::json;

// What a watch has told, in order: "+ns/name", "-ns/name", "synced", "!where: message".
struct Log {
    std::vector<std::string> lines;
    std::map<std::string, Json> objects;

    ObjectStore::WatchHandler handler() {
        return {.upserted =
                    [this](const ObjectKey& key, const Json& object) {
                        lines.push_back("+" + key.to_string());
                        objects[key.to_string()] = object;
                    },
                .deleted =
                    [this](const ObjectKey& key) {
                        lines.push_back("-" + key.to_string());
                        objects.erase(key.to_string());
                    },
                .synced = [this] { lines.push_back("synced"); },
                .rejected = [this](const std::string& where,
                                   const Error& error) { lines.push_back("!" + where + ": " + error.message); }};
    }
    [[nodiscard]] std::size_t count(const std::string& line) const {
        return static_cast<std::size_t>(std::ranges::count(lines, line));
    }
    // The first complaint that holds the text; "" when there is none.
    [[nodiscard]] std::string complaint(const std::string& text) const {
        for (const auto& line : lines) {
            if (line.starts_with("!") && line.find(text) != std::string::npos) return line;
        }
        return "";
    }
};

class DirStoreTest : public testing::Test {
protected:
    void SetUp() override { store = open(loop); }
    void TearDown() override {
        store.reset();
        fs::remove_all(root);
    }
    [[nodiscard]] SyncStore open(EventLoop& on) const { return {on, open_object_store("dir:" + root, on)}; }
    void settle(Duration duration = 10ms) {
        const auto stopper = loop.after(duration, [this] { loop.stop(); });
        loop.run();
    }
    template <class Condition>
    bool eventually(Condition condition, Duration patience = 5s) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!condition() && std::chrono::steady_clock::now() < end) settle(5ms);
        return condition();
    }
    void write(const std::string& name, const std::string& text) const {
        fs::create_directories((fs::path(root) / name).parent_path());
        std::ofstream(fs::path(root) / name, std::ios::binary) << text;
    }
    [[nodiscard]] std::string read(const std::string& name) const {
        auto text = read_file(fs::path(root) / name);
        return text ? *text : "(" + text.error().message + ")";
    }
    static Json pod(const std::string& name, const std::string& node = "n1") {
        return {{"apiVersion", "v1"},
                {"kind", "Pod"},
                {"metadata", {{"name", name}, {"namespace", "shop"}}},
                {"spec", {{"nodeName", node}}}};
    }
    static std::string node_text(const std::string& name, const std::string& extra = "") {
        return "apiVersion: v1\nkind: Node\nmetadata:\n  name: " + name + "\n" + extra;
    }

    static std::string temporary_directory() {
        std::string name = "/tmp/axo-store-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        return fs::canonical(name).string();
    }
    const std::string root = temporary_directory();
    EventLoop loop;
    SyncStore store;
};

TEST_F(DirStoreTest, CreateGetUpdateRemove) {
    const auto created = store->create(resources::kPod, pod("a"));
    ASSERT_TRUE(created) << created.error().to_string();
    const Json& metadata = (*created)["metadata"];
    EXPECT_EQ(metadata["uid"].get<std::string>().size(), 36U);
    EXPECT_EQ(metadata["generation"], 1);
    EXPECT_EQ(metadata["creationTimestamp"].get<std::string>().size(), 20U);
    EXPECT_FALSE(metadata["resourceVersion"].get<std::string>().empty());
    EXPECT_EQ(read("pods/shop/a.yaml").find("resourceVersion"), std::string::npos);
    EXPECT_EQ(store->create(resources::kPod, pod("a")).error().code, Code::kAlreadyExists);

    EXPECT_EQ(*store->get(resources::kPod, {"shop", "a"}), *created);
    EXPECT_EQ(store->get(resources::kPod, {"shop", "b"}).error().code, Code::kNotFound);

    Json next = *created;
    next["spec"]["nodeName"] = "n2";
    next["status"]["phase"] = "ignored here";
    const auto updated = store->update(resources::kPod, next);
    ASSERT_TRUE(updated) << updated.error().to_string();
    EXPECT_EQ((*updated)["spec"]["nodeName"], "n2");
    EXPECT_FALSE(updated->contains("status"));
    EXPECT_EQ((*updated)["metadata"]["generation"], 2);
    EXPECT_EQ((*updated)["metadata"]["uid"], metadata["uid"]);
    EXPECT_EQ(store->update(resources::kPod, next).error().code, Code::kAborted);

    EXPECT_TRUE(store->remove(resources::kPod, {"shop", "a"}));
    EXPECT_TRUE(store->remove(resources::kPod, {"shop", "a"}));
    EXPECT_FALSE(fs::exists(root + "/pods/shop/a.yaml"));
    EXPECT_TRUE(store->list(resources::kPod)->empty());
}

TEST_F(DirStoreTest, StatusAndTheRestAreSeparate) {
    auto object = *store->create(resources::kPod, pod("a"));
    Json status = object;
    status["spec"] = "nonsense that must not get in";
    status["status"] = {{"podIP", "10.0.0.1"}};
    const auto with_status = store->update_status(resources::kPod, status);
    ASSERT_TRUE(with_status) << with_status.error().to_string();
    EXPECT_EQ((*with_status)["spec"]["nodeName"], "n1");
    EXPECT_EQ((*with_status)["status"]["podIP"], "10.0.0.1");
    EXPECT_EQ((*with_status)["metadata"]["generation"], 1);
    // Made from an old revision: refused. Without a revision: whatever is stored.
    EXPECT_EQ(store->update_status(resources::kPod, object).error().code, Code::kAborted);
    object = *with_status;
    object.erase("status");
    object["spec"]["nodeName"] = "n2";
    EXPECT_EQ((*store->update(resources::kPod, object))["status"]["podIP"], "10.0.0.1");
    Json blind = pod("a");
    blind["status"] = {{"podIP", "10.0.0.2"}};
    EXPECT_EQ((*store->update_status(resources::kPod, blind))["status"]["podIP"], "10.0.0.2");
    EXPECT_EQ((*store->get(resources::kPod, {"shop", "a"}))["spec"]["nodeName"], "n2");
}

TEST_F(DirStoreTest, BadObjectsAreRefusedBeforeAnythingIsWritten) {
    EXPECT_EQ(store->update(resources::kPod, pod("a")).error().code, Code::kNotFound);
    Json unversioned = *store->create(resources::kPod, pod("a"));
    unversioned["metadata"].erase("resourceVersion");
    EXPECT_EQ(store->update(resources::kPod, unversioned).error().code, Code::kInvalidArgument);
    Json other_uid = *store->get(resources::kPod, {"shop", "a"});
    other_uid["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000";
    EXPECT_EQ(store->update(resources::kPod, other_uid).error().code, Code::kAborted);
    EXPECT_EQ(store->create(resources::kPod, pod("../../escape")).error().code, Code::kInvalidArgument);
    EXPECT_EQ(store->create(resources::kNode, pod("b")).error().code, Code::kInvalidArgument);
    EXPECT_EQ(store->create(resources::kPod, Json("text")).error().code, Code::kInvalidArgument);
    const ResourceType foreign{"apps", "v1", "Deployment", "deployments", true};
    EXPECT_EQ(store->list(foreign).error().code, Code::kInvalidArgument);
    EXPECT_EQ(store->describe(), "dir " + root + ": 1 object");
}

TEST_F(DirStoreTest, AWatchListsThenSyncsThenFollows) {
    ASSERT_TRUE(store->create(resources::kPod, pod("a")));
    ASSERT_TRUE(store->create(resources::kPod, pod("b")));
    Log log;
    const auto watch = store->watch(resources::kPod, log.handler());
    EXPECT_TRUE(log.lines.empty());
    settle();
    EXPECT_EQ(log.lines, (std::vector<std::string>{"+shop/a", "+shop/b", "synced"}));
    EXPECT_EQ(log.objects["shop/a"], *store->get(resources::kPod, {"shop", "a"}));
    log.lines.clear();
    Json object = log.objects["shop/a"];
    object["spec"]["nodeName"] = "n2";
    ASSERT_TRUE(store->update(resources::kPod, object));
    ASSERT_TRUE(store->remove(resources::kPod, {"shop", "b"}));
    ASSERT_TRUE(store->create(resources::kPod, pod("short-lived")));
    ASSERT_TRUE(store->remove(resources::kPod, {"shop", "short-lived"}));
    ASSERT_TRUE(store->create(resources::kNode, {{"metadata", {{"name", "n1"}}}}));
    settle();
    EXPECT_EQ(log.lines, (std::vector<std::string>{"+shop/a", "-shop/b"}));
    // Writing what is there already is no change.
    ASSERT_TRUE(store->update(resources::kPod, *store->get(resources::kPod, {"shop", "a"})));
    settle();
    EXPECT_EQ(log.lines.size(), 2U);
}

TEST_F(DirStoreTest, AWatchOfNothingSyncsToo) {
    Log log;
    const auto watch = store->watch(resources::kCiliumNode, log.handler());
    settle();
    EXPECT_EQ(log.lines, std::vector<std::string>{"synced"});
}

TEST_F(DirStoreTest, CallbacksMayUseTheStoreAndEndTheirWatch) {
    ASSERT_TRUE(store->create(resources::kPod, pod("a")));
    ASSERT_TRUE(store->create(resources::kPod, pod("b")));
    std::unique_ptr<ObjectStore::Watch> watch;
    int calls = 0;
    watch = store->watch(resources::kPod, {.upserted =
                                               [&](const ObjectKey&, const Json& object) {
                                                   ++calls;
                                                   Json status = object;
                                                   status["status"]["seen"] = true;
                                                   EXPECT_TRUE(store->update_status(resources::kPod, status));
                                                   if (calls == 2) watch.reset();
                                               },
                                           .deleted = {},
                                           .synced = [] { ADD_FAILURE() << "ended before"; },
                                           .rejected = {}});
    settle();
    EXPECT_EQ(calls, 2);
    auto end = store->watch(resources::kPod, {.upserted = [&](const ObjectKey&, const Json&) { store.reset(); },
                                              .deleted = {},
                                              .synced = {},
                                              .rejected = {}});
    settle();
    EXPECT_FALSE(store);
    end.reset();
}

TEST_F(DirStoreTest, AHandlerThatTripsCostsOnlyItsObject) {
    ASSERT_TRUE(store->create(resources::kPod, pod("a")));
    ASSERT_TRUE(store->create(resources::kPod, pod("b")));
    Log log;
    auto handler = log.handler();
    handler.upserted = [&](const ObjectKey& key, const Json& object) {
        if (key.name == "a") static_cast<void>(object["spec"]["nodeName"].get<int>());
        log.lines.push_back("+" + key.to_string());
    };
    const auto watch = store->watch(resources::kPod, handler);
    settle();
    EXPECT_EQ(log.count("+shop/b"), 1U);
    EXPECT_EQ(log.count("synced"), 1U);
    EXPECT_TRUE(log.complaint("").starts_with("!Pod shop/a: cannot be used")) << log.complaint("");
}

TEST_F(DirStoreTest, HandWrittenFilesAnywhereAreReadAndFollowed) {
    Log log;
    const auto watch = store->watch(resources::kNode, log.handler());
    settle();
    write("cluster.yaml", node_text("n1"));
    ASSERT_TRUE(eventually([&] { return log.objects.contains("n1"); }));
    write("a/b/c/deep.yml", node_text("n2"));
    write("some.json", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n3"}})");
    write(".hidden.yaml", node_text("n4"));
    write("README", node_text("n5"));
    write(".git/x.yaml", node_text("n6"));
    ASSERT_TRUE(eventually([&] { return log.objects.contains("n2") && log.objects.contains("n3"); }));
    write("a/b/c/deep.yml", node_text("n2", "spec: {podCIDR: 10.0.0.0/24}\n"));
    ASSERT_TRUE(eventually([&] { return log.objects["n2"].contains("spec"); }));
    fs::remove_all(root + "/a");
    ASSERT_TRUE(eventually([&] { return !log.objects.contains("n2"); }));
    // A directory made elsewhere and moved in, then moved within, then out.
    const std::string outside = temporary_directory();
    std::ofstream(outside + "/n.yaml") << node_text("n7");
    fs::rename(outside, root + "/in");
    ASSERT_TRUE(eventually([&] { return log.objects.contains("n7"); }));
    fs::rename(root + "/in", root + "/within");
    write("within/more.yaml", node_text("n8"));
    ASSERT_TRUE(eventually([&] { return log.objects.contains("n8"); }));
    fs::rename(root + "/within", outside);
    ASSERT_TRUE(eventually([&] { return !log.objects.contains("n8") && !log.objects.contains("n7"); }));
    fs::remove_all(outside);
    settle(20ms);
    EXPECT_EQ(log.objects.size(), 2U);
    EXPECT_EQ(log.count("-n3"), 0U);
    EXPECT_TRUE(log.complaint("").empty()) << log.complaint("");
}

TEST_F(DirStoreTest, RenamingAFileIsNoChange) {
    write("one.yaml", node_text("n1"));
    Log log;
    const auto watch = store->watch(resources::kNode, log.handler());
    ASSERT_TRUE(eventually([&] { return log.objects.contains("n1"); }));
    fs::rename(root + "/one.yaml", root + "/another.yaml");
    settle(20ms);
    EXPECT_EQ(log.count("+n1"), 1U);
    EXPECT_EQ(log.count("-n1"), 0U);
    EXPECT_TRUE(log.complaint("").empty());
}

TEST_F(DirStoreTest, HandWrittenObjectsHaveAVersionAndStayInTheirFile) {
    write("my-nodes.yaml",
          "# mine\n" + node_text("n1", "spec: {podCIDR: \"10.0.0.0/24\"}  # first\n") + "---\n" + node_text("n2"));
    write("other.json", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n3"}})");
    ASSERT_EQ(::chmod((root + "/other.json").c_str(), 0600), 0);
    auto object = *store->get(resources::kNode, {"", "n2"});
    EXPECT_FALSE(object["metadata"]["uid"].get<std::string>().empty());
    EXPECT_EQ(object["metadata"]["uid"], (*open(loop)->get(resources::kNode, {"", "n2"}))["metadata"]["uid"]);
    object["spec"]["podCIDR"] = "10.0.1.0/24";
    ASSERT_TRUE(store->update(resources::kNode, object));
    EXPECT_EQ(store->update(resources::kNode, object).error().code, Code::kAborted);
    const std::string text = read("my-nodes.yaml");
    EXPECT_TRUE(text.starts_with("# mine\n" + node_text("n1", "spec: {podCIDR: \"10.0.0.0/24\"}  # first\n") + "---\n"))
        << text;
    EXPECT_NE(text.find("podCIDR: 10.0.1.0/24"), std::string::npos);
    EXPECT_FALSE(fs::exists(root + "/nodes"));

    // Edited by hand in between: the older version no longer counts.
    object = *store->get(resources::kNode, {"", "n3"});
    write("other.json", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n3","labels":{"a":"b"}}})");
    EXPECT_EQ(store->update(resources::kNode, object).error().code, Code::kAborted);
    object = *store->get(resources::kNode, {"", "n3"});
    object["spec"]["x"] = 1;
    ASSERT_TRUE(store->update(resources::kNode, object));
    EXPECT_TRUE(read("other.json").starts_with("{\n")) << read("other.json");
    struct stat info{};
    ASSERT_EQ(::stat((root + "/other.json").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);

    ASSERT_TRUE(store->remove(resources::kNode, {"", "n1"}));
    EXPECT_EQ(store->list(resources::kNode)->size(), 2U);
    ASSERT_TRUE(store->remove(resources::kNode, {"", "n2"}));
    EXPECT_FALSE(fs::exists(root + "/my-nodes.yaml"));
}

TEST_F(DirStoreTest, AFileThatBreaksIsReportedOnceAndChangesNothing) {
    write("nodes.yaml", node_text("n1") + "---\n" + node_text("n2"));
    Log log;
    const auto watch = store->watch(resources::kNode, log.handler());
    Log other;
    const auto second_watch = store->watch(resources::kPod, other.handler());
    ASSERT_TRUE(eventually([&] { return log.objects.size() == 2; }));
    write("nodes.yaml", node_text("n1", "spec: {podCIDR: 10.0.0.0/24}\n") + "---\nkind: [broken\n");
    ASSERT_TRUE(eventually([&] { return !log.complaint("").empty(); }));
    // The good document counts, the other one stays as it was.
    EXPECT_EQ(log.objects["n1"]["spec"]["podCIDR"], "10.0.0.0/24");
    EXPECT_TRUE(store->get(resources::kNode, {"", "n2"}));
    EXPECT_TRUE(log.complaint("").starts_with("!" + root + "/nodes.yaml: line ")) << log.complaint("");
    EXPECT_TRUE(other.complaint("").empty());
    ASSERT_EQ(store->rejected().size(), 1U);
    EXPECT_EQ(store->rejected()[0].where, root + "/nodes.yaml");
    EXPECT_EQ(store->describe(), "dir " + root + ": 2 objects, 1 rejected");
    auto object = *store->get(resources::kNode, {"", "n2"});
    object["spec"]["x"] = 1;
    EXPECT_EQ(store->update(resources::kNode, object).error().code, Code::kFailedPrecondition);
    EXPECT_EQ(store->remove(resources::kNode, {"", "n2"}).error().code, Code::kFailedPrecondition);

    const auto lines = log.lines.size();
    ASSERT_EQ(::utimensat(AT_FDCWD, (root + "/nodes.yaml").c_str(), nullptr, 0), 0);
    write("unrelated.yaml", "# nothing\n");
    settle(20ms);
    EXPECT_EQ(log.lines.size(), lines);

    write("nodes.yaml", node_text("n1"));
    ASSERT_TRUE(eventually([&] { return log.objects.size() == 1; }));
    EXPECT_TRUE(store->rejected().empty());
}

TEST_F(DirStoreTest, AnEmptiedFileKeepsItsObjects) {
    write("n1.yaml", node_text("n1"));
    Log log;
    const auto watch = store->watch(resources::kNode, log.handler());
    ASSERT_TRUE(eventually([&] { return log.objects.size() == 1; }));
    write("n1.yaml", "");
    ASSERT_TRUE(eventually([&] { return !log.complaint("the file is empty").empty(); }));
    EXPECT_EQ(log.objects.size(), 1U);
    write("n1.yaml", node_text("n1"));
    ASSERT_TRUE(eventually([&] { return store->rejected().empty(); }));
    EXPECT_EQ(log.count("+n1"), 1U);
}

TEST_F(DirStoreTest, UnknownKindsAndBadNamesAreReportedAndTheRestGoesOn) {
    write("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\n" + node_text("n1"));
    write("b.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: Bad_Name}\n");
    write("c.yaml", "apiVersion: v1\nkind: Node\nmetadata: {}\n");
    write("d.yaml", node_text("n2"));
    Log log;
    const auto watch = store->watch(resources::kNode, log.handler());
    ASSERT_TRUE(eventually([&] { return log.objects.size() == 2 && !log.complaint("c.yaml").empty(); }));
    EXPECT_NE(log.complaint("a.yaml").find("kind \"Deployment\" of apiVersion \"apps/v1\" is unknown"),
              std::string::npos);
    EXPECT_NE(log.complaint("b.yaml").find("metadata.name"), std::string::npos);
    EXPECT_NE(log.complaint("c.yaml").find("metadata.name is missing"), std::string::npos);
}

TEST_F(DirStoreTest, ASecondDefinitionIsRejectedUntilTheFirstGoes) {
    write("first.yaml", node_text("n1", "spec: {a: 1}\n"));
    Log log;
    const auto watch = store->watch(resources::kNode, log.handler());
    ASSERT_TRUE(eventually([&] { return log.objects.contains("n1"); }));
    write("a-second.yaml", node_text("n1", "spec: {a: 2}\n"));
    ASSERT_TRUE(eventually([&] {
        return !log.complaint("a-second.yaml: line 1: Node n1 is already defined in " + root + "/first.yaml").empty();
    }));
    EXPECT_EQ((*store->get(resources::kNode, {"", "n1"}))["spec"]["a"], 1);
    fs::remove(root + "/first.yaml");
    ASSERT_TRUE(eventually([&] { return log.objects["n1"]["spec"]["a"] == 2; }));
    EXPECT_TRUE(store->rejected().empty());
    EXPECT_EQ(log.count("-n1"), 0U);
    write("first.yaml", node_text("n1"));
    EXPECT_TRUE(store->remove(resources::kNode, {"", "n1"}));
    EXPECT_EQ(store->get(resources::kNode, {"", "n1"}).error().code, Code::kNotFound);
}

TEST_F(DirStoreTest, ATornFileInTheObjectsOwnPlaceIsReplacedByCreate) {
    write("pods/shop/a.yaml", "");
    write("pods/shop/b.yaml", "apiVersion: v1\nkind: Po");
    write("pods/shop/c.yaml", node_text("n1"));
    settle();
    for (const char* name : {"a", "b", "c"}) {
        const auto created = store->create(resources::kPod, pod(name));
        ASSERT_TRUE(created) << created.error().to_string();
    }
    EXPECT_EQ(read("pods/shop/.b.rejected"), "apiVersion: v1\nkind: Po");
    EXPECT_TRUE(store->get(resources::kNode, {"", "n1"}));
    EXPECT_EQ(store->list(resources::kPod)->size(), 3U);
    EXPECT_TRUE(store->rejected().empty());
}

TEST_F(DirStoreTest, AnotherStoreSeesEachWriteAtOnce) {
    const auto other = open(loop);
    for (int i = 0; i < 20; ++i) {
        const std::string name = "p" + std::to_string(i);
        ASSERT_TRUE(store->create(resources::kPod, pod(name)));
        auto object = other->get(resources::kPod, {"shop", name});
        ASSERT_TRUE(object) << object.error().to_string();
        (*object)["spec"]["nodeName"] = "n2";
        ASSERT_TRUE(other->update(resources::kPod, *object));
        EXPECT_EQ((*store->get(resources::kPod, {"shop", name}))["spec"]["nodeName"], "n2");
        EXPECT_EQ(store->create(resources::kPod, pod(name)).error().code, Code::kAlreadyExists);
    }
}

TEST_F(DirStoreTest, AddressesSayWhatIsAccepted) {
    EXPECT_EQ(open_object_store("kubernetes:" + root + "/none", loop).error().code, Code::kNotFound);
    for (const char* bad : {"", "dir:", "etcd://x", "/path"})
        EXPECT_EQ(open_object_store(bad, loop).error().code, Code::kInvalidArgument);
    EXPECT_EQ(open_object_store("dir:" + root + "/none", loop).error().code, Code::kNotFound);
    write("file", "x");
    EXPECT_EQ(open_object_store("dir:" + root + "/file", loop).error().code, Code::kNotFound);
}

TEST_F(DirStoreTest, ALostDirectoryKeepsItsObjectsInForceUntilItIsBack) {
    write("n1.yaml", node_text("n1"));
    Log log;
    const auto watch = store->watch(resources::kNode, log.handler());
    ASSERT_TRUE(eventually([&] { return log.objects.contains("n1"); }));
    fs::rename(root, root + "-away");
    ASSERT_TRUE(eventually([&] { return !log.complaint("has gone").empty(); }));
    EXPECT_TRUE(store->get(resources::kNode, {"", "n1"}));
    EXPECT_FALSE(store->create(resources::kPod, pod("a")));
    EXPECT_FALSE(fs::exists(root));
    std::ofstream(root + "-away/n2.yaml") << node_text("n2");
    fs::rename(root + "-away", root);
    ASSERT_TRUE(eventually([&] { return log.objects.contains("n2"); }));
    EXPECT_EQ(log.count("-n1"), 0U);
    EXPECT_TRUE(store->create(resources::kPod, pod("a")));
}

// More events than the kernel queues (fs.inotify.max_queued_events) while the loop is not looking.
TEST_F(DirStoreTest, AnOverflowIsMadeGoodByReadingAgain) {
    Log log;
    const auto watch = store->watch(resources::kNode, log.handler());
    settle();
    std::size_t limit = 16384;
    std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
    if (limit > 100'000) GTEST_SKIP() << "the queue is too long here";
    for (std::size_t i = 0; i < limit / 2 + 100; ++i) {
        std::ofstream(root + "/junk-" + std::to_string(i % 2) + ".yaml") << "# nothing\n";
        fs::rename(root + "/junk-" + std::to_string(i % 2) + ".yaml", root + "/junk.yaml");
    }
    write("late.yaml", node_text("late"));
    write("sub/later.yaml", node_text("later"));
    ASSERT_TRUE(eventually([&] { return log.objects.contains("late") && log.objects.contains("later"); }));
    write("sub/after.yaml", node_text("after"));
    EXPECT_TRUE(eventually([&] { return log.objects.contains("after"); }));
}

TEST_F(DirStoreTest, AFullDiskIsAnErrorAndLosesNothing) {
    if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
    const std::string small = temporary_directory();
    if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "cannot mount a tmpfs here";
    {
        const SyncStore full(loop, open_object_store("dir:" + small, loop));
        ASSERT_TRUE(full.create(resources::kPod, pod("a")));
        std::ofstream(small + "/filler") << std::string(128 * 1024, 'x');
        auto object = *full.get(resources::kPod, {"shop", "a"});
        object["metadata"]["annotations"]["big"] = std::string(32 * 1024, 'y');
        const auto refused = full.update(resources::kPod, object);
        EXPECT_FALSE(refused);
        EXPECT_EQ(refused ? Code::kUnknown : refused.error().code, Code::kResourceExhausted);
        EXPECT_FALSE(full.create(resources::kPod, pod("b")));
        EXPECT_EQ((*full.get(resources::kPod, {"shop", "a"}))["spec"]["nodeName"], "n1");
        fs::remove(small + "/filler");
        EXPECT_TRUE(full.update(resources::kPod, object));
        EXPECT_TRUE(full.create(resources::kPod, pod("b")));
    }
    ::umount(small.c_str());
    fs::remove_all(small);
}

TEST_F(DirStoreTest, LargeAndOddContentSurvives) {
    Json object = pod("odd");
    object["metadata"]["annotations"] = {{"n", "123"},
                                         {"b", "true"},
                                         {"e", ""},
                                         {"m", "a\nb\n"},
                                         {"u", "naïve 🙂"},
                                         {"x", "10.0.0.0/8"},
                                         {"t", "2026-01-01T00:00:00Z"}};
    object["spec"]["list"] = Json::array({1, -5, 1.5, true, nullptr, "x", Json::array(), Json::object()});
    object["spec"]["big"] = std::string(200'000, 'z');
    const auto created = store->create(resources::kPod, object);
    ASSERT_TRUE(created);
    EXPECT_EQ((*created)["metadata"]["annotations"], object["metadata"]["annotations"]);
    EXPECT_EQ((*created)["spec"], object["spec"]);
    EXPECT_EQ((*open(loop)->get(resources::kPod, {"shop", "odd"})), *created);
}

TEST_F(DirStoreTest, TheLongestNamesFit) {
    const std::string part(62, 'a');
    const std::string longest = part + "." + part + "." + part + "." + part + ".";
    for (const char* end : {"x", "y"}) {
        const auto created = store->create(resources::kPod, pod(longest + end));
        ASSERT_TRUE(created) << created.error().to_string();
        EXPECT_EQ(store->get(resources::kPod, {"shop", longest + end}), *created);
    }
    EXPECT_TRUE(store->remove(resources::kPod, {"shop", longest + "x"}));
    EXPECT_EQ(store->list(resources::kPod)->size(), 1U);
}

// ---- several processes ----

// Runs `work` in a process of its own, with a store of its own; it must return 0.
pid_t spawn(const std::function<int()>& work) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        int code = 99;
        try {
            code = work();
        } catch (...) {
            code = 98;
        }
        ::_exit(code);
    }
    return pid;
}

int wait_for(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

// Adds one to spec.<field> until it has succeeded `times` times. Returns 0, or 1 for an error that is not a lost race.
int count_up(const SyncStore& store, const ObjectKey& key, const std::string& field, int times) {
    for (int done = 0; done < times;) {
        auto object = store.get(resources::kCiliumEndpoint, key);
        if (!object) return 1;
        (*object)["spec"][field] = (*object)["spec"].value(field, 0) + 1;
        const auto written = store.update(resources::kCiliumEndpoint, *object);
        if (written) {
            ++done;
        } else if (written.error().code != Code::kAborted) {
            std::fprintf(stderr, "count_up: %s\n", written.error().to_string().c_str());
            return 1;
        }
    }
    return 0;
}

TEST_F(DirStoreTest, ProcessesHammeringOneObjectLoseNoUpdate) {
    // One object alone in its file, and two that share a file written by hand.
    const auto text = [](const char* name) {
        return std::string("apiVersion: cilium.io/v2\nkind: CiliumEndpoint\nmetadata: {name: ") + name +
               ", namespace: shop}\nspec: {}\n";
    };
    write("alone.yaml", text("alone"));
    write("shared.yaml", text("one") + "---\n" + text("two"));
    constexpr int kTimes = 60;
    std::vector<pid_t> children;
    for (int i = 0; i < 4; ++i) {
        children.push_back(spawn([&, i] {
            EventLoop own_loop;
            const auto own = open(own_loop);
            int code = count_up(own, {"shop", "alone"}, "n", kTimes);
            code += count_up(own, {"shop", i % 2 == 0 ? "one" : "two"}, "n", kTimes);
            return code;
        }));
    }
    // A watcher must see numbers that only grow, and the last one.
    int last = 0;
    const auto watch = store->watch(
        resources::kCiliumEndpoint,
        {.upserted =
             [&](const ObjectKey& key, const Json& object) {
                 if (key.name != "alone") return;
                 const int now = object["spec"].value("n", 0);
                 EXPECT_GE(now, last);
                 last = now;
             },
         .deleted = [](const ObjectKey& key) { ADD_FAILURE() << "deleted " << key.to_string(); },
         .synced = {},
         .rejected = [](const std::string& where, const Error& error) { ADD_FAILURE() << where << error.message; }});
    std::thread waiting([&] {
        for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
        loop.post([&] { loop.stop(); });
    });
    loop.run();
    waiting.join();
    settle(20ms);
    EXPECT_EQ(last, 4 * kTimes);
    EXPECT_EQ((*store->get(resources::kCiliumEndpoint, {"shop", "one"}))["spec"]["n"], 2 * kTimes);
    EXPECT_EQ((*store->get(resources::kCiliumEndpoint, {"shop", "two"}))["spec"]["n"], 2 * kTimes);
    EXPECT_TRUE(store->rejected().empty());
}

TEST_F(DirStoreTest, OfManyProcessesOneCreates) {
    constexpr int kObjects = 40;
    std::vector<pid_t> children;
    for (int i = 0; i < 4; ++i) {
        children.push_back(spawn([&] {
            EventLoop own_loop;
            const auto own = open(own_loop);
            int won = 0;
            for (int n = 0; n < kObjects; ++n) {
                Json object = {{"metadata", {{"name", std::to_string(1000 + n)}}},
                               {"security-labels", {{"k8s:a", std::to_string(::getpid())}}}};
                const auto created = own->create(resources::kCiliumIdentity, object);
                if (created) {
                    ++won;
                } else if (created.error().code != Code::kAlreadyExists) {
                    return 250;
                }
                if (!own->get(resources::kCiliumIdentity, {"", std::to_string(1000 + n)})) return 251;
            }
            return won;
        }));
    }
    int won = 0;
    for (const pid_t child : children) {
        const int code = wait_for(child);
        EXPECT_LE(code, kObjects);
        won += code;
    }
    EXPECT_EQ(won, kObjects);
    EXPECT_EQ(store->list(resources::kCiliumIdentity)->size(), static_cast<std::size_t>(kObjects));
    EXPECT_TRUE(store->rejected().empty());
}

TEST_F(DirStoreTest, AKilledWriterLeavesNoLockAndNoHalfFile) {
    write("alone.yaml",
          "apiVersion: cilium.io/v2\nkind: CiliumEndpoint\nmetadata: {name: alone, namespace: shop}\nspec: {}\n");
    for (int round = 0; round < 8; ++round) {
        const pid_t child = spawn([&] {
            EventLoop own_loop;
            const auto own = open(own_loop);
            return count_up(own, {"shop", "alone"}, "n", 1'000'000);
        });
        std::this_thread::sleep_for(20ms);
        ::kill(child, SIGKILL);
        wait_for(child);
        EXPECT_EQ(count_up(store, {"shop", "alone"}, "mine", 1), 0);
    }
    EXPECT_EQ((*store->get(resources::kCiliumEndpoint, {"shop", "alone"}))["spec"]["mine"], 8);
    EXPECT_TRUE(store->rejected().empty());
}

TEST_F(DirStoreTest, AWriteReachesAWatchInAnotherProcessWithinMilliseconds) {
    using Clock = std::chrono::steady_clock;  // one clock for all processes of a machine
    std::vector<double> milliseconds;
    const auto watch = store->watch(
        resources::kCiliumEndpoint,
        {.upserted =
             [&](const ObjectKey&, const Json& object) {
                 const auto sent = Duration(object["spec"]["sent"].get<std::int64_t>());
                 milliseconds.push_back(
                     std::chrono::duration<double, std::milli>(Clock::now().time_since_epoch() - sent).count());
                 if (milliseconds.size() == 20) loop.stop();
             },
         .deleted = {},
         .synced = {},
         .rejected = {}});
    settle();
    const pid_t child = spawn([&] {
        EventLoop own_loop;
        const auto own = open(own_loop);
        for (int i = 0; i < 20; ++i) {
            std::this_thread::sleep_for(10ms);
            Json object = {{"metadata", {{"name", "e" + std::to_string(i)}, {"namespace", "shop"}}},
                           {"spec", {{"sent", Clock::now().time_since_epoch().count()}}}};
            if (!own->create(resources::kCiliumEndpoint, object)) return 1;
        }
        return 0;
    });
    const auto limit = loop.after(10s, [&] { loop.stop(); });
    loop.run();
    EXPECT_EQ(wait_for(child), 0);
    ASSERT_EQ(milliseconds.size(), 20U);
    std::ranges::sort(milliseconds);
    RecordProperty("median_ms", std::to_string(milliseconds[10]));
    std::printf("write to watch callback: median %.2f ms, most %.2f ms\n", milliseconds[10], milliseconds.back());
    EXPECT_LT(milliseconds[10], 20.0);  // the machine may be busy; measured idle: below 1
}

}  // namespace
}  // namespace axo
