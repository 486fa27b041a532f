#include "io/dir_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <random>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "io/dir_watcher.h"
#include "io/manifest_index.h"
#include "io/object_place.h"
#include "io/resources.h"
#include "io/store_files.h"
#include "io/store_watches.h"
#include "io/watch_selection.h"
#include "model/time.h"

namespace axo {
namespace {

using Json = ObjectStore::Json;

// Each attempt lost means that somebody else changed the same file; from the third on the lock is held throughout.
constexpr int kAttempts = 10;
constexpr int kOptimisticAttempts = 2;
constexpr Duration kRootRetry = std::chrono::seconds(1);

std::string random_uid() {
    std::random_device random;
    std::array<unsigned, 4> words{};
    for (unsigned& word : words) word = random();
    char text[40] = {};
    std::snprintf(text, sizeof(text), "%08x-%04x-4%03x-%04x-%04x%08x", words[0], words[1] >> 16, words[1] & 0xfff,
                  0x8000 | (words[2] >> 16 & 0x3fff), words[2] & 0xffff, words[3]);
    return text;
}

// What the cluster could not make again after a power loss is worth waiting for the disk.
bool needs_durability(const ResourceType* type) {
    return type != &resources::kCiliumEndpoint && type != &resources::kCiliumIdentity && type != &resources::kEvent &&
           type != &resources::kLease;
}

// Everything but metadata and status: what metadata.generation counts.
Json desired_part(Json object) {
    object.erase("metadata");
    object.erase("status");
    return object;
}

const Json* member(const Json& object, const char* name) {
    const auto it = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && it != object.end() && !it->is_null() ? &*it : nullptr;
}

std::string metadata_text(const Json& object, const char* name) {
    const Json* metadata = member(object, "metadata");
    const Json* value = metadata == nullptr ? nullptr : member(*metadata, name);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

class DirStore : public ObjectStore {
public:
    DirStore(std::string root, EventLoop& loop, DirWatcher watcher)
        : root_(std::move(root)),
          loop_(loop),
          log_("object-store"),
          watcher_(std::move(watcher)),
          files_(root_),
          index_(root_, [this](ManifestIndex::Change change) { watches_.changed(std::move(change), telling_); }),
          watches_(loop, index_, root_) {}
    DirStore(const DirStore&) = delete;
    DirStore& operator=(const DirStore&) = delete;

    void start() {
        take_in(watcher_.scan());
        read_files();
        watch_root();
    }

    Task<Result<Json>> get(const ResourceType& type, ObjectKey key) override {
        TRY_ASSIGN(const ObjectId id, resolve(type, key));
        refresh();
        const auto* entry = index_.find(id);
        if (entry == nullptr) return absent(id);
        return index_.object(*entry);
    }

    Task<Result<std::vector<Json>>> list(const ResourceType& type) override {
        TRY_ASSIGN(const ObjectId id, resolve(type, ObjectKey{}));
        refresh();
        std::vector<Json> objects;
        objects.reserve(index_.objects(id.type).size());
        for (const auto& [key, entry] : index_.objects(id.type)) {
            TRY_ASSIGN(objects.emplace_back(), index_.object(entry));
        }
        return objects;
    }

    using ObjectStore::watch;
    std::unique_ptr<Watch> watch(const ResourceType& type, WatchHandler handler, WatchOptions options) override {
        return watches_.add(resources::find(type.api_version(), type.kind), type,
                            selected(std::move(handler), std::move(options)));
    }
    Task<Result<Json>> create(const ResourceType& type, Json object) override;
    Task<Result<Json>> update(const ResourceType& type, Json object) override {
        return change(type, object, Part::kAllButStatus);
    }
    Task<Result<Json>> update_status(const ResourceType& type, Json object) override {
        return change(type, object, Part::kStatus);
    }
    Task<Status> remove(const ResourceType& type, ObjectKey key) override;

    [[nodiscard]] std::vector<Rejected> rejected() const override {
        std::vector<Rejected> all;
        for (const auto& [path, rejections] : index_.rejections()) {
            for (const auto& rejection : rejections) all.push_back({display(path), rejection.error.to_string()});
        }
        return all;
    }
    [[nodiscard]] std::string describe() const override {
        const std::size_t count = index_.size();
        std::size_t bad = 0;
        for (const auto& [path, rejections] : index_.rejections()) bad += rejections.size();
        return "dir " + root_ + ": " + std::to_string(count) + (count == 1 ? " object" : " objects") +
               (bad > 0 ? ", " + std::to_string(bad) + " rejected" : "");
    }

private:
    enum class Part { kAllButStatus, kStatus };

    // The file an object is in, as this process last read it.
    struct Source {
        std::string path;
        std::string text;
        mode_t mode = 0644;
        ManifestFile manifests;
    };

    Result<ObjectId> resolve(const ResourceType& type, const ObjectKey& key) const;
    Result<ObjectId> resolve(const ResourceType& type, const Json& object) const;
    std::unexpected<Error> absent(const ObjectId& id) const {
        return fail(Code::kNotFound, id.to_string() + " is not in " + root_);
    }
    [[nodiscard]] std::string display(const std::string& path) const {
        return path.empty() ? root_ : root_ + "/" + path;
    }

    // Takes in what has happened in the directory; callbacks follow on the loop.
    void refresh() {
        if (!root_gone_) take_in(watcher_.read());
        read_files();
    }
    // The same from the loop, where callbacks may come from here.
    void refresh_and_tell();
    void take_in(const DirWatcher::Changes& changes);
    void look_for(const std::set<std::string>& paths);
    void rescan();
    void read_files();
    void reload(const std::string& path) {
        StoreFiles::Reader reader(files_);
        reload(path, reader);
    }
    void reload(const std::string& path, StoreFiles::Reader& reader);
    void watch_root();
    void lose_root();
    void find_root();

    Result<Source> read_source(const ObjectId& id, const std::string& path) const;
    Result<Json> change(const ResourceType& type, const Json& object, Part part);
    Result<Json> changed_object(const ObjectId& id, const ManifestIndex::Entry& entry, const Json& object,
                                Part part) const;
    Result<std::string> place_for(const ObjectId& id);
    // Whether the file still is what was read; call under the lock.
    [[nodiscard]] bool unchanged(const Source& source) const {
        const auto now = read_file(display(source.path));
        return now && *now == source.text;
    }

    std::string root_;
    EventLoop& loop_;
    Logger log_;
    DirWatcher watcher_;
    StoreFiles files_;
    ManifestIndex index_;
    StoreWatches watches_;
    std::set<std::string> unread_;  // files that may have changed
    bool telling_ = false;          // what is read is told right after
    bool root_gone_ = false;
    EventLoop::Handle readable_;
    EventLoop::Handle retry_;
};

Result<ObjectId> DirStore::resolve(const ResourceType& type, const ObjectKey& key) const {
    const ResourceType* known = resources::find(type.api_version(), type.kind);
    if (known == nullptr)
        return fail(Code::kInvalidArgument,
                    "kind " + type.api_version() + " " + type.kind + " is unknown to the object store");
    return ObjectId{known, key};
}

Result<ObjectId> DirStore::resolve(const ResourceType& type, const Json& object) const {
    TRY_ASSIGN(const ObjectId wanted, resolve(type, ObjectKey{}));
    TRY_ASSIGN(ObjectId id, identify(object));
    if (id.type == wanted.type) return id;
    return fail(Code::kInvalidArgument, id.to_string() + " given where a " + type.kind + " is expected");
}

// ---- what happens in the directory ----

void DirStore::watch_root() {
    readable_ = loop_.on_readable(watcher_.fd(), [this] { refresh_and_tell(); });
}

void DirStore::take_in(const DirWatcher::Changes& changes) {
    if (changes.root_gone) return lose_root();
    unread_.insert(changes.files.begin(), changes.files.end());
    for (const std::string& path : changes.permissions) {
        if (index_.rejections().contains(path)) unread_.insert(path);
    }
    std::set<std::string> removed = changes.removed;
    if (!changes.gone_directories.empty()) {
        for (const std::string& path : index_.files()) {
            if (std::ranges::any_of(changes.gone_directories,
                                    [&](const std::string& gone) { return path.starts_with(gone + "/"); }))
                removed.insert(path);
        }
        for (const std::string& path : changes.gone_directories) index_.accept(path);
    }
    for (const auto& [path, error] : changes.problems) index_.reject(path, error);
    look_for(removed);
    if (changes.rescan) {
        log_.warn("Lost track of changes, reading the directory again", {{"directory", root_}});
        rescan();
    }
}

// Removals come first: an object whose file has been renamed is then not taken for one defined twice.
void DirStore::look_for(const std::set<std::string>& paths) {
    for (const std::string& path : paths) {
        struct stat info{};
        if (::stat(display(path).c_str(), &info) == 0) {
            unread_.insert(path);
        } else {
            unread_.erase(path);
            index_.remove_file(path);
        }
    }
}

void DirStore::rescan() {
    auto all = watcher_.scan();
    for (const std::string& path : index_.files()) all.removed.insert(path);
    all.rescan = false;
    take_in(all);
}

void DirStore::read_files() {
    StoreFiles::Reader reader(files_);
    while (!unread_.empty()) reload(unread_.extract(unread_.begin()).value(), reader);
    watches_.report_rejections();
}

void DirStore::refresh_and_tell() {
    take_in(watcher_.read());
    StoreFiles::Reader reader(files_);
    while (!unread_.empty()) {
        telling_ = true;
        reload(unread_.extract(unread_.begin()).value(), reader);
        telling_ = false;
        if (!watches_.tell_now()) return;
    }
    watches_.report_rejections();
}

void DirStore::reload(const std::string& path, StoreFiles::Reader& reader) {
    auto content = reader.read(path);
    if (!content && content.error().code == Code::kNotFound) return index_.remove_file(path);
    index_.set_file(path, std::move(content));
}

// Without its directory the store keeps what it has: an unmounted file system must not empty the cluster.
void DirStore::lose_root() {
    root_gone_ = true;
    unread_.clear();
    readable_.cancel();
    log_.error("The directory of the object store has gone; its objects stay in force", {{"directory", root_}});
    index_.reject(
        "", fail(Code::kUnavailable, "the directory has gone; what it held stays in force until it is back").error());
    watches_.report_rejections();
    retry_ = loop_.every(kRootRetry, [this] { find_root(); });
}

void DirStore::find_root() {
    if (!std::filesystem::is_directory(root_)) return;
    auto watcher = DirWatcher::open(root_);
    if (!watcher) return;
    log_.info("The directory of the object store is back", {{"directory", root_}});
    retry_.cancel();
    root_gone_ = false;
    watcher_ = std::move(*watcher);
    index_.accept("");
    rescan();
    read_files();
    if (!root_gone_) watch_root();
}

// ---- changes of our own ----

// Where a new object goes. Its own place may be taken by a file that holds something else.
Result<std::string> DirStore::place_for(const ObjectId& id) {
    for (int alternative = 0; alternative < 100; ++alternative) {
        std::string path = own_path(id, alternative);
        struct stat info{};
        if (::lstat(display(path).c_str(), &info) != 0) return path;
        if (alternative > 0 || !S_ISREG(info.st_mode) || index_.defines_anything(path)) continue;
        const auto text = read_file(display(path));
        if (!text) continue;
        const auto manifests = ManifestFile::parse(*text, false);
        if (std::ranges::any_of(manifests.documents(), [](const auto& document) { return document.good; })) continue;
        // The torn rest of an earlier version of this object. What a person may have written into it is kept aside.
        if (text->empty()) {
            TRY(files_.remove(path));
        } else {
            const auto taken = std::filesystem::path(display(path));
            const auto aside = taken.parent_path() / ("." + taken.stem().string() + ".rejected");
            if (::rename(taken.c_str(), aside.c_str()) != 0) return fail_errno("rename " + display(path));
            log_.warn("Moved a file that could not be used out of the way",
                      {{"file", taken.string()}, {"to", aside.string()}});
        }
        index_.remove_file(path);
        return path;
    }
    return fail(Code::kAlreadyExists, display(own_path(id)) + " and its alternatives hold other objects");
}

Task<Result<Json>> DirStore::create(const ResourceType& type, Json object) {
    if (object.is_object()) {
        if (member(object, "apiVersion") == nullptr) object["apiVersion"] = type.api_version();
        if (member(object, "kind") == nullptr) object["kind"] = type.kind;
    }
    TRY_ASSIGN(const ObjectId id, resolve(type, object));
    const auto exists = [&]() -> Status {
        refresh();
        const auto* entry = index_.find(id);
        if (entry == nullptr) return {};
        return fail(Code::kAlreadyExists,
                    id.to_string() + " already exists, in " + display(index_.file_of(id, *entry)));
    };
    TRY(exists());
    Json& metadata = object["metadata"];
    metadata.erase("uid");
    metadata.erase("generation");
    metadata["creationTimestamp"] = format_time(std::chrono::system_clock::now());
    metadata["uid"] = random_uid();
    object = ManifestIndex::normalized(id, std::move(object));
    TRY_ASSIGN(auto prepared, files_.prepare(ManifestFile::compose(object, false), 0644, needs_durability(id.type)));
    std::string path;
    {
        TRY_ASSIGN(const Fd lock, files_.lock());
        TRY(exists());  // whatever others published before the lock is known now
        TRY_ASSIGN(path, place_for(id));
        TRY(files_.publish_new(std::move(prepared), path));
    }
    reload(path);
    const auto* entry = index_.find(id);
    if (entry == nullptr) return fail(Code::kAborted, id.to_string() + " was removed as soon as it had been created");
    return index_.object(*entry);
}

Result<DirStore::Source> DirStore::read_source(const ObjectId& id, const std::string& path) const {
    Source source{.path = path, .text = {}, .mode = 0644, .manifests = {}};
    TRY_ASSIGN(source.text, read_file(display(path)));
    struct stat info{};
    if (::stat(display(path).c_str(), &info) == 0) source.mode = info.st_mode & 07777;
    source.manifests = ManifestFile::parse(source.text, path.ends_with(".json"));
    if (source.manifests.find(id) != nullptr) return source;
    for (const auto& document : source.manifests.documents()) {
        if (document.good) continue;
        return fail(Code::kFailedPrecondition, id.to_string() + " cannot be changed while its file " + display(path) +
                                                   " holds what cannot be used: " + document.problem.message);
    }
    return fail(Code::kFailedPrecondition,
                id.to_string() + " cannot be changed while its file " + display(path) + " is empty");
}

Result<Json> DirStore::changed_object(const ObjectId& id, const ManifestIndex::Entry& entry, const Json& object,
                                      Part part) const {
    const std::string version = metadata_text(object, "resourceVersion");
    if (version.empty() && part == Part::kAllButStatus) {
        return fail(Code::kInvalidArgument, id.to_string() + ": metadata.resourceVersion must be given for an update");
    }
    if (!version.empty() && version != ManifestIndex::version_text(entry.revision)) {
        return fail(Code::kAborted, id.to_string() + " has been changed since it was read (resourceVersion " + version +
                                        ", now " + ManifestIndex::version_text(entry.revision) +
                                        "); read it again and repeat the change");
    }
    TRY_ASSIGN(Json stored, index_.object(entry));
    stored["metadata"].erase("resourceVersion");
    const std::string uid = metadata_text(object, "uid");
    if (!uid.empty() && uid != metadata_text(stored, "uid")) {
        return fail(Code::kAborted, id.to_string() + " is another object now: its uid is " +
                                        metadata_text(stored, "uid") + ", not " + uid);
    }
    if (part == Part::kStatus) {
        stored.erase("status");
        if (const Json* status = member(object, "status")) stored["status"] = *status;
        return stored;
    }
    Json next = object;
    Json& metadata = next["metadata"];
    next.erase("status");
    if (const Json* status = member(stored, "status")) next["status"] = *status;
    for (const char* kept : {"uid", "creationTimestamp", "generation"}) {
        metadata.erase(kept);
        if (const Json* value = member(stored["metadata"], kept)) metadata[kept] = *value;
    }
    next = ManifestIndex::normalized(id, std::move(next));
    if (desired_part(next) != desired_part(stored))
        next["metadata"]["generation"] = stored["metadata"]["generation"].get<std::int64_t>() + 1;
    return next;
}

Result<Json> DirStore::change(const ResourceType& type, const Json& given, Part part) {
    Json object = given;
    if (object.is_object()) {
        if (member(object, "apiVersion") == nullptr) object["apiVersion"] = type.api_version();
        if (member(object, "kind") == nullptr) object["kind"] = type.kind;
    }
    TRY_ASSIGN(const ObjectId id, resolve(type, object));
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        Fd lock;
        if (attempt >= kOptimisticAttempts) {
            TRY_ASSIGN(lock, files_.lock());
        }
        refresh();
        const auto* entry = index_.find(id);
        if (entry == nullptr) return absent(id);
        const std::uint64_t revision = entry->revision;
        TRY_ASSIGN(const Json next, changed_object(id, *entry, object, part));
        if (ManifestIndex::revision_of(next) == revision) return index_.object(*entry);
        auto source = read_source(id, index_.file_of(id, *entry));
        if (!source && source.error().sys_errno == ENOENT) continue;
        if (!source) return std::unexpected(std::move(source).error());
        const auto* document = source->manifests.find(id);
        if (ManifestIndex::revision_of(ManifestIndex::normalized(id, document->object)) != revision)
            continue;  // changed this moment
        TRY_ASSIGN(auto prepared,
                   files_.prepare(source->manifests.with(id, next), source->mode, needs_durability(id.type)));
        if (!lock) {
            TRY_ASSIGN(lock, files_.lock());
        }
        if (!unchanged(*source)) continue;
        TRY(files_.replace(std::move(prepared), source->path));
        lock.reset();
        reload(source->path);
        entry = index_.find(id);
        if (entry == nullptr) return absent(id);
        return index_.object(*entry);
    }
    return fail(Code::kAborted, id.to_string() + ": its file is being changed all the time; try again later");
}

Task<Status> DirStore::remove(const ResourceType& type, ObjectKey key) {
    TRY_ASSIGN(const ObjectId id, resolve(type, key));
    // More than once: a second file that defines the object as well would bring it back.
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        refresh();
        if (index_.find(id) == nullptr) return Status{};
        TRY_ASSIGN(Fd lock, files_.lock());
        refresh();
        const auto* entry = index_.find(id);
        if (entry == nullptr) return Status{};
        auto source = read_source(id, index_.file_of(id, *entry));
        if (!source && source.error().sys_errno == ENOENT) {
            reload(index_.file_of(id, *entry));
            continue;
        }
        if (!source) return std::unexpected(std::move(source).error());
        const std::string rest = source->manifests.without(id);
        if (rest.empty()) {
            TRY(files_.remove(source->path));
        } else {
            TRY_ASSIGN(auto prepared, files_.prepare(rest, source->mode, needs_durability(id.type)));
            TRY(files_.replace(std::move(prepared), source->path));
        }
        lock.reset();
        reload(source->path);
    }
    return index_.find(id) == nullptr ? Status{}
                                      : fail(Code::kAborted, id.to_string() + " comes back as often as it is removed");
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> open_dir_store(const std::string& directory, EventLoop& loop) {
    std::error_code error;
    const auto root = std::filesystem::canonical(directory, error);
    if (error || !std::filesystem::is_directory(root, error)) {
        return fail(Code::kNotFound, "object store directory " + directory + ": " +
                                         (error ? error.message() : "not a directory") + "; make it first");
    }
    TRY_ASSIGN(DirWatcher watcher, DirWatcher::open(root.string()));
    auto store = std::make_unique<DirStore>(root.string(), loop, std::move(watcher));
    store->start();
    return store;
}

}  // namespace axo
