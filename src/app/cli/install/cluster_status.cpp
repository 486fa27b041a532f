#include "app/cli/install/cluster_status.h"

#include <algorithm>
#include <set>

#include "app/cli/install/installer.h"
#include "app/cli/output/tab_writer.h"

namespace axo::cli::install {

namespace {

struct Program {
    const char* kind;
    const char* name;
    const char* selector;
    const char* title;
};
constexpr Program kPrograms[] = {
    {"DaemonSet", "cilium", "k8s-app=cilium", "Cilium"},
    {"Deployment", "cilium-operator", "name=cilium-operator", "Operator"},
};

std::string text_at(const Json& object, const char* pointer) {
    return object.value(Json::json_pointer(pointer), std::string());
}
std::int64_t number_at(const Json& object, const char* pointer) {
    return object.value(Json::json_pointer(pointer), std::int64_t{0});
}

void read_pod(const Json& pod, ProgramStatus& status) {
    const std::string name = text_at(pod, "/metadata/name");
    const std::string phase = text_at(pod, "/status/phase");
    ++status.containers[phase.empty() ? "Pending" : phase];
    for (const Json& container : pod.value("/spec/containers"_json_pointer, Json::array()))
        ++status.images[container.value("image", std::string())];
    for (const char* list : {"/status/initContainerStatuses", "/status/containerStatuses"}) {
        for (const Json& container : pod.value(Json::json_pointer(list), Json::array())) {
            const std::string who = name + " (" + container.value("name", std::string()) + "): ";
            const Json waiting = container.value("/state/waiting"_json_pointer, Json::object());
            const std::string reason = waiting.value("reason", std::string());
            if (!reason.empty() && reason != "PodInitializing" && reason != "ContainerCreating")
                status.errors.push_back(who + reason + ": " + waiting.value("message", std::string()));
            if (const auto restarts = container.value("restartCount", std::int64_t{0}); restarts > 0) {
                const Json last = container.value("/lastState/terminated"_json_pointer, Json::object());
                status.warnings.push_back(who + "restarted " + std::to_string(restarts) +
                                          " times; last: " + last.value("reason", std::string("unknown")) +
                                          ", status " + std::to_string(last.value("exitCode", std::int64_t{0})));
            }
        }
    }
    for (const Json& condition : pod.value("/status/conditions"_json_pointer, Json::array())) {
        if (condition.value("type", std::string()) == "PodScheduled" &&
            condition.value("status", std::string()) == "False")
            status.errors.push_back(name + ": not scheduled: " + condition.value("message", std::string()));
    }
}

Result<ProgramStatus> read_program(Api& api, const Program& program, const std::string& space) {
    ProgramStatus status{.kind = program.kind, .name = program.name};
    const auto object = get_object(api, {{"apiVersion", "apps/v1"},
                                         {"kind", program.kind},
                                         {"metadata", {{"name", program.name}, {"namespace", space}}}});
    if (!object && object.error().code != Code::kNotFound) return forward_error(object.error());
    if (object) {
        const bool daemons = std::string_view(program.kind) == "DaemonSet";
        status.present = true;
        status.desired =
            daemons ? number_at(*object, "/status/desiredNumberScheduled") : number_at(*object, "/spec/replicas");
        status.ready = number_at(*object, daemons ? "/status/numberReady" : "/status/readyReplicas");
        status.available = number_at(*object, daemons ? "/status/numberAvailable" : "/status/availableReplicas");
        if (const std::string problem = rollout_problem(*object); !problem.empty()) status.errors.push_back(problem);
    } else {
        status.errors.push_back(std::string(program.kind) + " " + space + "/" + program.name + " does not exist");
    }
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
    if (!program.errors.empty()) return std::to_string(program.errors.size()) + " errors";
    return program.warnings.empty() ? "OK" : std::to_string(program.warnings.size()) + " warnings";
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
    return status;
}

std::string cluster_status_text(const ClusterStatus& status) {
    std::string text;
    TabWriter banner(2, 4);
    banner << "    /¯¯\\\n /¯¯\\__/¯¯\\\tCilium:\t" + state_of(status.programs[0]) + "\n";
    banner << " \\__/¯¯\\__/\tOperator:\t" + state_of(status.programs[1]) + "\n";
    banner << " /¯¯\\__/¯¯\\\tEnvoy DaemonSet:\tdisabled (using embedded mode)\n";
    banner << " \\__/¯¯\\__/\tHubble Relay:\tdisabled\n    \\__/\tClusterMesh:\tdisabled\n";
    text += banner.str() + "\n";
    TabWriter table;
    for (const ProgramStatus& program : status.programs) {
        if (!program.present) continue;
        const std::string desired = std::to_string(program.desired);
        table.row({program.kind, program.name,
                   "Desired: " + desired + ", Ready: " + std::to_string(program.ready) + "/" + desired +
                       ", Available: " + std::to_string(program.available) + "/" + desired});
    }
    std::string title = "Containers:";
    for (const ProgramStatus& program : status.programs) {
        std::string states;
        for (const auto& [state, count] : program.containers)
            states += (states.empty() ? "" : ", ") + state + ": " + std::to_string(count);
        table.row({std::exchange(title, ""), program.name, states.empty() ? "none" : states});
    }
    table.row({"Cluster Pods:",
               std::to_string(status.managed_pods) + "/" + std::to_string(status.pods) + " managed by Cilium"});
    title = "Image versions";
    for (const ProgramStatus& program : status.programs) {
        for (const auto& [image, count] : program.images)
            table.row({std::exchange(title, ""), program.name, image + ": " + std::to_string(count)});
    }
    for (const auto& [name, list] :
         {std::pair{"Errors:", &ProgramStatus::errors}, std::pair{"Warnings:", &ProgramStatus::warnings}}) {
        title = name;
        for (const ProgramStatus& program : status.programs) {
            for (const std::string& one : program.*list) table.row({std::exchange(title, ""), program.name, one});
        }
    }
    return text + table.str();
}

Json cluster_status_json(const ClusterStatus& status) {
    Json programs = Json::array();
    for (const ProgramStatus& program : status.programs)
        programs.push_back({{"kind", program.kind},
                            {"name", program.name},
                            {"present", program.present},
                            {"desired", program.desired},
                            {"ready", program.ready},
                            {"available", program.available},
                            {"pods", program.containers},
                            {"images", program.images},
                            {"errors", program.errors},
                            {"warnings", program.warnings}});
    return {{"ok", status.ok()},
            {"programs", std::move(programs)},
            {"cluster-pods", {{"all", status.pods}, {"managed", status.managed_pods}}}};
}

}  // namespace axo::cli::install
