#include "io/dir_watcher.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <climits>
#include <memory>

namespace axo {
namespace {

constexpr unsigned kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB |
                             IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK;
constexpr int kDepthLimit = 16;

std::string join(const std::string& directory, const std::string& name) {
    return directory.empty() ? name : directory + "/" + name;
}

}  // namespace

bool is_manifest_name(const std::string& name) {
    return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json"));
}

Result<DirWatcher> DirWatcher::open(const std::string& root) {
    Fd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify) {
        if (errno == EMFILE)
            return fail(Code::kResourceExhausted,
                        "inotify: too many instances; raise the sysctl fs.inotify.max_user_instances");
        return fail_errno("inotify_init1");
    }
    return DirWatcher(root, std::move(inotify));
}

void DirWatcher::add_tree(const std::string& directory, Changes& changes, int depth) {
    const std::string path = join(root_, directory);
    const auto problem = [&](const std::string& what, int error) {
        if (error == ENOENT || error == ENOTDIR) {  // gone again
            if (directory.empty()) changes.root_gone = true;
            return;
        }
        auto failure = fail_errno(what, error).error();
        if (error == ENOSPC)
            failure.message = "too many watched directories; raise the sysctl fs.inotify.max_user_watches";
        changes.problems.insert_or_assign(directory, std::move(failure));
    };
    if (depth > kDepthLimit) {
        changes.problems.insert_or_assign(
            directory,
            fail(Code::kOutOfRange, "directories are nested deeper than " + std::to_string(kDepthLimit)).error());
        return;
    }
    // The watch first: what is made while listing is then either listed or told, perhaps both.
    const int watch =
        ::inotify_add_watch(inotify_.get(), path.c_str(), kEvents | (directory.empty() ? 0 : IN_DONT_FOLLOW));
    if (watch < 0) return problem("watching the directory", errno);
    if (const auto old = directories_.find(watch); old != directories_.end() && old->second != directory)
        watches_.erase(old->second);
    directories_[watch] = directory;
    watches_[directory] = watch;
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(path.c_str()), ::closedir);
    if (!listing) return problem("reading the directory", errno);
    while (const dirent* entry = ::readdir(listing.get())) {
        const std::string name = entry->d_name;
        if (name.starts_with('.')) continue;
        auto type = entry->d_type;
        if (type == DT_UNKNOWN) {
            struct stat info{};
            if (::lstat((path + "/" + name).c_str(), &info) != 0) continue;
            type = S_ISDIR(info.st_mode) ? DT_DIR : DT_REG;
        }
        if (type == DT_DIR) {
            add_tree(join(directory, name), changes, depth + 1);
        } else if (is_manifest_name(name)) {
            changes.files.insert(join(directory, name));
        }
    }
}

void DirWatcher::forget_tree(const std::string& directory) {
    for (auto it = watches_.lower_bound(directory); it != watches_.end() && it->first.starts_with(directory);) {
        // "a" covers "a" and "a/b", not "ab".
        if (it->first.size() > directory.size() && it->first[directory.size()] != '/') {
            ++it;
            continue;
        }
        ::inotify_rm_watch(inotify_.get(), it->second);
        directories_.erase(it->second);
        it = watches_.erase(it);
    }
}

void DirWatcher::handle(int watch, unsigned mask, const std::string& name, Changes& changes) {
    if ((mask & IN_Q_OVERFLOW) != 0) {
        changes.rescan = true;
        return;
    }
    const auto it = directories_.find(watch);
    if (it == directories_.end()) return;  // of a directory forgotten meanwhile
    const std::string directory = it->second;
    if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) != 0) {
        if (directory.empty()) {
            changes.root_gone = true;
        } else if ((mask & (IN_IGNORED | IN_UNMOUNT)) != 0) {
            changes.gone_directories.push_back(directory);
            forget_tree(directory);
        }
        return;
    }
    if (name.empty() || name.starts_with('.')) return;
    const std::string path = join(directory, name);
    if ((mask & IN_ISDIR) == 0) {
        if (!is_manifest_name(name)) return;
        if ((mask & IN_ATTRIB) != 0) {
            changes.permissions.insert(path);
            return;
        }
        if ((mask & IN_CREATE) != 0) {
            // A new file has nothing to read before it is closed; a link has no such moment.
            struct stat info{};
            if (::lstat(join(root_, path).c_str(), &info) != 0 || (S_ISREG(info.st_mode) && info.st_nlink < 2)) return;
        }
        ((mask & (IN_DELETE | IN_MOVED_FROM)) != 0 ? changes.removed : changes.files).insert(path);
        return;
    }
    if ((mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
        changes.gone_directories.push_back(path);
        forget_tree(path);
    } else if ((mask & (IN_CREATE | IN_MOVED_TO)) != 0 || ((mask & IN_ATTRIB) != 0 && !watches_.contains(path))) {
        add_tree(path, changes);
    }
}

DirWatcher::Changes DirWatcher::read() {
    Changes changes;
    alignas(inotify_event) std::array<char, 32 * 1024> buffer;
    for (;;) {
        const ssize_t count = ::read(inotify_.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return changes;
        for (std::size_t at = 0; at < static_cast<std::size_t>(count);) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
            at += sizeof(inotify_event) + event->len;
            handle(event->wd, event->mask, event->len > 0 ? event->name : "", changes);
        }
        // Where another event would have fitted there was none: no need to be told so.
        if (static_cast<std::size_t>(count) + sizeof(inotify_event) + NAME_MAX + 1 <= buffer.size()) return changes;
    }
}

DirWatcher::Changes DirWatcher::scan() {
    Changes changes;
    add_tree("", changes);
    return changes;
}

}  // namespace axo
