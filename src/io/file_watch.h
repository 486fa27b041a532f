// One file whose content matters, followed as it is written, replaced, linked elsewhere or removed: a mounted ConfigMap
// is swapped by a symbolic link. inotify on its directory, and a look at it every few seconds for what inotify cannot
// see (a directory that comes later, a target elsewhere).
// Thread: the loop's only.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/event_loop.h"

namespace axo {

class FileWatch {
public:
    // changed: its content, or nothing when there is no file; once soon after construction, then after each change. A
    // file that cannot be read is an error.
    using Changed = std::function<void(const Result<std::optional<std::string>>& content)>;
    FileWatch(EventLoop& loop, std::filesystem::path file, Changed changed,
              Duration look_interval = std::chrono::seconds(5));
    FileWatch(const FileWatch&) = delete;
    FileWatch& operator=(const FileWatch&) = delete;

private:
    void look();
    void watch_directory();
    void drain();

    EventLoop& loop_;
    std::filesystem::path file_;
    Changed changed_;
    Fd inotify_;
    int watch_ = -1;
    std::filesystem::path watched_;
    bool told_ = false;
    std::string last_;  // what was told, in a form that can be compared
    EventLoop::Handle readable_, settle_, timer_;
};

}  // namespace axo
