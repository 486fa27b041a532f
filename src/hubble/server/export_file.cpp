#include "hubble/server/export_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
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

// What timestamp() makes.
bool is_timestamp(std::string_view text) {
    static constexpr std::string_view kShape = "0000-00-00T00-00-00.000";
    return text.size() == kShape.size() && std::ranges::equal(text, kShape, [](char is, char shape) {
               return shape == '0' ? is >= '0' && is <= '9' : is == shape;
           });
}

// path and, when it worked, path.gz instead.
Status compress_file(const fs::path& path) {
    const Fd in(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!in) return fail_errno("open " + path.string());
    const std::string target = path.string() + ".gz";
    Fd file(::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return fail_errno("open " + target);
    gzFile out = ::gzdopen(file.get(), "wb1");
    if (out == nullptr) return fail(Code::kResourceExhausted, "write " + target + ": no memory");
    (void)file.release();  // gzclose closes it
    std::array<char, 65536> buffer;
    bool written = true;
    ssize_t got = 0;
    while (written && (got = ::read(in.get(), buffer.data(), buffer.size())) > 0)
        written = ::gzwrite(out, buffer.data(), static_cast<unsigned>(got)) == static_cast<int>(got);
    if (::gzclose(out) != Z_OK || !written || got < 0) {
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
    // Lines go on whatever becomes of the old ones.
    trouble_.clear();
    if (settings_.compress) {
        if (auto compressed = compress_file(backup); !compressed) trouble_ = compressed.error().message;
    }
    if (auto pruned = prune(); !pruned) trouble_ = pruned.error().message;
    return open();
}

// Names sort by time. Another file's may begin like ours: what is no time belongs to somebody else.
Status ExportFile::prune() const {
    const fs::path path = settings_.path;
    const std::string prefix = path.stem().string() + "-", suffix = path.extension().string();
    const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
    std::vector<fs::path> backups;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename().string();
        std::string_view time = name;
        if (!time.starts_with(prefix)) continue;
        time.remove_prefix(prefix.size());
        if (time.ends_with(".gz")) time.remove_suffix(3);
        if (!time.ends_with(suffix)) continue;
        time.remove_suffix(suffix.size());
        if (is_timestamp(time)) backups.push_back(entry.path());
    }
    if (error) return fail_errno("list " + folder.string(), error.value());
    std::ranges::sort(backups, std::greater<>());
    for (std::size_t i = settings_.max_backups; i < backups.size(); ++i) TRY(remove_file(backups[i]));
    return {};
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
        } else if (put == 0 || errno != EINTR) {
            const int error = put == 0 ? ENOSPC : errno;
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
