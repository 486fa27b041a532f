#include "app/cli/install/cluster_status.h"

#include <algorithm>
#include <set>

#include "app/cli/install/installer.h"
#include "app/cli/output/tab_writer.h"

namespace axo::cli::install {

namespace {

struct Program {
    const char *kind, *name, *selector, *title;
    bool needed;
};
// In the order of the banner. Those that are not needed are of a Cilium beside us, or of later versions.
constexpr Program kPrograms[] = {
    {"DaemonSet", "cilium", "k8s-app=cilium", "Cilium", true},
    {"Deployment", "cilium-operator", "name=cilium-operator", "Operator", true},
    {"DaemonSet", "cilium-envoy", "k8s-app=cilium-envoy", "Envoy DaemonSet", false},
    {"Deployment", "hubble-relay", "k8s-app=hubble-relay", "Hubble Relay", false},
    {"Deployment", "clustermesh-apiserver", "k8s-app=clustermesh-apiserver", "ClusterMesh", false},
};

std::int64_t number_at(const Json& object, const char* pointer) {
    return object.value(Json::json_pointer(pointer), std::int64_t{0});
}

// What its last end has to say.
std::string last_words(const Json& terminated) {
    std::string words = terminated.value("reason", std::string("unknown")) + ", status " +
                        std::to_string(terminated.value("exitCode", std::int64_t{0}));
    std::string message = terminated.value("message", std::string());
    while (message.ends_with('\n')) message.pop_back();
    // A preflight's findings are lines to be read; of a log the end is enough.
    constexpr std::size_t kShort = 1500;
    if (!message.empty())
        words += ": " + (message.size() <= kShort && message.starts_with("error: ")
                             ? message
                             : message.substr(message.rfind('\n') + 1));
    return words;
}

void read_container(const std::string& pod, const Json& container, ProgramStatus& status) {
    const std::string who = "container " + container.value("name", std::string()) + ": ";
    const Json last = container.value("/lastState/terminated"_json_pointer, Json::object());
    const Json waiting = container.value("/state/waiting"_json_pointer, Json::object());
    const std::string reason = waiting.value("reason", std::string());
    if (!reason.empty() && reason != "PodInitializing" && reason != "ContainerCreating") {
        std::string text = who + reason + ": " + waiting.value("message", std::string());
        if (!last.empty()) text += "; its last end: " + last_words(last);
        status.errors.push_back({pod, std::move(text)});
        return;
    }
    const Json ended = container.value("/state/terminated"_json_pointer, Json::object());
    if (ended.value("exitCode", std::int64_t{0}) != 0)
        status.errors.push_back({pod, who + "ended: " + last_words(ended)});
    if (const auto restarts = container.value("restartCount", std::int64_t{0}); restarts > 0)
        status.warnings.push_back(
            {pod, who + "restarted " + std::to_string(restarts) + " times; its last end: " + last_words(last)});
}

void read_pod(const Json& pod, ProgramStatus& status) {
    const std::string name = text_at(pod, "/metadata/name");
    const std::string phase = text_at(pod, "/status/phase");
    ++status.phases[phase.empty() ? "Pending" : phase];
    for (const Json& container : pod.value("/spec/containers"_json_pointer, Json::array()))
        ++status.images[container.value("image", std::string())];
    for (const char* list : {"/status/initContainerStatuses", "/status/containerStatuses"}) {
        for (const Json& container : pod.value(Json::json_pointer(list), Json::array()))
            read_container(name, container, status);
    }
    for (const Json& condition : pod.value("/status/conditions"_json_pointer, Json::array())) {
        if (condition.value("type", std::string()) == "PodScheduled" &&
            condition.value("status", std::string()) == "False")
            status.errors.push_back({name, "not scheduled: " + condition.value("message", std::string())});
    }
}

Result<ProgramStatus> read_program(Api& api, const Program& program, const std::string& space) {
    ProgramStatus status{.kind = program.kind, .name = program.name, .title = program.title, .needed = program.needed};
    const auto object = get_object(api, reference("apps/v1", program.kind, space, program.name));
    if (!object && object.error().code != Code::kNotFound) return forward_error(object.error());
    if (!object) {
        if (program.needed)
            status.errors.push_back(
                {program.name, std::string(program.kind) + " " + space + "/" + program.name + " does not exist"});
        return status;
    }
    const bool daemons = std::string_view(program.kind) == "DaemonSet";
    status.present = true;
    status.desired =
        daemons ? number_at(*object, "/status/desiredNumberScheduled") : number_at(*object, "/spec/replicas");
    status.ready = number_at(*object, daemons ? "/status/numberReady" : "/status/readyReplicas");
    status.available = number_at(*object, daemons ? "/status/numberAvailable" : "/status/availableReplicas");
    if (const std::string problem = rollout_problem(*object); !problem.empty())
        status.errors.push_back({program.name, problem});
    TRY_ASSIGN(const std::vector<Json> pods,
               list_objects(api, "/api/v1/namespaces/" + space + "/pods", program.selector));
    for (const Json& pod : pods) read_pod(pod, status);
    return status;
}

// Pods of the pod network that run, and how many of them have a CiliumEndpoint.
Status count_pods(Api& api, ClusterStatus& status) {
    TRY_ASSIGN(const std::vector<Json> pods, list_objects(api, "/api/v1/pods"));
    const auto endpoints = list_objects(api, "/apis/cilium.io/v2/ciliumendpoints");
    if (!endpoints && endpoints.error().code != Code::kNotFound) return forward_error(endpoints.error());
    std::set<std::string> managed;
    for (const Json& endpoint : endpoints ? *endpoints : std::vector<Json>{})
        managed.insert(text_at(endpoint, "/metadata/namespace") + "/" + text_at(endpoint, "/metadata/name"));
    for (const Json& pod : pods) {
        const std::string phase = text_at(pod, "/status/phase");
        if (pod.value("/spec/hostNetwork"_json_pointer, false) || phase == "Succeeded" || phase == "Failed") continue;
        ++status.pods;
        status.managed_pods +=
            managed.contains(text_at(pod, "/metadata/namespace") + "/" + text_at(pod, "/metadata/name"));
    }
    return {};
}

std::string state_of(const ProgramStatus& program) {
    if (!program.present && !program.needed)
        return program.name == "cilium-envoy" ? "disabled (using embedded mode)" : "disabled";
    std::string text;
    if (!program.errors.empty()) text = std::to_string(program.errors.size()) + " errors";
    if (!program.warnings.empty())
        text += (text.empty() ? "" : ", ") + std::to_string(program.warnings.size()) + " warnings";
    return text.empty() ? "OK" : text;
}

std::string counts_text(const std::map<std::string, int>& counts) {
    std::string text;
    for (const auto& [name, count] : counts) text += (text.empty() ? "" : ", ") + name + ": " + std::to_string(count);
    return text;
}

void add_remarks(TabWriter& table, const ClusterStatus& status, std::string title,
                 std::vector<ProgramStatus::Remark> ProgramStatus::* list) {
    for (const ProgramStatus& program : status.programs) {
        for (const auto& [who, text] : program.*list) table.row({std::exchange(title, ""), program.name, who, text});
    }
}

}  // namespace

bool ClusterStatus::ok() const {
    return std::ranges::all_of(programs, [](const ProgramStatus& program) { return program.errors.empty(); });
}

Result<ClusterStatus> read_cluster_status(Api& api, const std::string& name_space) {
    ClusterStatus status;
    for (const Program& program : kPrograms) {
        TRY_ASSIGN(ProgramStatus one, read_program(api, program, name_space));
        status.programs.push_back(std::move(one));
    }
    TRY(count_pods(api, status));
    TRY_ASSIGN(status.chart_version, installed_version(api, name_space));
    return status;
}

std::string cluster_status_text(const ClusterStatus& status) {
    constexpr const char* kBanner[] = {" /¯¯\\__/¯¯\\", " \\__/¯¯\\__/", " /¯¯\\__/¯¯\\", " \\__/¯¯\\__/", "    \\__/"};
    TabWriter banner(2, 4);
    banner << "    /¯¯\\\n";
    for (std::size_t i = 0; i < status.programs.size(); ++i)
        banner.row({kBanner[i], status.programs[i].title + ":", state_of(status.programs[i])});
    TabWriter table(2, 4);
    for (const ProgramStatus& program : status.programs) {
        if (!program.present) continue;
        const std::string desired = std::to_string(program.desired);
        table.row({program.kind, program.name,
                   "Desired: " + desired + ", Ready: " + std::to_string(program.ready) + "/" + desired +
                       ", Available: " + std::to_string(program.available) + "/" + desired});
    }
    std::string title = "Containers:";
    for (const ProgramStatus& program : status.programs)
        table.row({std::exchange(title, ""), program.name, counts_text(program.phases)});
    table.row({"Cluster Pods:",
               std::to_string(status.managed_pods) + "/" + std::to_string(status.pods) + " managed by Cilium"});
    if (!status.chart_version.empty()) table.row({"Helm chart version:", status.chart_version});
    title = "Image versions";
    for (const ProgramStatus& program : status.programs) {
        for (const auto& [image, count] : program.images)
            table.row({std::exchange(title, ""), program.name, image + ": " + std::to_string(count)});
    }
    add_remarks(table, status, "Errors:", &ProgramStatus::errors);
    add_remarks(table, status, "Warnings:", &ProgramStatus::warnings);
    return banner.str() + "\n" + table.str();
}

Json cluster_status_json(const ClusterStatus& status) {
    Json json = {{"image_count", Json::object()},
                 {"phase_count", Json::object()},
                 {"pod_state", Json::object()},
                 {"errors", Json::object()},
                 {"pods_count", {{"All", status.pods}, {"ByCilium", status.managed_pods}}}};
    if (!status.chart_version.empty()) json["helm_chart_version"] = status.chart_version;
    for (const ProgramStatus& program : status.programs) {
        json["phase_count"][program.name] = program.phases;
        if (program.present) {
            json["image_count"][program.name] = program.images;
            json["pod_state"][program.name] = {{"Type", program.kind},
                                               {"Desired", program.desired},
                                               {"Ready", program.ready},
                                               {"Available", program.available},
                                               {"Unavailable", program.desired - program.available}};
        }
        Json& remarks = json["errors"][program.name] = Json::object();
        const auto entry = [&remarks](const std::string& who) -> Json& {
            if (!remarks.contains(who))
                remarks[who] = {{"Errors", Json::array()}, {"Warnings", Json::array()}, {"Disabled", false}};
            return remarks[who];
        };
        for (const auto& [who, text] : program.errors) entry(who)["Errors"].push_back(text);
        for (const auto& [who, text] : program.warnings) entry(who)["Warnings"].push_back(text);
        if (!program.present && !program.needed) entry(program.name)["Disabled"] = true;
    }
    return json;
}

}  // namespace axo::cli::install
