// The objects that a set of manifest files defines, the bad ones left out and remembered.
//
// The version of an object that is in force is the latest good one: a file that stops parsing, or a second file
// that defines the same object, changes nothing but is rejected with a reason, until it is corrected or removed.
// Bodies are kept as compact text in a SpillFile: the files may say something else by the time somebody asks.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "io/manifest_file.h"
#include "io/spill_file.h"

namespace axo {

class ManifestIndex {
public:
    using Json = nlohmann::json;

    struct Entry {
        const ResourceType* type = nullptr;
        const std::string* file = nullptr;  // which defines it; null: its own, which holds nothing else
        bool json = false;                  // the suffix of its own file
        std::uint64_t content_hash = 0;     // of its own file
        std::uint64_t revision = 0;         // of the content: equal in every process that reads the file
        SpillFile::Place body;              // compact JSON without resourceVersion
    };
    using Objects = std::map<ObjectKey, Entry>;
    struct Rejection {
        const ResourceType* type = nullptr;  // nullptr: not known
        Error error;
        bool reported = false;  // for the owner of the index
    };

    // An object has appeared, changed or gone. Called from set_file and remove_file; must not call back.
    struct Change {
        ObjectId id;
        std::uint64_t before = 0;  // revisions; 0: not there
        std::uint64_t now = 0;
        Json object;  // as a caller of the store sees it; null when it has gone
    };
    ManifestIndex(std::string root, std::function<void(Change)> changed)
        : root_(std::move(root)), changed_(std::move(changed)) {}

    // A file's content as read, or why it could not be.
    void set_file(const std::string& path, Result<std::string> content);
    void remove_file(const std::string& path);
    // Something about a path that is no manifest: an unreadable directory.
    void reject(const std::string& path, Error error);
    void accept(const std::string& path) { rejections_.erase(path); }

    [[nodiscard]] const Entry* find(const ObjectId& id) const;
    [[nodiscard]] const Objects& objects(const ResourceType* type) const;
    // The file that defines it.
    [[nodiscard]] static std::string file_of(const ObjectId& id, const Entry& entry);
    // As a caller of the store sees it.
    [[nodiscard]] Result<Json> object(const Entry& entry) const;
    [[nodiscard]] std::size_t size() const;
    [[nodiscard]] std::vector<std::string> files() const;
    // Whether anything in force comes from that file.
    [[nodiscard]] bool defines_anything(const std::string& path);
    [[nodiscard]] std::map<std::string, std::vector<Rejection>>& rejections() { return rejections_; }
    [[nodiscard]] const std::map<std::string, std::vector<Rejection>>& rejections() const { return rejections_; }

    // What every reader of the object computes: defaults filled in, the stores' own fields left out.
    static Json normalized(const ObjectId& id, Json object);
    static std::uint64_t revision_of(const Json& normalized);
    static std::string version_text(std::uint64_t revision) { return std::to_string(revision); }

private:
    using Object = Objects::value_type;
    struct File {
        std::uint64_t content_hash = 0;
        bool readable = false;
        std::vector<Object*> objects;  // in force from this file; ordered
    };
    // What a file defines as well, but is in force from another file; with its content, so that it can be promoted.
    struct Shadow {
        std::set<ObjectId> objects;
        std::string content;
    };
    using Files = std::map<std::string, File>;

    // The object that has this file for itself.
    Object* alone_in(const std::string& path);
    // Most files are an object's own and hold nothing else: their entry is the object's, until they are looked at.
    Files::iterator open(const std::string& path);
    void close(Files::iterator file);
    void load(Files::value_type& file, std::string content);
    Object& put(const std::string& path, ManifestFile::Document document);
    void drop(const ObjectId& id);
    void note(const std::string& path, std::vector<Rejection> fresh);
    void promote(const std::vector<ObjectId>& freed);
    [[nodiscard]] std::string display(const std::string& path) const {
        return root_ + (path.empty() ? "" : "/" + path);
    }

    std::string root_;
    std::function<void(Change)> changed_;
    Files files_;  // but those of objects that have one for themselves
    std::map<const ResourceType*, Objects> objects_;
    SpillFile bodies_;
    std::map<std::string, std::vector<Rejection>> rejections_;
    std::map<std::string, Shadow> shadows_;  // by file
};

}  // namespace axo
