#include "app/agent/delete_queue.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "model/json.h"

namespace axo {

Result<ReplayReport> replay_delete_queue(const std::filesystem::path& state_dir,
                                         const std::function<void(const std::string&)>& remove_container) {
    ReplayReport report;
    const std::filesystem::path directory = state_dir / "deleteQueue";
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) return report;
    const Fd lock(::open((directory / "lockfile").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!lock) return fail_errno("open " + (directory / "lockfile").string());
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(Code::kUnavailable, (directory / "lockfile").string() + " is held by a CNI plugin");
    }
    const Logger log("delete-queue");
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
        if (entry.path().extension() != ".delete") continue;
        const auto text = read_file(entry.path());
        const Json json = text ? Json::parse(*text, nullptr, false) : Json();
        const std::string container =
            json.is_object() && json.contains("container-id") && json["container-id"].is_string()
                ? json["container-id"].get<std::string>()
                : "";
        if (container.empty()) {
            log.warn("Queued deletion is not readable and is dropped", {{"path", entry.path().string()}});
            ++report.malformed;
        } else {
            remove_container(container);
            ++report.replayed;
        }
        TRY(remove_file(entry.path()));
    }
    if (report.replayed + report.malformed != 0)
        log.info("Replayed queued deletions", {{"replayed", report.replayed}, {"malformed", report.malformed}});
    return report;
}

}  // namespace axo
