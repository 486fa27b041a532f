#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "base/fd.h"

namespace axo {
namespace {

Status write_all(int fd, std::string_view content, const std::string& what) {
    while (!content.empty()) {
        const ssize_t written = ::write(fd, content.data(), content.size());
        if (written < 0) {
            if (errno == EINTR) continue;
            return fail_errno("write " + what);
        }
        content.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path) {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open " + path.string());
    std::string content;
    std::array<char, 16384> buffer;
    for (;;) {
        const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
        if (count == 0) return content;
        if (count < 0) {
            if (errno == EINTR) continue;
            return fail_errno("read " + path.string());
        }
        content.append(buffer.data(), static_cast<std::size_t>(count));
    }
}

Status write_atomic(const std::filesystem::path& path, std::string_view content, mode_t mode) {
    const auto directory = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
    // The leading dot keeps directory watchers and loaders from picking up the temporary file.
    std::string temporary = (directory / ("." + path.filename().string() + ".XXXXXX")).string();
    Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd) return fail_errno("create temporary file for " + path.string());
    auto abandon = [&](std::unexpected<Error> error) -> Status {
        ::unlink(temporary.c_str());
        return error;
    };
    if (::fchmod(fd.get(), mode) != 0) return abandon(fail_errno("chmod " + temporary));
    if (auto written = write_all(fd.get(), content, path.string()); !written) {
        return abandon(std::unexpected(std::move(written).error()));
    }
    if (::fsync(fd.get()) != 0) return abandon(fail_errno("fsync " + path.string()));
    fd.reset();
    if (::rename(temporary.c_str(), path.c_str()) != 0) return abandon(fail_errno("rename to " + path.string()));
    const Fd dir(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (dir && ::fsync(dir.get()) != 0 && errno != EINVAL) return fail_errno("fsync " + directory.string());
    return {};
}

Status write_in_place(const std::filesystem::path& path, std::string_view content) {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open " + path.string());
    return write_all(fd.get(), content, path.string());
}

Status make_directories(const std::filesystem::path& path, mode_t mode) {
    if (path.empty()) return {};
    if (::mkdir(path.c_str(), mode) == 0) return {};
    if (errno == ENOENT && path.has_parent_path() && path.parent_path() != path) {
        TRY(make_directories(path.parent_path(), mode));
        if (::mkdir(path.c_str(), mode) == 0) return {};
    }
    const int err = errno;
    if (err == EEXIST && std::filesystem::is_directory(path)) return {};
    return fail_errno("mkdir " + path.string(), err);
}

Status remove_file(const std::filesystem::path& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("unlink " + path.string());
    return {};
}

}  // namespace axo
