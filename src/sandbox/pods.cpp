#include "sandbox/pods.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "kernel/netns.h"
#include "model/names.h"
#include "sandbox/cni_runtime.h"
#include "sandbox/topology.h"

namespace axo::sandbox {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

std::string key_of(const std::string& name_space, const std::string& name) {
    return name_space + "_" + name;
}
fs::path pod_file(const Cluster& cluster, const std::string& name_space, const std::string& name) {
    return cluster.root() / "pods" / (key_of(name_space, name) + ".json");
}

std::string random_hex(std::size_t bytes) {
    static const Fd random(::open("/dev/urandom", O_RDONLY | O_CLOEXEC));
    std::string text;
    for (std::size_t i = 0; i < bytes; ++i) {
        unsigned char byte = 0;
        if (::read(random.get(), &byte, 1) != 1)
            byte = static_cast<unsigned char>(Clock::now().time_since_epoch().count());
        constexpr char digits[] = "0123456789abcdef";
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

std::string new_uid() {
    std::string uid = read_file("/proc/sys/kernel/random/uuid").value_or("");
    while (uid.ends_with('\n')) uid.pop_back();
    return uid;
}

Json to_json(const Pod& pod) {
    Json addresses = Json::array();
    for (const auto& address : pod.addresses) addresses.push_back(address.to_string());
    return {{"namespace", pod.spec.name_space},
            {"name", pod.spec.name},
            {"node", pod.spec.node},
            {"labels", pod.spec.labels},
            {"annotations", pod.spec.annotations},
            {"uid", pod.spec.uid},
            {"ports", pod.spec.ports},
            {"container-id", pod.container_id},
            {"netns", pod.netns},
            {"result", pod.result},
            {"addresses", addresses},
            {"cni-add-us", pod.cni_add.count()}};
}

Result<Pod> from_json(const Json& json) {
    try {
        Pod pod;
        pod.spec = {.name_space = json.at("namespace"),
                    .name = json.at("name"),
                    .node = json.at("node"),
                    .labels = json.at("labels"),
                    .annotations = json.at("annotations"),
                    .uid = json.at("uid"),
                    .ports = json.value("ports", std::map<std::string, std::string>())};
        pod.container_id = json.at("container-id");
        pod.netns = json.at("netns");
        pod.result = json.at("result");
        for (const std::string text : json.at("addresses")) {
            TRY_ASSIGN(IpAddress address, IpAddress::parse(text));
            pod.addresses.push_back(address);
        }
        pod.cni_add = microseconds(json.at("cni-add-us"));
        return pod;
    } catch (const Json::exception& error) {
        return fail(Code::kDataLoss, std::string("record of a pod: ") + error.what());
    }
}

CniAttachment attachment_of(const Pod& pod) {
    return {.container_id = pod.container_id,
            .netns = pod.netns,
            .name_space = pod.spec.name_space,
            .pod = pod.spec.name,
            .uid = pod.spec.uid,
            .previous_result = pod.result};
}

std::string host_address(const Cluster& cluster, const NodeSpec& node) {
    return (cluster.spec().ipv4() ? segment_address_v4(node.segment, node_host(node))
                                  : segment_address_v6(node.segment, node_host(node)))
        .to_string();
}

Status write_manifest(const Cluster& cluster, const Pod& pod) {
    if (pod.spec.object_elsewhere) return {};
    const NodeSpec* node = cluster.spec().node(pod.spec.node);
    const fs::path path = pod_path(cluster.store(), pod.spec.name_space, pod.spec.name);
    TRY(make_directories(path.parent_path()));
    return write_atomic(path, pod_manifest(pod.spec, host_address(cluster, *node), pod.addresses));
}

// Twice pinned: where the node's runtime has it, and where the sandbox finds it without entering the node.
Status make_netns(const Cluster& cluster, const Pod& pod) {
    const Machine machine = cluster.machine_of_pod(pod.spec.name_space, pod.spec.name);
    TRY(create_plain_machine(machine));
    TRY(prepare_pod_netns(machine.net()));
    const Fd netns(::open(machine.net().c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns) return fail_errno("open " + machine.net());
    const Machine node = cluster.machine_of_node(pod.spec.node);
    auto pinned = run_forked([&]() -> Result<std::string> {
        // The pin is made from a process inside, as the namespace of this mount table's file cannot be bound into
        // another.
        if (::setns(netns.get(), CLONE_NEWNET) != 0) return fail_errno("entering " + machine.net());
        const std::string mine = "/proc/self/ns/net";
        const Fd mounts(::open((node.pins / "mnt").c_str(), O_RDONLY | O_CLOEXEC));
        if (!mounts) return fail_errno("open " + (node.pins / "mnt").string());
        if (::setns(mounts.get(), CLONE_NEWNS) != 0) return fail_errno("entering the mounts of " + pod.spec.node);
        TRY(write_atomic(pod.netns, ""));
        if (::mount(mine.c_str(), pod.netns.c_str(), nullptr, MS_BIND, nullptr) != 0)
            return fail_errno("mounting " + pod.netns);
        return "";
    });
    if (!pinned) return forward_error(pinned.error());
    return {};
}

void drop_netns(const Cluster& cluster, const Pod& pod) {
    const Machine node = cluster.machine_of_node(pod.spec.node);
    if (node.has_own_mounts()) {
        // What fails here is the absence of what is to be removed.
        (void)run_forked([&]() -> Result<std::string> {
            TRY(enter(node));
            ::umount2(pod.netns.c_str(), MNT_DETACH);
            ::unlink(pod.netns.c_str());
            return "";
        });
    }
    const Machine machine = cluster.machine_of_pod(pod.spec.name_space, pod.spec.name);
    for (const auto& point : mounts_below(machine.pins)) ::umount2(point.c_str(), MNT_DETACH);
    std::error_code ignored;
    fs::remove_all(machine.pins, ignored);
}

// Everything of a pod but its CNI attachment.
Status forget(const Cluster& cluster, const Pod& pod) {
    TRY(destroy_cgroup(cluster.machine_of_pod(pod.spec.name_space, pod.spec.name).cgroup));
    drop_netns(cluster, pod);
    TRY(remove_file(pod_path(cluster.store(), pod.spec.name_space, pod.spec.name)));
    return remove_file(pod_file(cluster, pod.spec.name_space, pod.spec.name));
}

Status prepare(const Cluster& cluster, Pod& pod) {
    TRY(validate_dns_label("namespace", pod.spec.name_space));
    TRY(validate_dns_subdomain("pod name", pod.spec.name));
    if (cluster.spec().node(pod.spec.node) == nullptr) {
        std::string known;
        for (const auto& node : cluster.spec().nodes) known += (known.empty() ? "" : ", ") + node.name;
        return fail(Code::kNotFound, "node: '" + pod.spec.node + "': expected one of " + known);
    }
    const fs::path record = pod_file(cluster, pod.spec.name_space, pod.spec.name);
    if (fs::exists(record))
        return fail(Code::kAlreadyExists, "is there already; delete it first, or choose another name");
    const fs::path name_space = namespace_path(cluster.store(), pod.spec.name_space);
    if (!pod.spec.object_elsewhere) {
        if (!fs::exists(name_space)) TRY(write_atomic(name_space, namespace_manifest(pod.spec.name_space)));
        pod.spec.uid = new_uid();
    }
    pod.container_id = random_hex(32);
    pod.netns = std::string(kPodNetnsFolder) + "/" + key_of(pod.spec.name_space, pod.spec.name);
    TRY(write_atomic(record, to_json(pod).dump(2) + "\n"));
    TRY(write_manifest(cluster, pod));
    return make_netns(cluster, pod);
}

// In a helper process: the runtime's call on the pod's node.
Result<std::string> call_on_node(const Cluster& cluster, const std::string& command, const Pod& pod) {
    TRY(enter(cluster.machine_of_node(pod.spec.node)));
    TRY_ASSIGN(const CniOutcome outcome, cni_call(command, attachment_of(pod)));
    return Json{{"result", outcome.result}, {"us", outcome.duration.count()}}.dump();
}

Status take_result(Pod& pod, const std::string& text) {
    const Json answer = Json::parse(text, nullptr, false);
    pod.result = answer.value("result", Json());
    pod.cni_add = microseconds(answer.value("us", std::int64_t{0}));
    for (const auto& item : pod.result.value("ips", Json::array())) {
        const std::string address = item.is_object() ? item.value("address", "") : "";
        TRY_ASSIGN(IpAddress ip, IpAddress::parse(address.substr(0, address.find('/'))));
        pod.addresses.push_back(ip);
    }
    if (pod.addresses.empty()) return fail(Code::kInternal, "the CNI result has no address: " + pod.result.dump());
    return {};
}

}  // namespace

Result<PodsAdded> add_pods(const Cluster& cluster, const std::vector<PodSpec>& specs, bool parallel) {
    std::vector<Pod> pods;
    for (const auto& spec : specs)
        pods.push_back({.spec = spec, .container_id = {}, .netns = {}, .result = {}, .addresses = {}});
    std::vector<Status> prepared;
    for (auto& pod : pods) prepared.push_back(prepare(cluster, pod));

    std::vector<Result<std::string>> answers(pods.size(), Result<std::string>());
    std::vector<std::function<Result<std::string>()>> calls;
    std::vector<std::size_t> called;
    for (std::size_t i = 0; i < pods.size(); ++i) {
        if (!prepared[i]) continue;
        calls.emplace_back([&cluster, &pods, i] { return call_on_node(cluster, "ADD", pods[i]); });
        called.push_back(i);
    }
    const auto start = Clock::now();
    if (parallel) {
        auto all = run_forked_all(calls);
        for (std::size_t i = 0; i < all.size(); ++i) answers[called[i]] = std::move(all[i]);
    } else {
        for (std::size_t i = 0; i < calls.size(); ++i) answers[called[i]] = run_forked(calls[i]);
    }
    PodsAdded added;
    added.cni_add = std::chrono::duration_cast<microseconds>(Clock::now() - start);
    for (std::size_t i = 0; i < pods.size(); ++i) {
        Status status = std::move(prepared[i]);
        // A name that is taken or refused leaves what is there alone.
        const bool mine = status || (status.error().code != Code::kAlreadyExists && !pods[i].container_id.empty());
        if (status) status = answers[i] ? take_result(pods[i], *answers[i]) : Status(forward_error(answers[i].error()));
        if (status) status = write_manifest(cluster, pods[i]);
        if (status)
            status = write_atomic(pod_file(cluster, pods[i].spec.name_space, pods[i].spec.name),
                                  to_json(pods[i]).dump(2) + "\n");
        if (status) {
            added.pods.emplace_back(std::move(pods[i]));
            continue;
        }
        if (mine) {
            (void)run_forked([&] { return call_on_node(cluster, "DEL", pods[i]); });  // ADD's error is the one to tell
            (void)forget(cluster, pods[i]);
        }
        added.pods.emplace_back(
            forward_error(std::move(status).error().with_context("pod " + pods[i].spec.display_name())));
    }
    TRY(cluster.sync_routes());
    return added;
}

Result<microseconds> remove_pod(const Cluster& cluster, const std::string& name_space, const std::string& name) {
    TRY_ASSIGN(const Pod pod, find_pod(cluster, name_space, name));
    // The runtime ends the pod's processes before it takes its network away.
    TRY(destroy_cgroup(cluster.machine_of_pod(name_space, name).cgroup));
    auto answer = run_forked([&] { return call_on_node(cluster, "DEL", pod); });
    TRY(forget(cluster, pod));
    if (!answer) return forward_error(std::move(answer).error().with_context("pod " + pod.spec.display_name()));
    return microseconds(Json::parse(*answer, nullptr, false).value("us", std::int64_t{0}));
}

Status check_pod(const Cluster& cluster, const std::string& name_space, const std::string& name) {
    TRY_ASSIGN(const Pod pod, find_pod(cluster, name_space, name));
    auto answer = run_forked([&] { return call_on_node(cluster, "CHECK", pod); });
    if (!answer) return forward_error(answer.error());
    return {};
}

std::vector<Pod> list_pods(const Cluster& cluster) {
    std::vector<fs::path> files;
    std::error_code error;
    for (auto entry = fs::directory_iterator(cluster.root() / "pods", error);
         !error && entry != fs::directory_iterator(); entry.increment(error)) {
        if (entry->path().extension() == ".json") files.push_back(entry->path());
    }
    std::ranges::sort(files);
    std::vector<Pod> pods;
    for (const auto& file : files) {
        auto pod = from_json(Json::parse(read_file(file).value_or(""), nullptr, false));
        if (pod) pods.push_back(std::move(*pod));
    }
    return pods;
}

Result<Pod> find_pod(const Cluster& cluster, const std::string& name_space, const std::string& name) {
    auto text = read_file(pod_file(cluster, name_space, name));
    if (!text) {
        return fail(Code::kNotFound,
                    "cluster '" + cluster.spec().name + "' has no pod '" + name_space + "/" + name + "'");
    }
    return from_json(Json::parse(*text, nullptr, false));
}

}  // namespace axo::sandbox
