#include "app/agent/cni_conf.h"

#include <sys/inotify.h>
#include <unistd.h>

#include "app/agent/cni_conf_path.h"
#include "base/file.h"
#include "model/json.h"

namespace axo {

std::string cni_conflist(bool debug, const std::string& log_file) {
    nlohmann::ordered_json plugin{{"type", "cilium-cni"}, {"enable-debug", debug}, {"log-file", log_file}};
    nlohmann::ordered_json conflist{
        {"cniVersion", "0.3.1"}, {"name", "cilium"}, {"plugins", nlohmann::ordered_json::array({plugin})}};
    return conflist.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

CniConf::CniConf(EventLoop& loop, ControllerRegistry& registry, CniConfSettings settings)
    : loop_(loop),
      settings_(std::move(settings)),
      controller_(loop, registry, "write-cni-file", [this] { return reconcile(); }, std::chrono::minutes(5)) {
    settings_.file = cni_conf_path(settings_.file);
    controller_.trigger();
}

void CniConf::watch_directory() {
    if (inotify_) return;
    Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify || ::inotify_add_watch(inotify.get(), settings_.file.parent_path().c_str(),
                                        IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) < 0)
        return;
    inotify_ = std::move(inotify);
    readable_ = loop_.on_readable(inotify_.get(), [this] {
        char events[4096];
        while (::read(inotify_.get(), events, sizeof(events)) > 0) {
        }
        controller_.trigger();
    });
}

Status CniConf::set_others_aside() {
    std::error_code error;
    std::vector<std::filesystem::path> others;
    for (const auto& entry : std::filesystem::directory_iterator(settings_.file.parent_path(), error)) {
        const std::filesystem::path path = entry.path();
        const std::string extension = path.extension();
        if (path == settings_.file || path.filename().string().starts_with(".")) continue;
        if (extension == ".conf" || extension == ".conflist" || extension == ".json") others.push_back(path);
    }
    for (const auto& path : others) {
        std::filesystem::rename(path, path.string() + ".cilium_bak", error);
        if (error) return fail_errno("rename " + path.string(), error.value());
        log_.info("Set another CNI configuration aside",
                  {{"path", path.string()}, {"newPath", path.string() + ".cilium_bak"}});
    }
    return {};
}

Status CniConf::reconcile() {
    const auto failed = [this](Error error) -> Status {
        ok_ = false;
        message_ = "failed to write CNI configuration file to " + settings_.file.string() + ": " + error.message;
        return forward_error(std::move(error));
    };
    std::string wanted = cni_conflist(settings_.debug, settings_.log_file);
    if (!settings_.custom.empty()) {
        auto custom = read_file(settings_.custom);
        if (!custom) return failed(std::move(custom).error().with_context("read-cni-conf"));
        if (!Json::accept(*custom))
            return failed(
                Error{Code::kInvalidArgument, "read-cni-conf=" + settings_.custom.string() + ": not valid JSON", 0});
        wanted = std::move(*custom);
    }
    if (auto made = make_directories(settings_.file.parent_path()); !made) return failed(std::move(made).error());
    watch_directory();
    const auto present = read_file(settings_.file);
    if (!present || *present != wanted) {
        if (auto written = write_atomic(settings_.file, wanted, 0600); !written)
            return failed(std::move(written).error());
        log_.info("Wrote CNI configuration file", {{"path", settings_.file.string()}});
    }
    if (settings_.exclusive) {
        if (auto done = set_others_aside(); !done) return failed(std::move(done).error());
    }
    ok_ = true;
    message_ = "successfully wrote CNI configuration file to " + settings_.file.string();
    return {};
}

}  // namespace axo
