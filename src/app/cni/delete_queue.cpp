#include "app/cni/delete_queue.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <thread>

#include "base/file.h"
#include "base/sha256.h"

namespace axo::cni {

Result<DeleteQueue> DeleteQueue::lock(const std::string& run_directory, std::chrono::milliseconds patience) {
    const std::string directory = run_directory + "/deleteQueue";
    TRY(make_directories(directory));
    const std::string path = directory + "/lockfile";
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!file) return fail_errno("open " + path);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (::flock(file.get(), LOCK_SH | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno("flock " + path);
        if (std::chrono::steady_clock::now() >= deadline) {
            return fail(Code::kDeadlineExceeded,
                        "flock " + path + ": the agent holds it and has not finished replaying");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return DeleteQueue(directory, std::move(file));
}

std::string DeleteQueue::path_of(const std::string& content) const {
    return directory_ + "/" + sha256_hex(content) + ".delete";
}

Status DeleteQueue::add(const std::string& content) {
    const std::string path = path_of(content);
    std::error_code error;
    if (std::filesystem::exists(path, error)) return {};
    std::size_t entries = 0;
    for (auto it = std::filesystem::directory_iterator(directory_, error);
         !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
        if (it->path().extension() == ".delete") ++entries;
    }
    if (error) return fail_errno("read " + directory_, error.value());
    if (entries >= kMaxEntries) {
        return fail(Code::kResourceExhausted, "delete queue " + directory_ + " holds " + std::to_string(entries) +
                                                  " entries, the most it takes; start the agent, which empties it");
    }
    return write_atomic(path, content);
}

}  // namespace axo::cni
