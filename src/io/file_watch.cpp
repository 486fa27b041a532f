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

void FileWatch::watch_directory() {
    if (!inotify_ || watch_ >= 0) return;
    watch_ = ::inotify_add_watch(inotify_.get(), file_.parent_path().c_str(),
                                 IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB |
                                     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
}

void FileWatch::drain() {
    alignas(inotify_event) char buffer[4096];
    for (;;) {
        const ssize_t size = ::read(inotify_.get(), buffer, sizeof(buffer));
        if (size <= 0) break;
        for (ssize_t at = 0; at < size;) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
            if ((event->mask & (IN_IGNORED | IN_MOVE_SELF)) != 0 && event->wd == watch_) {
                if ((event->mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify_.get(), watch_);
                watch_ = -1;
            }
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
