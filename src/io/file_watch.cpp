#include "io/file_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include "base/file.h"

namespace axo {

FileWatch::FileWatch(EventLoop& loop, std::filesystem::path file, Changed changed, Duration look_interval)
    : loop_(loop), file_(std::move(file)), changed_(std::move(changed)) {
    inotify_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (inotify_) readable_ = loop_.on_readable(inotify_.get(), [this] { drain(); });
    watch_directory();
    timer_ = loop_.every(look_interval, [this] {
        watch_directory();
        look();
    });
    settle_ = loop_.after(Duration{0}, [this] { look(); });
}

// The file's directory, or while there is none the nearest one above it: its appearance is an event there.
void FileWatch::watch_directory() {
    if (!inotify_) return;
    std::filesystem::path directory = file_.parent_path();
    std::error_code error;
    while (!std::filesystem::is_directory(directory, error) && directory.has_relative_path())
        directory = directory.parent_path();
    if (watch_ >= 0 && directory == watched_) return;
    if (watch_ >= 0) ::inotify_rm_watch(inotify_.get(), watch_);
    watch_ = ::inotify_add_watch(inotify_.get(), directory.c_str(),
                                 IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB |
                                     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
    watched_ = directory;
}

void FileWatch::drain() {
    alignas(inotify_event) char buffer[4096];
    for (;;) {
        const ssize_t size = ::read(inotify_.get(), buffer, sizeof(buffer));
        if (size <= 0) break;
        for (ssize_t at = 0; at < size;) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
            if (event->wd == watch_ && (event->mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify_.get(), watch_);
            if (event->wd == watch_ && (event->mask & (IN_IGNORED | IN_MOVE_SELF)) != 0) watch_ = -1;
            at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        }
    }
    // Writers touch a file several times; a moment later it is whole.
    settle_ = loop_.after(std::chrono::milliseconds(20), [this] {
        watch_directory();
        look();
    });
}

void FileWatch::look() {
    Result<std::optional<std::string>> content = std::optional<std::string>{};
    std::string form = "none";
    auto read = read_file(file_);
    if (read) {
        form = "text:" + *read;
        content = std::move(*read);
    } else if (read.error().code != Code::kNotFound) {
        form = "error:" + read.error().message;
        content = std::unexpected(std::move(read).error());
    }
    if (told_ && form == last_) return;
    told_ = true;
    last_ = std::move(form);
    changed_(content);
}

}  // namespace axo
