// The objects that a set of manifest files defines, the bad ones left out and remembered.
//
// The version of an object that is in force is the latest good one: a file that stops parsing, or a second file
// that defines the same object, changes nothing but is rejected with a reason, until it is corrected or removed.
// Bodies are kept as compact text, a tenth of what parsed JSON takes. Thread: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "io/manifest_file.h"

namespace axo {

class ManifestIndex {
public:
    using Json = nlohmann::json;

    struct Entry {
        std::string body;            // compact JSON without resourceVersion
        std::uint64_t revision = 0;  // of the content: equal in every process that reads the file
        std::string file;            // which defines it

        // The object as a caller of the store sees it.
        [[nodiscard]] Json object() const;
    };
    struct Rejection {
        const ResourceType* type = nullptr;  // nullptr: not known
        Error error;
        bool reported = false;  // for the owner of the index
    };

    // changed: an object has appeared, changed or gone. Called from set_file and remove_file; must not call back.
    ManifestIndex(std::string root, std::function<void(const ObjectId&)> changed)
        : root_(std::move(root)), changed_(std::move(changed)) {}

    // A file's content as read, or why it could not be.
    void set_file(const std::string& path, Result<std::string> content);
    void remove_file(const std::string& path);
    // Something about a path that is no manifest: an unreadable directory.
    void reject(const std::string& path, Error error);
    void accept(const std::string& path) { rejections_.erase(path); }

    [[nodiscard]] const Entry* find(const ObjectId& id) const;
    [[nodiscard]] const std::map<ObjectKey, Entry>& objects(const ResourceType* type) const;
    [[nodiscard]] std::size_t size() const;
    [[nodiscard]] std::vector<std::string> files() const;
    // Whether anything in force comes from that file.
    [[nodiscard]] bool defines_anything(const std::string& path) const;
    [[nodiscard]] std::map<std::string, std::vector<Rejection>>& rejections() { return rejections_; }
    [[nodiscard]] const std::map<std::string, std::vector<Rejection>>& rejections() const { return rejections_; }

    // What every reader of the object computes: defaults filled in, the stores' own fields left out.
    static Json normalized(const ObjectId& id, Json object);
    static std::uint64_t revision_of(const Json& normalized);
    static std::string version_text(std::uint64_t revision) { return std::to_string(revision); }

private:
    struct File {
        std::uint64_t content_hash = 0;
        bool readable = false;
        std::set<ObjectId> objects;   // in force from this file
        std::set<ObjectId> shadowed;  // defined here as well, but in force from another file
    };

    void load(const std::string& path, const std::string& content);
    void put(const std::string& path, const ManifestFile::Document& document);
    void drop(const ObjectId& id);
    void note(const std::string& path, std::vector<Rejection> fresh);
    void promote(const std::vector<ObjectId>& freed);
    [[nodiscard]] std::string display(const std::string& path) const {
        return root_ + (path.empty() ? "" : "/" + path);
    }

    std::string root_;
    std::function<void(const ObjectId&)> changed_;
    std::map<std::string, File> files_;
    std::map<const ResourceType*, std::map<ObjectKey, Entry>> objects_;
    std::map<std::string, std::vector<Rejection>> rejections_;
    std::map<std::string, std::string>
        shadow_texts_;  // content of files that shadow something: promoted without reading again
};

}  // namespace axo
