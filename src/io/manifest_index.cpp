#include "io/manifest_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "base/sha256.h"
#include "io/object_place.h"
#include "model/json_text.h"

namespace axo {
namespace {

using Json = nlohmann::json;

std::uint64_t hash64(std::string_view text) {
    const std::uint64_t value = XXH3_64bits(text.data(), text.size());
    return value & (~std::uint64_t{0} >> 1);  // clients keep versions in signed integers
}

// A manifest written by hand has no uid. Every process must give it the same one, so it is made from the name.
std::string derived_uid(const ObjectId& id) {
    return name_uuid("axoneme\n" + id.type->api_version() + "\n" + id.type->kind + "\n" + id.key.to_string());
}

bool is_json_name(const std::string& path) {
    return path.ends_with(".json");
}

}  // namespace

Json ManifestIndex::normalized(const ObjectId& id, Json object) {
    Json& metadata = object["metadata"];
    metadata.erase("resourceVersion");
    metadata.erase("managedFields");
    if (id.type->namespaced) metadata["namespace"] = id.key.name_space;
    const auto uid = metadata.find("uid");
    if (uid == metadata.end() || !uid->is_string() || uid->get_ref<const std::string&>().empty())
        metadata["uid"] = derived_uid(id);
    const auto generation = metadata.find("generation");
    if (generation == metadata.end() || !generation->is_number_integer()) metadata["generation"] = 1;
    return object;
}

std::uint64_t ManifestIndex::revision_of(const Json& normalized) {
    return hash64(json_text(normalized));
}

Result<Json> ManifestIndex::object(const Entry& entry) const {
    TRY_ASSIGN(const std::string body, bodies_.get(entry.body));
    TRY_ASSIGN(Json value, parse_json(body));
    value["metadata"]["resourceVersion"] = version_text(entry.revision);
    return value;
}

std::string ManifestIndex::file_of(const ObjectId& id, const Entry& entry) {
    return entry.file != nullptr ? *entry.file : own_path(id, 0, entry.json ? ".json" : ".yaml");
}

ManifestIndex::Object* ManifestIndex::alone_in(const std::string& path) {
    const auto owner = owner_of_path(path);
    if (!owner) return nullptr;
    auto& objects = objects_[owner->type];
    const auto found = objects.find(owner->key);
    const bool alone =
        found != objects.end() && found->second.file == nullptr && found->second.json == is_json_name(path);
    return alone ? &*found : nullptr;
}

ManifestIndex::Files::iterator ManifestIndex::open(const std::string& path) {
    const auto [file, fresh] = files_.try_emplace(path);
    if (Object* object = fresh ? alone_in(path) : nullptr) {
        object->second.file = &file->first;
        file->second = {.content_hash = object->second.content_hash, .readable = true, .objects = {object}};
    }
    return file;
}

void ManifestIndex::close(Files::iterator opened) {
    const auto& [path, file] = *opened;
    if (file.objects.size() != 1 || !file.readable || rejections_.contains(path) || shadows_.contains(path)) return;
    auto& [key, entry] = *file.objects.front();
    if (owner_of_path(path) != ObjectId{entry.type, key}) return;
    entry.file = nullptr;
    entry.json = is_json_name(path);
    entry.content_hash = file.content_hash;
    files_.erase(opened);
}

void ManifestIndex::set_file(const std::string& path, Result<std::string> content) {
    const auto opened = open(path);
    File& file = opened->second;
    if (!content) {
        file.readable = false;
        return note(path, {{nullptr, std::move(content).error(), false}});
    }
    const std::uint64_t hash = hash64(*content);
    if (file.readable && file.content_hash == hash) return close(opened);
    file.readable = true;
    file.content_hash = hash;
    if (content->empty()) {
        // An editor or a crash between truncating and writing; who means to delete removes the file.
        return note(
            path,
            {{nullptr,
              fail(Code::kDataLoss,
                   "the file is empty; what it defined before stays in force until it is removed or written again")
                  .error(),
              false}});
    }
    load(*opened, std::move(*content));
    close(opened);
}

void ManifestIndex::load(Files::value_type& entry, std::string content) {
    auto& [path, file] = entry;
    ManifestFile manifests = ManifestFile::parse(std::move(content), is_json_name(path));
    std::vector<Rejection> rejected;
    std::vector<Object*> defined;
    std::set<ObjectId> shadowed;
    bool unusable = false;
    for (ManifestFile::Document& document : manifests.documents()) {
        if (!document.good) {
            unusable = true;
            rejected.push_back({nullptr, std::move(document.problem), false});
            continue;
        }
        const Entry* present = find(document.id);
        if (present != nullptr && present->file != &path) {
            rejected.push_back(
                {document.id.type,
                 fail(Code::kAlreadyExists, "line " + std::to_string(document.line) + ": " + document.id.to_string() +
                                                " is already defined in " + display(file_of(document.id, *present)) +
                                                ", which stays in force; remove one of the two")
                     .error(),
                 false});
            shadowed.insert(std::move(document.id));
            continue;
        }
        defined.push_back(&put(path, std::move(document)));
    }
    if (shadowed.empty()) {
        shadows_.erase(path);
    } else {
        shadows_[path] = {std::move(shadowed), std::move(manifests).take_text()};
    }
    std::ranges::sort(defined);
    std::vector<Object*> left;
    std::ranges::set_difference(file.objects, defined, std::back_inserter(left));
    std::vector<ObjectId> freed;
    if (unusable) {
        // Whether a document that cannot be used was meant to be one of these is unknown, so none of them goes.
        defined.insert(defined.end(), left.begin(), left.end());
        std::ranges::sort(defined);
    } else {
        for (const Object* object : left) freed.push_back({object->second.type, object->first});
    }
    file.objects = std::move(defined);
    file.objects.shrink_to_fit();
    for (const ObjectId& id : freed) drop(id);
    note(path, std::move(rejected));
    promote(freed);
}

ManifestIndex::Object& ManifestIndex::put(const std::string& path, ManifestFile::Document document) {
    Change change{.id = std::move(document.id), .object = {}};
    change.object = normalized(change.id, std::move(document.object));
    const std::string body = json_text(change.object);
    change.now = hash64(body);
    Object& object = *objects_[change.id.type].try_emplace(change.id.key).first;
    Entry& entry = object.second;
    entry.type = change.id.type;
    entry.file = &path;
    if (entry.revision == change.now) return object;
    entry.body = bodies_.put(body, entry.body);
    change.before = std::exchange(entry.revision, change.now);
    change.object["metadata"]["resourceVersion"] = version_text(change.now);
    changed_(std::move(change));
    return object;
}

void ManifestIndex::drop(const ObjectId& id) {
    auto node = objects_[id.type].extract(id.key);
    bodies_.release(node.mapped().body);
    changed_({.id = id, .before = node.mapped().revision, .object = {}});
}

void ManifestIndex::remove_file(const std::string& path) {
    rejections_.erase(path);
    shadows_.erase(path);
    const auto file = open(path);
    std::vector<ObjectId> freed;
    for (const Object* object : file->second.objects) freed.push_back({object->second.type, object->first});
    for (const ObjectId& id : freed) drop(id);
    files_.erase(file);
    promote(freed);
}

// Objects that lost their file come into force from the next one that defines them, in order of the paths.
void ManifestIndex::promote(const std::vector<ObjectId>& freed) {
    for (const ObjectId& id : freed) {
        const auto next =
            std::ranges::find_if(shadows_, [&](const auto& shadow) { return shadow.second.objects.contains(id); });
        if (next != shadows_.end()) load(*files_.find(next->first), std::string(next->second.content));
    }
}

void ManifestIndex::reject(const std::string& path, Error error) {
    note(path, {{nullptr, std::move(error), false}});
}

// Replaces what is held against a file; a complaint that stays the same is not reported again.
void ManifestIndex::note(const std::string& path, std::vector<Rejection> fresh) {
    if (fresh.empty()) {
        rejections_.erase(path);
        return;
    }
    std::vector<Rejection>& held = rejections_[path];
    for (Rejection& rejection : fresh) {
        rejection.reported = std::ranges::any_of(
            held, [&](const Rejection& old) { return old.reported && old.error.message == rejection.error.message; });
    }
    held = std::move(fresh);
}

const ManifestIndex::Entry* ManifestIndex::find(const ObjectId& id) const {
    const auto type = objects_.find(id.type);
    if (type == objects_.end()) return nullptr;
    const auto it = type->second.find(id.key);
    return it == type->second.end() ? nullptr : &it->second;
}

const ManifestIndex::Objects& ManifestIndex::objects(const ResourceType* type) const {
    static const Objects kNone;
    const auto it = objects_.find(type);
    return it == objects_.end() ? kNone : it->second;
}

std::size_t ManifestIndex::size() const {
    std::size_t count = 0;
    for (const auto& [type, objects] : objects_) count += objects.size();
    return count;
}

std::vector<std::string> ManifestIndex::files() const {
    std::vector<std::string> paths;
    for (const auto& [path, file] : files_) paths.push_back(path);
    for (const auto& [type, objects] : objects_) {
        for (const auto& [key, entry] : objects) {
            if (entry.file == nullptr) paths.push_back(file_of({type, key}, entry));
        }
    }
    return paths;
}

bool ManifestIndex::defines_anything(const std::string& path) {
    const auto file = files_.find(path);
    return file == files_.end() ? alone_in(path) != nullptr : !file->second.objects.empty();
}

}  // namespace axo
