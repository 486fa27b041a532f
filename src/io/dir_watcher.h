// Which manifest files of a directory tree have changed, told by inotify.
//
// Recursive, also into directories made later; what is hidden (a leading dot) and what does not end in .yaml,
// .yml or .json is ignored; links to directories are not followed. Paths are relative to the root. The kernel
// queues an event before the call that caused it returns, so read() right after somebody's write knows of it.
// Thread: one at a time.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace axo {

class DirWatcher {
public:
    struct Changes {
        std::set<std::string> files;                // written or made
        std::set<std::string> removed;              // or moved away; perhaps there again since
        std::set<std::string> permissions;          // mode or owner changed: worth a look if it was unreadable
        std::vector<std::string> gone_directories;  // with everything below
        std::map<std::string, Error> problems;      // directories that cannot be watched
        bool rescan = false;                        // events were lost: only scan() tells what has changed
        bool root_gone = false;                     // nothing more will come
    };

    static Result<DirWatcher> open(const std::string& root);
    // Readable when read() has something to tell.
    [[nodiscard]] int fd() const { return inotify_.get(); }
    // Everything queued; never blocks.
    Changes read();
    // All files there are now; watches directories that are not watched yet.
    Changes scan();

private:
    DirWatcher(std::string root, Fd inotify) : root_(std::move(root)), inotify_(std::move(inotify)) {}
    void add_tree(const std::string& directory, Changes& changes, int depth = 0);
    void forget_tree(const std::string& directory);
    void handle(int watch, unsigned mask, const std::string& name, Changes& changes);

    std::string root_;
    Fd inotify_;
    std::map<int, std::string> directories_;  // by watch descriptor; "" is the root
    std::map<std::string, int> watches_;
};

// Whether `name` is a file that is read: "a.yaml", not ".a.yaml" or "README".
bool is_manifest_name(const std::string& name);

}  // namespace axo
