#include <algorithm>

#include "app/agent/cleanup/parts.h"
#include "app/agent/node_record.h"
#include "base/file.h"
#include "datapath/devices.h"
#include "datapath/pins.h"
#include "features/endpoint/state_file.h"
#include "features/nat/removal.h"
#include "features/routing/own_routes.h"
#include "model/json.h"

namespace axo {

namespace cleanup {

namespace fs = std::filesystem;

bool is_pod_device(const Link& link) {
    // As the CNI plugin names them: "lxc" and 12 digits; while an ADD is under way "tmp" and as many.
    const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    return link.kind == "veth" && link.name.size() == 15 &&
           (link.name.starts_with("lxc") || link.name.starts_with("tmp")) &&
           std::ranges::all_of(link.name.substr(3), hex);
}

std::vector<fs::path> own_conflists(const fs::path& directory) {
    std::vector<fs::path> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
        const std::string extension = entry.path().extension();
        if (extension != ".conf" && extension != ".conflist" && extension != ".json") continue;
        const auto text = read_file(entry.path());
        const Json json = text ? Json::parse(*text, nullptr, false) : Json();
        if (!json.is_object()) continue;
        // A chain that only ends in our plugin is somebody's arrangement, but it does not work without us either.
        const Json plugins = json.contains("plugins") ? json["plugins"] : Json::array({json});
        if (!plugins.is_array()) continue;
        const bool ours = std::ranges::any_of(plugins, [](const Json& plugin) {
            return plugin.is_object() && plugin.contains("type") && plugin["type"] == "cilium-cni";
        });
        if (ours) found.push_back(entry.path());
    }
    std::ranges::sort(found);
    return found;
}

std::vector<fs::path> set_aside(const fs::path& directory) {
    std::vector<fs::path> found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
        if (entry.path().extension() == kAsideExtension) found.push_back(entry.path());
    }
    std::ranges::sort(found);
    return found;
}

std::optional<fs::path> own_plugin(const fs::path& directory) {
    const fs::path path = directory / "cilium-cni";
    std::error_code error;
    // A link is how somebody who builds or packages it makes it known: that is not what an installation leaves.
    if (!fs::is_regular_file(fs::symlink_status(path, error))) return std::nullopt;
    const auto content = read_file(path);
    // Cilium's plugin has the same name.
    if (!content || content->find("axoneme") == std::string::npos) return std::nullopt;
    return path;
}

std::vector<fs::path> own_state(const fs::path& state_dir) {
    std::vector<fs::path> found;
    std::error_code error;
    for (const char* name : {"cilium.sock", "health.sock", "monitor1_2.sock", "hubble.sock", "cilium.pid",
                             "cilium-cni.log", "deleteQueue", "state", "netns"}) {
        if (fs::exists(fs::symlink_status(state_dir / name, error))) found.push_back(state_dir / name);
    }
    return found;
}

IfIndex host_device(const std::vector<Link>& links) {
    const auto found = std::ranges::find(links, std::string_view(kHostDevice), &Link::name);
    return found == links.end() ? IfIndex{} : found->index;
}

}  // namespace cleanup

namespace {

using namespace cleanup;

class Finder {
public:
    explicit Finder(const CleanupSettings& settings) : settings_(settings) {}

    Result<std::vector<Leftover>> run() {
        if (settings_.all_state) cni();
        for (const std::string& pin : list_pins(settings_.bpf)) add("BPF pin", pin);
        TRY(devices());
        if (!settings_.all_state) return std::move(found_);
        TRY(netfilter());
        TRY(changes());
        const fs::path health = settings_.state_dir / "netns" / "health";
        if (is_mounted(health)) add("network namespace", health);
        for (const fs::path& path : own_state(settings_.state_dir)) add("file", path);
        return std::move(found_);
    }

private:
    void add(std::string kind, std::string what, std::string note = {}) {
        found_.push_back({std::move(kind), std::move(what), std::move(note)});
    }

    void cni() {
        for (const fs::path& path : own_conflists(settings_.cni_conf_dir)) add("CNI configuration", path);
        for (const fs::path& path : set_aside(settings_.cni_conf_dir))
            add("CNI configuration", path, "gets its name back: " + path.stem().string());
        if (const auto plugin = own_plugin(settings_.cni_bin_dir)) add("CNI plugin", *plugin);
    }

    Status devices() {
        TRY_ASSIGN(Netlink netlink, Netlink::open());
        TRY_ASSIGN(const std::vector<Link> links, netlink.links());
        for (const Link& link : links) {
            if (is_base_device(link.name)) add("device", link.name);
        }
        if (!settings_.all_state) return {};
        const StoredEndpoints endpoints = read_endpoint_states(settings_.state_dir / "state");
        for (const Link& link : links) {
            if (link.name == kHealthDevice) add("device", link.name);
            if (!is_pod_device(link)) continue;
            const auto of_pod = std::ranges::find(endpoints.endpoints, link.name, &EndpointRow::interface_name);
            const bool known = of_pod != endpoints.endpoints.end() && !of_pod->k8s_pod.empty();
            add("pod's device", link.name,
                (known ? "pod " + of_pod->k8s_namespace + "/" + of_pod->k8s_pod : std::string("its pod")) +
                    " loses its network: delete it, or let it be made again under the next CNI");
        }
        TRY_ASSIGN(const auto routes,
                   list_own_routes(settings_.state_dir / "state" / "routes.json", host_device(links)));
        for (const Route& route : routes) {
            const auto device = std::ranges::find(links, route.link, &Link::index);
            add("route", route.destination.to_string() + (route.gateway ? " via " + route.gateway->to_string() : "") +
                             (device == links.end() ? "" : " dev " + device->name));
        }
        return {};
    }

    Status netfilter() {
        TRY_ASSIGN(const auto chains, nat::list_chains());
        for (const std::string& chain : chains) add("netfilter chain", chain);
        return {};
    }

    Status changes() {
        TRY_ASSIGN(const std::optional<NodeRecord> before, read_node_record(settings_.state_dir));
        if (!before) return {};
        for (const SysctlChange& change : changed_sysctls(*before, settings_.services))
            add("sysctl", change.key + " = " + change.now,
                "goes back to " + (change.before.empty() ? std::string("nothing") : change.before));
        for (const std::string& point : before->unmounted) {
            if (is_mounted(point)) add("mount", point);
        }
        return {};
    }

    const CleanupSettings& settings_;
    std::vector<Leftover> found_;
};

}  // namespace

Result<std::vector<Leftover>> find_leftovers(const CleanupSettings& settings) {
    return Finder(settings).run();
}

}  // namespace axo
