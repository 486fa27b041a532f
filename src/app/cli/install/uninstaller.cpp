#include <algorithm>

#include "app/cli/install/installer.h"
#include "app/cli/install/record.h"

namespace axo::cli::install {

namespace {

Status remove(Api& api, const Json& object, const Say& say) {
    TRY(delete_object(api, object));
    say("🔥 " + object_title(object) + " deleted");
    return {};
}

Json cleaner_reference(const std::string& space) {
    return reference("apps/v1", "DaemonSet", space, "axoneme-cleanup");
}

// Runs on every node where agents ran, and goes again. Without agents one of an uninstall that was interrupted is
// waited for.
Status clean_nodes(Api& api, const Result<Json>& agents, const UninstallOptions& options, const Say& say) {
    const Json cleaner = cleaner_reference(options.name_space);
    std::int64_t wanted = 1;
    if (agents) {
        wanted = agents->value("/status/desiredNumberScheduled"_json_pointer, std::int64_t{0});
        const auto made = apply_object(api, cleanup_daemon_set(*agents));
        if (!made) return forward_error(made.error());
    } else if (const auto present = get_object(api, cleaner); !present) {
        if (present.error().code != Code::kNotFound) return forward_error(present.error());
        say("⚠️  The agents' DaemonSet was gone already: nodes are cleaned by `axoneme cleanup` on each of them");
        return {};
    }
    say("🧹 Taking away what agents put on the nodes");
    const Status cleaned = wait_for(options.timeout, say, [&]() -> Result<std::string> {
        TRY_ASSIGN(const Json now, get_object(api, cleaner));
        // A cluster whose nodes have all gone has none to clean.
        return wanted == 0 ? std::string() : rollout_problem(now);
    });
    TRY(delete_object(api, cleaner));
    TRY(wait_until_gone(api, {cleaner}, options.timeout, say));
    if (cleaned) return {};
    return fail(cleaned.error().code,
                "cleaning the nodes: " + cleaned.error().message +
                    "; run `axoneme cleanup` on the nodes that were not, then uninstall --keep-nodes");
}

Status delete_crds(Api& api, const UninstallOptions& options, const Say& say) {
    TRY_ASSIGN(const std::vector<Json> all,
               list_objects(api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"));
    std::vector<Json> ours;
    for (const Json& crd : all) {
        if (text_at(crd, "/spec/group") != "cilium.io") continue;
        ours.push_back(
            reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", text_at(crd, "/metadata/name")));
        TRY(remove(api, ours.back(), say));
    }
    return wait_until_gone(api, ours, options.timeout, say);
}

// Somebody else's content of a namespace, "": none.
Result<std::string> others_in(Api& api, const std::string& space) {
    for (const char* kind : {"Pod", "Service", "ConfigMap", "Secret", "ServiceAccount", "Deployment", "DaemonSet"}) {
        Json any = reference(std::string_view(kind).starts_with("D") ? "apps/v1" : "v1", kind, space, "x");
        TRY_ASSIGN(const std::string path, object_path(any));
        TRY_ASSIGN(const std::vector<Json> items, list_objects(api, path.substr(0, path.rfind('/'))));
        for (const Json& item : items) {
            // Kubernetes' own, in every namespace.
            const std::string name = text_at(item, "/metadata/name");
            if (name == "kube-root-ca.crt" || (name == "default" && any["kind"] == "ServiceAccount")) continue;
            if (item.value("type", std::string()) == "kubernetes.io/service-account-token") continue;
            any["metadata"]["name"] = name;
            return object_title(any);
        }
    }
    return std::string();
}

Status remove_namespace(Api& api, const UninstallOptions& options, const Say& say) {
    TRY_ASSIGN(const std::string other, others_in(api, options.name_space));
    if (!other.empty()) {
        say("ℹ️  Namespace " + options.name_space + " stays: it holds " + other);
        return {};
    }
    const Json object = reference("v1", "Namespace", "", options.name_space);
    TRY(remove(api, object, say));
    return wait_until_gone(api, {object}, options.timeout, say);
}

}  // namespace

Json cleanup_daemon_set(const Json& agents) {
    Json set = cleaner_reference(text_at(agents, "/metadata/namespace"));
    const Json labels{{"k8s-app", "axoneme-cleanup"}};
    Json pod = agents.at("/spec/template/spec"_json_pointer);
    Json container = pod.at("containers").at(0);
    for (const char* part : {"startupProbe", "livenessProbe", "readinessProbe", "ports", "lifecycle"})
        container.erase(part);
    // The node's own directory of network namespaces is none of ours; a mount of it could not be removed.
    std::erase_if(container["volumeMounts"].get_ref<Json::array_t&>(),
                  [](const Json& mount) { return mount.value("mountPath", std::string()) == "/var/run/cilium/netns"; });
    Json steps = Json::array();
    // What the init containers put on the node is known by their own arguments.
    for (Json undo : pod.value("initContainers", Json::array())) {
        if (text_at(undo, "/command/1") != "prepare-node") continue;
        undo["name"] = "undo-prepare-node";
        undo["args"].push_back("--undo");
        steps.push_back(std::move(undo));
    }
    container["name"] = "cleanup";
    container["command"] = {"/usr/bin/cilium-agent", "cleanup"};
    container["args"] = {"--force", "--all-state", "--cni-conf-dir=/host/etc/cni/net.d",
                         "--config-dir=/tmp/cilium/config-map"};
    steps.insert(steps.begin(), container);
    Json rest = container;
    rest["name"] = "done";
    rest["command"] = {"/usr/bin/cilium-agent", "pause"};
    rest.erase("args");
    rest.erase("volumeMounts");
    pod["initContainers"] = std::move(steps);
    pod["containers"] = Json::array({std::move(rest)});
    pod["terminationGracePeriodSeconds"] = 1;
    // The agents' account goes with the rest.
    pod.erase("serviceAccountName");
    pod.erase("serviceAccount");
    pod["automountServiceAccountToken"] = false;
    set["metadata"]["labels"] = labels;
    set["spec"] = {{"selector", {{"matchLabels", labels}}},
                   {"template", {{"metadata", {{"labels", labels}}}, {"spec", std::move(pod)}}}};
    return set;
}

Status run_uninstall(Api& api, const UninstallOptions& options, const Say& say) {
    TRY_ASSIGN(const std::optional<Record> record, read_record(api, options.name_space));
    if (!record) {
        say("ℹ️  Nothing was installed in namespace " + options.name_space + " by this command");
        return options.delete_crds ? delete_crds(api, options, say) : Status{};
    }
    std::vector<Json> objects = record->objects;
    std::ranges::reverse(objects);
    const auto agents = get_object(api, reference("apps/v1", "DaemonSet", options.name_space, "cilium"));
    if (!agents && agents.error().code != Code::kNotFound) return forward_error(agents.error());
    // The programs first, then what they are configured by; nodes are cleaned in between, as that needs the latter.
    const auto is_program = [](const Json& object) {
        const std::string kind = object.value("kind", std::string());
        return kind == "DaemonSet" || kind == "Deployment";
    };
    const auto rest = std::ranges::stable_partition(objects, is_program).begin();
    const std::vector<Json> programs(objects.begin(), rest);
    for (const Json& object : programs) TRY(remove(api, object, say));
    TRY(wait_until_gone(api, programs, options.timeout, say));
    if (options.clean_nodes) TRY(clean_nodes(api, agents, options, say));
    TRY(delete_object(api, cleaner_reference(options.name_space)));
    for (auto object = rest; object != objects.end(); ++object) TRY(remove(api, *object, say));
    // What the operators elect their leader with.
    objects.push_back(
        reference("coordination.k8s.io/v1", "Lease", options.name_space, "cilium-operator-resource-lock"));
    TRY(remove(api, objects.back(), say));
    if (options.delete_crds) TRY(delete_crds(api, options, say));
    TRY(wait_until_gone(api, objects, options.timeout, say));
    TRY(delete_object(api, record_object(options.name_space, {})));
    if (record->made_namespace) TRY(remove_namespace(api, options, say));
    say("✅ Axoneme is uninstalled" +
        std::string(options.delete_crds ? ""
                                        : "; the CustomResourceDefinitions and their objects stay (--delete-crds)"));
    return {};
}

}  // namespace axo::cli::install
