#include "hubble/server/export_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>
#include <ctime>

#include "base/file.h"

namespace axo::hubble {

namespace {

namespace fs = std::filesystem;

std::string timestamp() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
    const std::time_t seconds = ms / 1000;
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[32], all[48];
    std::strftime(text, sizeof(text), "%Y-%m-%dT%H-%M-%S", &parts);
    std::snprintf(all, sizeof(all), "%s.%03d", text, static_cast<int>(ms % 1000));
    return all;
}

// path and, when it worked, path.gz instead.
Status compress_file(const fs::path& path) {
    TRY_ASSIGN(const std::string content, read_file(path));
    const std::string target = path.string() + ".gz";
    gzFile out = ::gzopen(target.c_str(), "wb1");
    if (out == nullptr) return fail_errno("open " + target);
    const bool written =
        ::gzwrite(out, content.data(), static_cast<unsigned>(content.size())) == static_cast<int>(content.size());
    if (::gzclose(out) != Z_OK || !written) {
        (void)remove_file(target);
        return fail(Code::kDataLoss, "write " + target + ": no space, or an error of the disk");
    }
    return remove_file(path);
}

}  // namespace

Status ExportFile::open() {
    if (settings_.path == "stdout") {
        fd_.reset(::dup(STDOUT_FILENO));
        return {};
    }
    const fs::path path = settings_.path;
    if (path.has_parent_path()) TRY(make_directories(path.parent_path()));
    fd_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!fd_) return fail_errno("open " + settings_.path);
    struct stat facts{};
    size_ = ::fstat(fd_.get(), &facts) == 0 ? static_cast<std::uint64_t>(facts.st_size) : 0;
    return {};
}

Status ExportFile::rotate() {
    fd_.reset();
    const fs::path path = settings_.path;
    const fs::path backup = path.parent_path() / (path.stem().string() + "-" + timestamp() + path.extension().string());
    if (::rename(path.c_str(), backup.c_str()) != 0) return fail_errno("rename " + settings_.path);
    if (settings_.compress) TRY(compress_file(backup));
    prune();
    return open();
}

// Names sort by time.
void ExportFile::prune() const {
    const fs::path path = settings_.path;
    const std::string prefix = path.stem().string() + "-";
    std::vector<fs::path> backups;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(path.parent_path(), error)) {
        const std::string name = entry.path().filename().string();
        const bool ends =
            name.ends_with(path.extension().string()) || name.ends_with(path.extension().string() + ".gz");
        if (name.starts_with(prefix) && ends) backups.push_back(entry.path());
    }
    std::ranges::sort(backups, std::greater<>());
    for (std::size_t i = settings_.max_backups; i < backups.size(); ++i) fs::remove(backups[i], error);
}

Status ExportFile::write(const std::string& lines) {
    if (!fd_) TRY(open());
    const bool is_file = settings_.path != "stdout";
    if (is_file && size_ != 0 && size_ + lines.size() > settings_.max_bytes) TRY(rotate());
    std::size_t done = 0;
    while (done < lines.size()) {
        const ssize_t put = ::write(fd_.get(), lines.data() + done, lines.size() - done);
        if (put > 0) {
            done += static_cast<std::size_t>(put);
        } else if (errno != EINTR) {
            const int error = errno;
            // No half lines.
            if (is_file && done != 0) (void)!::ftruncate(fd_.get(), static_cast<off_t>(size_));
            fd_.reset();
            return fail_errno("write " + settings_.path, error);
        }
    }
    size_ += lines.size();
    return {};
}

}  // namespace axo::hubble
