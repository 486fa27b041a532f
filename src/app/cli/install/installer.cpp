#include "app/cli/install/installer.h"

#include <algorithm>
#include <thread>

#include "app/cli/install/record.h"
#include "model/yaml.h"

namespace axo::cli::install {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPause = std::chrono::milliseconds(500);

bool same_object(const Json& a, const Json& b) {
    return reference_to(a) == reference_to(b);
}

bool contains(const std::vector<Json>& objects, const Json& wanted) {
    return std::ranges::any_of(objects, [&wanted](const Json& one) { return same_object(one, wanted); });
}

// Somebody else's objects of our names are not overwritten.
Status refuse_what_is_there(Api& api, const std::vector<Json>& objects) {
    std::string present;
    for (const Json& object : objects) {
        const auto found = get_object(api, object);
        if (!found && found.error().code != Code::kNotFound) return forward_error(found.error());
        if (!found) continue;
        const std::string by = text_at(*found, "/metadata/labels/app.kubernetes.io~1managed-by");
        present += "\n  " + object_title(object) + (by.empty() ? "" : " (managed by " + by + ")");
    }
    if (present.empty()) return {};
    return fail(Code::kAlreadyExists,
                "these are there already, and were not made by this command: Cilium, or Axoneme installed another way. "
                "Remove them the way they were installed (helm uninstall, kubectl delete), or go on with that way:" +
                    present);
}

// What a cluster without kube-proxy needs, where nothing is said about it.
Result<Json> values_without_kube_proxy(Api& api, const Json& given) {
    for (const char* name : {"kubeProxyReplacement", "k8sServiceHost", "kubeConfigPath"}) {
        if (given.contains(name)) return Json::object();
    }
    const auto [host, port] = api.host_and_port();
    if (host.empty() || host == "localhost" || host.starts_with("127.") || host == "::1") return Json::object();
    TRY_ASSIGN(const std::vector<Json> proxies,
               list_objects(api, "/api/v1/namespaces/kube-system/pods", "k8s-app=kube-proxy"));
    const auto daemons = get_object(api, reference("apps/v1", "DaemonSet", "kube-system", "kube-proxy"));
    if (!daemons && daemons.error().code != Code::kNotFound) return forward_error(daemons.error());
    if (daemons || !proxies.empty()) return Json::object();
    return Json{{"kubeProxyReplacement", true}, {"k8sServiceHost", host}, {"k8sServicePort", port}};
}

struct Plan {
    std::optional<Record> before;
    Json values;
    bool found_no_kube_proxy = false;
    helm::Rendered rendered;
};

helm::Engine::Lookup lookup_in(Api& api) {
    return
        [&api](const std::string& version, const std::string& kind, const std::string& space, const std::string& name) {
            const auto found = get_object(api, reference(version, kind, space, name));
            return found ? helm::Value::from_json(*found) : helm::Value(helm::Object{});
        };
}

Result<Plan> make_plan(Api& api, const InstallOptions& options) {
    Plan plan;
    TRY_ASSIGN(const std::string kubernetes, server_version(api));
    TRY_ASSIGN(plan.before, read_record(api, options.name_space));
    if (plan.before && !options.upgrade)
        return fail(Code::kAlreadyExists, "Axoneme is installed in namespace " + options.name_space +
                                              " already (or was begun to be): use upgrade, or uninstall first");
    if (!plan.before && options.upgrade)
        return fail(Code::kNotFound, "nothing was installed in namespace " + options.name_space +
                                         " by this command: use install; what Helm installed, Helm upgrades");
    plan.values = options.upgrade && !options.reset_values ? plan.before->values : Json::object();
    if (!options.upgrade) {
        TRY_ASSIGN(plan.values, values_without_kube_proxy(api, options.values));
        plan.found_no_kube_proxy = !plan.values.empty();
    }
    helm::overlay(plan.values, options.values);
    const helm::Release release{
        .name_space = options.name_space, .upgrade = options.upgrade, .kubernetes_version = kubernetes};
    TRY_ASSIGN(plan.rendered, helm::render(helm::embedded_chart(), release, plan.values, lookup_in(api)));
    return plan;
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

// The namespace, if there is none; whether it was made, now or at an earlier time.
Result<bool> ensure_namespace(Api& api, const std::string& name, bool made_before) {
    const Json object = reference("v1", "Namespace", "", name);
    const auto present = get_object(api, object);
    if (present) return made_before;
    if (present.error().code != Code::kNotFound) return forward_error(present.error());
    const auto made = apply_object(api, object);
    if (!made) return forward_error(made.error());
    return true;
}

}  // namespace

Status wait_for(std::chrono::seconds limit, const Say& say, const std::function<Result<std::string>()>& problem) {
    const auto end = Clock::now() + limit;
    std::string told;
    for (;;) {
        const auto now = problem();
        const std::string text = now ? *now : now.error().message;
        if (now && text.empty()) return {};
        if (text != told) say("⌛ " + text);
        told = text;
        if (Clock::now() >= end)
            return fail(Code::kDeadlineExceeded, "not after " + std::to_string(limit.count()) + " s: " + text);
        std::this_thread::sleep_for(kPause);
    }
}

Status wait_until_gone(Api& api, const std::vector<Json>& objects, std::chrono::seconds limit, const Say& say) {
    return wait_for(limit, say, [&]() -> Result<std::string> {
        for (const Json& object : objects) {
            const auto now = get_object(api, object);
            if (now) return object_title(object) + " is not gone yet";
            if (now.error().code != Code::kNotFound) return forward_error(now.error());
        }
        return std::string();
    });
}

std::string rollout_problem(const Json& object) {
    const auto number = [&object](const char* pointer) {
        return object.value(Json::json_pointer(pointer), std::int64_t{0});
    };
    const std::string title = object_title(object);
    if (number("/status/observedGeneration") < number("/metadata/generation"))
        return title + ": its controller has not noticed its change yet";
    const bool daemons = object.value("kind", std::string()) == "DaemonSet";
    const std::int64_t wanted = daemons ? number("/status/desiredNumberScheduled")
                                        : object.value("/spec/replicas"_json_pointer, std::int64_t{1});
    const std::int64_t updated = number(daemons ? "/status/updatedNumberScheduled" : "/status/updatedReplicas");
    const std::int64_t ready = number(daemons ? "/status/numberReady" : "/status/readyReplicas");
    const std::int64_t available = number(daemons ? "/status/numberAvailable" : "/status/availableReplicas");
    if (daemons && wanted == 0) return title + ": no node has a pod of it yet";
    const std::string of = " of " + std::to_string(wanted) + " pods are ";
    if (updated < wanted) return title + ": " + std::to_string(updated) + of + "of the new version";
    if (ready < wanted || available < wanted)
        return title + ": " + std::to_string(ready) + of + "ready, " + std::to_string(available) + " available";
    return "";
}

Result<std::string> own_version() {
    TRY_ASSIGN(const Json metadata, parse_yaml(helm::embedded_chart().at("Chart.yaml")));
    return metadata.value("version", std::string());
}

Result<std::string> installed_version(Api& api, const std::string& name_space) {
    TRY_ASSIGN(const std::optional<Record> record, read_record(api, name_space));
    return record ? record->version : std::string();
}

Result<helm::Rendered> render_installation(Api& api, const InstallOptions& options) {
    TRY_ASSIGN(Plan plan, make_plan(api, options));
    return std::move(plan.rendered);
}

Result<helm::Rendered> render_offline(const InstallOptions& options, const std::string& kubernetes_version) {
    const helm::Release release{
        .name_space = options.name_space, .upgrade = options.upgrade, .kubernetes_version = kubernetes_version};
    return helm::render(helm::embedded_chart(), release, options.values);
}

Status run_install(Api& api, const InstallOptions& options, const Say& say) {
    TRY_ASSIGN(const Plan plan, make_plan(api, options));
    say("ℹ️  API server " + api.server());
    for (const std::string& concern : api.concerns()) say("⚠️  " + concern);
    if (plan.found_no_kube_proxy)
        say("🔮 No kube-proxy was found: kubeProxyReplacement=true, k8sServiceHost=" +
            plan.values.value("k8sServiceHost", std::string()) + " (the kubeconfig's server)");
    TRY_ASSIGN(const std::vector<Json> objects, helm::manifest_objects(plan.rendered));
    Record record{.values = plan.values, .made_namespace = plan.before && plan.before->made_namespace};
    TRY_ASSIGN(record.version, own_version());
    for (const Json& object : objects) record.objects.push_back(reference_to(object));
    if (!plan.before) TRY(refuse_what_is_there(api, objects));
    TRY_ASSIGN(record.made_namespace, ensure_namespace(api, options.name_space, record.made_namespace));
    // What is not wanted any more is still known until it is gone.
    Record wider = record;
    for (const Json& object : plan.before ? plan.before->objects : std::vector<Json>{}) {
        if (!contains(objects, object)) wider.objects.push_back(object);
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

}  // namespace axo::cli::install
