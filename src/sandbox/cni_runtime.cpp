#include "sandbox/cni_runtime.h"

#include "base/file.h"
#include "sandbox/process.h"

namespace axo::sandbox {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

// The kubelet's own limit for a sandbox is two minutes; the plugin gives up well before.
constexpr auto kPluginLimit = std::chrono::seconds(60);

Error plugin_error(const std::string& type, const std::string& command, const Output& output) {
    const std::string head = type + " " + command + " failed: ";
    const Json json = Json::parse(output.out, nullptr, false);
    if (!json.is_object() || !json.contains("msg")) {
        return {Code::kInternal,
                head + "exit status " + std::to_string(output.exit_status) + ": " + output.out + output.err, 0};
    }
    const std::string details = json.value("details", "");
    return {Code::kInternal,
            head + "code " + std::to_string(json.value("code", 0)) + ": " + json.value("msg", "") +
                (details.empty() ? "" : " (" + details + ")"),
            0};
}

Result<Json> call_plugin(const std::string& command, const Json& configuration, const CniAttachment& attachment,
                         const CniPlace& place) {
    const std::string type = configuration.value("type", "");
    Command process;
    process.argv = {(place.plugin_dir / type).string()};
    process.environment = {
        "CNI_COMMAND=" + command,
        "CNI_CONTAINERID=" + attachment.container_id,
        "CNI_NETNS=" + attachment.netns,
        "CNI_IFNAME=" + attachment.interface,
        "CNI_PATH=" + place.plugin_dir.string(),
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=" + attachment.name_space + ";K8S_POD_NAME=" + attachment.pod +
            ";K8S_POD_INFRA_CONTAINER_ID=" + attachment.container_id + ";K8S_POD_UID=" + attachment.uid,
    };
    TRY_ASSIGN(const Output output, run_captured(process, configuration.dump(), kPluginLimit));
    if (output.exit_status != 0) return forward_error(plugin_error(type, command, output));
    if (command != "ADD") return Json();
    Json result = Json::parse(output.out, nullptr, false);
    if (!result.is_object()) return fail(Code::kInternal, type + " ADD printed no result: " + output.out);
    return result;
}

}  // namespace

Result<Json> read_cni_configuration(const fs::path& conf_dir) {
    std::vector<fs::path> files;
    std::error_code error;
    for (auto entry = fs::directory_iterator(conf_dir, error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
        const std::string extension = entry->path().extension();
        if (extension == ".conflist" || extension == ".conf" || extension == ".json") files.push_back(entry->path());
    }
    std::ranges::sort(files);
    for (const auto& file : files) {
        TRY_ASSIGN(const std::string text, read_file(file));
        Json json = Json::parse(text, nullptr, false);
        if (!json.is_object()) continue;
        if (json.contains("plugins") && json["plugins"].is_array() && !json["plugins"].empty()) return json;
        if (json.contains("type"))
            return Json{{"cniVersion", json.value("cniVersion", "0.2.0")},
                        {"name", json.value("name", "")},
                        {"plugins", {json}}};
    }
    return fail(Code::kNotFound,
                "no network configuration in " + conf_dir.string() + ": the agent writes it when it is ready");
}

Result<CniOutcome> cni_call(const std::string& command, const CniAttachment& attachment, const CniPlace& place) {
    TRY_ASSIGN(const Json list, read_cni_configuration(place.conf_dir));
    std::vector<Json> plugins = list["plugins"].get<std::vector<Json>>();
    if (command == "DEL") std::ranges::reverse(plugins);
    CniOutcome outcome;
    Json previous = attachment.previous_result;
    for (Json& plugin : plugins) {
        plugin["cniVersion"] = list.value("cniVersion", "");
        plugin["name"] = list.value("name", "");
        if (previous.is_object()) plugin["prevResult"] = previous;
        const auto start = Clock::now();
        auto result = call_plugin(command, plugin, attachment, place);
        outcome.duration += std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
        if (!result) return forward_error(result.error());
        if (command == "ADD") previous = outcome.result = std::move(*result);
    }
    return outcome;
}

}  // namespace axo::sandbox
