#include "io/store_files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/file.h"

namespace axo {
namespace {

using namespace std::chrono_literals;

constexpr auto kLockPatience = 3s;
constexpr auto kLeftoverAge = 10min;
constexpr off_t kFileLimit = 64 * 1024 * 1024;
// Hidden, so that no store reads it; inside the root, because a rename does not cross file systems.
constexpr const char* kWorkplace = ".axoneme";

Status write_all(int fd, std::string_view content) {
    while (!content.empty()) {
        const ssize_t count = ::write(fd, content.data(), content.size());
        if (count < 0) {
            if (errno == EINTR) continue;
            return fail_errno("writing");
        }
        content.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
}

}  // namespace

StoreFiles::Prepared::~Prepared() {
    if (!path_.empty()) ::unlink(path_.c_str());
}

Result<std::filesystem::path> StoreFiles::workplace() {
    auto path = root_ / kWorkplace;
    // Not make_directories: a root that has gone must not come back as an empty one.
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("mkdir " + path.string());
    if (!std::exchange(swept_, true)) {
        // What a process that was killed in mid-write has left.
        std::error_code ignored;
        const auto now = std::filesystem::file_time_type::clock::now();
        for (const auto& entry : std::filesystem::directory_iterator(path, ignored)) {
            if (!entry.path().filename().string().starts_with("write-")) continue;
            const auto written = entry.last_write_time(ignored);
            if (!ignored && now - written > kLeftoverAge) std::filesystem::remove(entry.path(), ignored);
        }
    }
    return path;
}

Result<std::string> StoreFiles::Reader::read(const std::string& path) {
    const auto slash = path.rfind('/');
    const auto directory = slash == std::string::npos ? std::string_view() : std::string_view(path).substr(0, slash);
    if (!directory_fd_ || directory != directory_) {
        directory_ = directory;
        directory_fd_ = Fd(::open((root_ + "/" + directory_).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    }
    const char* name = path.c_str() + (slash == std::string::npos ? 0 : slash + 1);
    // Not blocking: a pipe would wait for its writer.
    const Fd fd(directory_fd_ ? ::openat(directory_fd_.get(), name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1);
    if (!fd && (errno == ENOENT || errno == ENOTDIR)) return fail(Code::kNotFound, "the file has gone");
    struct stat info{};
    const bool socket = !fd && errno == ENXIO;
    if (!socket && (!fd || ::fstat(fd.get(), &info) != 0)) return fail_errno("reading");
    if (!S_ISREG(info.st_mode)) return fail(Code::kInvalidArgument, "not a regular file");
    if (info.st_size > kFileLimit)
        return fail(Code::kOutOfRange, "larger than " + std::to_string(kFileLimit >> 20) + " MiB");
    std::string content;
    content.resize(static_cast<std::size_t>(info.st_size) + 1);  // one more: who reads less has read the end
    std::size_t size = 0;
    while (size < content.size()) {
        const ssize_t count = ::read(fd.get(), content.data() + size, content.size() - size);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno("reading");
        size += static_cast<std::size_t>(count);
        if (count == 0 || size < content.size()) break;
        content.resize(size * 2);
    }
    content.resize(size);
    return content;
}

Result<Fd> StoreFiles::lock() {
    TRY_ASSIGN(const auto directory, workplace());
    const auto path = directory / "lock";
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!fd) return fail_errno("open " + path.string());
    const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
    // Not a blocking flock: a process stopped while holding the lock must not stop all others for good.
    for (auto pause = 50us; ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0;
         pause = std::min<std::chrono::microseconds>(pause * 2, 2ms)) {
        if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno("lock " + path.string());
        if (std::chrono::steady_clock::now() > deadline) {
            return fail(Code::kUnavailable, path.string() + " has been locked by another process for " +
                                                std::to_string(kLockPatience / 1s) + " s");
        }
        std::this_thread::sleep_for(pause);
    }
    return fd;
}

Result<StoreFiles::Prepared> StoreFiles::prepare(std::string_view content, mode_t mode, bool durable) {
    static std::atomic<unsigned> counter = 0;
    TRY_ASSIGN(const auto directory, workplace());
    Prepared prepared((directory / ("write-" + std::to_string(::getpid()) + "-" + std::to_string(++counter))).string());
    const Fd fd(::open(prepared.path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) return fail_errno("open " + prepared.path_);
    if (auto written = write_all(fd.get(), content); !written) return std::unexpected(std::move(written).error());
    if (::fchmod(fd.get(), mode) != 0) return fail_errno("chmod " + prepared.path_);
    if (durable && ::fsync(fd.get()) != 0) return fail_errno("fsync " + prepared.path_);
    return prepared;
}

Status StoreFiles::publish_new(Prepared prepared, const std::string& path) {
    const auto target = root_ / path;
    TRY(make_directories(target.parent_path()));
    if (::renameat2(AT_FDCWD, prepared.path_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0) {
        // Not every file system can; the lock keeps other stores away, and that leaves users' editors.
        if (errno != EINVAL) return fail_errno("create " + target.string());
        if (::access(target.c_str(), F_OK) == 0) return fail_errno("create " + target.string(), EEXIST);
        if (::rename(prepared.path_.c_str(), target.c_str()) != 0) return fail_errno("create " + target.string());
    }
    prepared.path_.clear();
    return {};
}

Status StoreFiles::replace(Prepared prepared, const std::string& path) {
    const auto target = root_ / path;
    if (::rename(prepared.path_.c_str(), target.c_str()) != 0) return fail_errno("replace " + target.string());
    prepared.path_.clear();
    return {};
}

Status StoreFiles::remove(const std::string& path) {
    return remove_file(root_ / path);
}

}  // namespace axo
