#include "app/cli/install/installer.h"

#include <algorithm>
#include <thread>

namespace axo::cli::install {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPause = std::chrono::milliseconds(500);
constexpr const char* kRecordName = "axoneme-installation";

Json reference(const std::string& version, const std::string& kind, const std::string& space, const std::string& name) {
    Json object{{"apiVersion", version}, {"kind", kind}, {"metadata", {{"name", name}}}};
    if (!space.empty()) object["metadata"]["namespace"] = space;
    return object;
}

Json reference_to(const Json& object) {
    return reference(object.value("apiVersion", std::string()), object.value("kind", std::string()),
                     object.value("/metadata/namespace"_json_pointer, std::string()),
                     object.value("/metadata/name"_json_pointer, std::string()));
}

// What an installation consists of, in the order in which it was made.
struct Record {
    std::vector<Json> objects;
    Json values = Json::object();
};

Json record_object(const std::string& space, const Record& record) {
    Json object = reference("v1", "ConfigMap", space, kRecordName);
    object["metadata"]["labels"] = {{"app.kubernetes.io/part-of", "cilium"}};
    object["data"] = {{"objects", Json(record.objects).dump()}, {"values", record.values.dump()}};
    return object;
}

Result<std::optional<Record>> read_record(Api& api, const std::string& space) {
    const auto object = get_object(api, reference("v1", "ConfigMap", space, kRecordName));
    if (!object && object.error().code == Code::kNotFound) return std::nullopt;
    if (!object) return forward_error(object.error());
    const auto part = [&object](const char* pointer) {
        return Json::parse(object->value(Json::json_pointer(pointer), std::string()), nullptr, false);
    };
    const Json objects = part("/data/objects");
    Record record{.values = part("/data/values")};
    if (!objects.is_array() || !record.values.is_object())
        return fail(Code::kDataLoss,
                    "ConfigMap " + space + "/" + kRecordName + ": its data is not a record of an installation");
    for (const Json& one : objects) record.objects.push_back(one);
    return record;
}

bool same_object(const Json& a, const Json& b) {
    return reference_to(a) == reference_to(b);
}

// Until the condition has nothing to say; an error with what it said last.
Status wait_for(std::chrono::seconds limit, const Say& say, const std::function<Result<std::string>()>& problem) {
    const auto end = Clock::now() + limit;
    std::string told;
    for (;;) {
        auto now = problem();
        // The API server may be away for a moment; that is not the end.
        const std::string text = now ? *now : now.error().message;
        if (now && text.empty()) return {};
        if (text != told) say("⌛ " + text);
        told = text;
        if (Clock::now() >= end)
            return fail(Code::kDeadlineExceeded, "not after " + std::to_string(limit.count()) + " s: " + text);
        std::this_thread::sleep_for(kPause);
    }
}

Status wait_for_rollout(Api& api, const std::vector<Json>& objects, std::chrono::seconds limit, const Say& say) {
    return wait_for(limit, say, [&]() -> Result<std::string> {
        for (const Json& object : objects) {
            const std::string kind = object.value("kind", std::string());
            if (kind != "DaemonSet" && kind != "Deployment") continue;
            TRY_ASSIGN(const Json now, get_object(api, object));
            if (const std::string problem = rollout_problem(now); !problem.empty()) return problem;
        }
        return std::string();
    });
}

Status wait_until_gone(Api& api, const std::vector<Json>& objects, std::chrono::seconds limit, const Say& say) {
    return wait_for(limit, say, [&]() -> Result<std::string> {
        for (const Json& object : objects) {
            const auto now = get_object(api, object);
            if (now) return "Waiting for " + object_title(object) + " to go";
            if (now.error().code != Code::kNotFound) return forward_error(now.error());
        }
        return std::string();
    });
}

// Runs on every node where agents ran, and takes the DaemonSet away again.
Status clean_nodes(Api& api, const Json& agents, const UninstallOptions& options, const Say& say) {
    const Json cleaner = cleanup_daemon_set(agents);
    say("🧹 Cleaning up the nodes...");
    TRY(apply_object(api, cleaner));
    const Status cleaned = wait_for_rollout(api, {cleaner}, options.wait_duration, say);
    TRY(delete_object(api, cleaner));
    TRY(wait_until_gone(api, {cleaner}, options.wait_duration, say));
    return cleaned;
}

Status delete_crds(Api& api, const Say& say) {
    TRY_ASSIGN(const std::vector<Json> all,
               list_objects(api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"));
    for (const Json& crd : all) {
        if (crd.value("/spec/group"_json_pointer, std::string()) != "cilium.io") continue;
        const std::string name = crd.value("/metadata/name"_json_pointer, std::string());
        TRY(delete_object(api, reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name)));
        say("🔥 CustomResourceDefinition " + name + " deleted");
    }
    return {};
}

}  // namespace

std::string rollout_problem(const Json& object) {
    const auto number = [&object](const char* pointer) {
        return object.value(Json::json_pointer(pointer), std::int64_t{0});
    };
    const std::string title = object_title(object);
    if (number("/status/observedGeneration") < number("/metadata/generation"))
        return "Waiting for the controller of " + title + " to notice its change";
    const bool daemons = object.value("kind", std::string()) == "DaemonSet";
    const std::int64_t wanted = daemons ? number("/status/desiredNumberScheduled")
                                        : object.value("/spec/replicas"_json_pointer, std::int64_t{1});
    const std::int64_t updated = number(daemons ? "/status/updatedNumberScheduled" : "/status/updatedReplicas");
    const std::int64_t ready = number(daemons ? "/status/numberReady" : "/status/readyReplicas");
    const std::int64_t available = number(daemons ? "/status/numberAvailable" : "/status/availableReplicas");
    if (daemons && wanted == 0) return title + ": no node has a pod of it yet";
    if (updated < wanted)
        return title + ": " + std::to_string(updated) + " of " + std::to_string(wanted) +
               " pods are of the new version";
    if (ready < wanted || available < wanted)
        return title + ": " + std::to_string(ready) + " of " + std::to_string(wanted) + " pods are ready, " +
               std::to_string(available) + " available";
    return "";
}

Json cleanup_daemon_set(const Json& agents) {
    Json set = reference("apps/v1", "DaemonSet", agents.value("/metadata/namespace"_json_pointer, std::string()),
                         "axoneme-cleanup");
    const Json labels{{"k8s-app", "axoneme-cleanup"}};
    Json pod = agents.at("/spec/template/spec"_json_pointer);
    Json container = pod.at("containers").at(0);
    for (const char* part : {"startupProbe", "livenessProbe", "readinessProbe", "ports", "lifecycle"})
        container.erase(part);
    container["name"] = "cleanup";
    container["command"] = {"/usr/bin/cilium-agent", "cleanup"};
    container["args"] = {"--force", "--all-state", "--cni-conf-dir=/host/etc/cni/net.d",
                         "--cni-bin-dir=/host/opt/cni/bin", "--config-dir=/tmp/cilium/config-map"};
    container["volumeMounts"].push_back({{"name", "cni-bin"}, {"mountPath", "/host/opt/cni/bin"}});
    Json rest = container;
    rest["name"] = "done";
    rest["command"] = {"/usr/bin/cilium-agent", "pause"};
    rest.erase("args");
    rest.erase("volumeMounts");
    pod["initContainers"] = Json::array({container});
    pod["containers"] = Json::array({rest});
    pod["volumes"].push_back(
        {{"name", "cni-bin"}, {"hostPath", {{"path", "/opt/cni/bin"}, {"type", "DirectoryOrCreate"}}}});
    pod["terminationGracePeriodSeconds"] = 1;
    // Its own account goes with the rest.
    pod.erase("serviceAccountName");
    pod.erase("serviceAccount");
    pod["automountServiceAccountToken"] = false;
    set["metadata"]["labels"] = labels;
    set["spec"] = {{"selector", {{"matchLabels", labels}}},
                   {"template", {{"metadata", {{"labels", labels}}}, {"spec", std::move(pod)}}}};
    return set;
}

Result<helm::Rendered> render_installation(Api* api, const InstallOptions& options) {
    helm::Release release{.name_space = options.name_space, .upgrade = options.upgrade};
    helm::Engine::Lookup lookup;
    if (api != nullptr) {
        TRY_ASSIGN(release.kubernetes_version, server_version(*api));
        lookup = [api](const std::string& version, const std::string& kind, const std::string& space,
                       const std::string& name) {
            const auto found = get_object(*api, reference(version, kind, space, name));
            return found ? helm::Value::from_json(*found) : helm::Value(helm::Object{});
        };
    }
    return helm::render(helm::embedded_chart(), release, options.values, std::move(lookup));
}

Status run_install(Api& api, const InstallOptions& given, const Say& say) {
    InstallOptions options = given;
    TRY_ASSIGN(const std::optional<Record> before, read_record(api, options.name_space));
    if (before && !options.upgrade)
        return fail(Code::kAlreadyExists, "Axoneme is installed in namespace " + options.name_space +
                                              " already: use upgrade, or uninstall first");
    if (!before && options.upgrade)
        return fail(Code::kNotFound,
                    "nothing was installed in namespace " + options.name_space +
                        " by this command: use install (objects of an installation by Helm are taken over)");
    if (before && options.reuse_values) {
        options.values = before->values;
        helm::overlay(options.values, given.values);
    }
    say("🔮 API server " + api.server());
    TRY_ASSIGN(const helm::Rendered rendered, render_installation(&api, options));
    TRY_ASSIGN(const std::vector<Json> objects, helm::manifest_objects(rendered));
    Record record{.values = options.values};
    for (const Json& object : objects) record.objects.push_back(reference_to(object));
    // What is not wanted any more is still known until it is gone.
    Record wider = record;
    for (const Json& object : before ? before->objects : std::vector<Json>{}) {
        if (std::ranges::none_of(objects, [&](const Json& one) { return same_object(one, object); }))
            wider.objects.push_back(object);
    }
    if (options.name_space != "kube-system" && options.name_space != "default") {
        TRY(apply_object(api, reference("v1", "Namespace", "", options.name_space)));
    }
    TRY(apply_object(api, record_object(options.name_space, wider)));
    for (const Json& object : objects) {
        TRY(apply_object(api, object));
        say("🚀 " + object_title(object) + (options.upgrade ? " applied" : " created"));
    }
    for (std::size_t i = record.objects.size(); i < wider.objects.size(); ++i) {
        TRY(delete_object(api, wider.objects[i]));
        say("🔥 " + object_title(wider.objects[i]) + " deleted");
    }
    if (wider.objects.size() != record.objects.size())
        TRY(apply_object(api, record_object(options.name_space, record)));
    if (options.wait) TRY(wait_for_rollout(api, objects, options.wait_duration, say));
    say("✅ Axoneme is " + std::string(options.upgrade ? "upgraded" : "installed") +
        (options.wait ? "" : "; `axoneme status --wait` waits until it is ready"));
    return {};
}

Status run_uninstall(Api& api, const UninstallOptions& options, const Say& say) {
    TRY_ASSIGN(const std::optional<Record> record, read_record(api, options.name_space));
    if (!record) {
        say("Nothing is installed in namespace " + options.name_space + ".");
        return options.delete_crds ? delete_crds(api, say) : Status{};
    }
    std::vector<Json> objects = record->objects;
    std::ranges::reverse(objects);
    const Json agents_reference = reference("apps/v1", "DaemonSet", options.name_space, "cilium");
    const auto agents = get_object(api, agents_reference);
    // The programs first, then what they are configured by; the nodes are cleaned in between, as that needs the latter.
    const auto is_program = [](const Json& object) {
        const std::string kind = object.value("kind", std::string());
        return kind == "DaemonSet" || kind == "Deployment";
    };
    const auto rest = std::ranges::stable_partition(objects, is_program).begin();
    const std::vector<Json> programs(objects.begin(), rest);
    for (const Json& object : programs) {
        TRY(delete_object(api, object));
        say("🔥 " + object_title(object) + " deleted");
    }
    if (options.wait || options.clean_nodes) TRY(wait_until_gone(api, programs, options.wait_duration, say));
    if (options.clean_nodes && agents) TRY(clean_nodes(api, *agents, options, say));
    for (auto object = rest; object != objects.end(); ++object) {
        TRY(delete_object(api, *object));
        say("🔥 " + object_title(*object) + " deleted");
    }
    if (options.delete_crds) TRY(delete_crds(api, say));
    if (options.wait) TRY(wait_until_gone(api, objects, options.wait_duration, say));
    TRY(delete_object(api, record_object(options.name_space, {})));
    say("✅ Axoneme is uninstalled" +
        std::string(options.delete_crds ? ""
                                        : "; the CustomResourceDefinitions and their objects stay (--delete-crds)"));
    return {};
}

}  // namespace axo::cli::install
