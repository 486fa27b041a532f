#include "io/manifest_index.h"

#include <algorithm>

#include "base/sha256.h"

namespace axo {
namespace {

using Json = nlohmann::json;

std::uint64_t hash64(std::string_view text) {
    const auto digest = sha256(text);
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | digest[static_cast<std::size_t>(i)];
    return value & (~std::uint64_t{0} >> 1);  // clients keep versions in signed integers
}

// A manifest written by hand has no uid. Every process must give it the same one, so it is made from the name.
std::string derived_uid(const ObjectId& id) {
    const std::string hex =
        sha256_hex("axoneme\n" + id.type->api_version() + "\n" + id.type->kind + "\n" + id.key.to_string());
    return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-5" + hex.substr(13, 3) + "-8" + hex.substr(17, 3) + "-" +
           hex.substr(20, 12);
}

std::string compact(const Json& object) {
    return object.dump(-1, ' ', false, Json::error_handler_t::replace);
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
    return hash64(compact(normalized));
}

Json ManifestIndex::Entry::object() const {
    Json value = Json::parse(body, nullptr, false);
    value["metadata"]["resourceVersion"] = version_text(revision);
    return value;
}

void ManifestIndex::set_file(const std::string& path, Result<std::string> content) {
    File& file = files_[path];
    if (!content) {
        file.readable = false;
        return note(path, {{nullptr, std::move(content).error(), false}});
    }
    const std::uint64_t hash = hash64(*content);
    if (file.readable && file.content_hash == hash) return;
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
    load(path, *content);
}

void ManifestIndex::load(const std::string& path, const std::string& content) {
    const ManifestFile manifests = ManifestFile::parse(content, is_json_name(path));
    std::vector<Rejection> rejected;
    std::vector<ObjectId> defined;
    File& file = files_[path];
    const auto shadowed_before = std::exchange(file.shadowed, {});
    bool unusable = false;
    for (const ManifestFile::Document& document : manifests.documents()) {
        if (!document.good) {
            unusable = true;
            rejected.push_back({nullptr, document.problem, false});
            continue;
        }
        const Entry* present = find(document.id);
        if (present != nullptr && present->file != path) {
            file.shadowed.insert(document.id);
            rejected.push_back(
                {document.id.type,
                 fail(Code::kAlreadyExists, "line " + std::to_string(document.line) + ": " + document.id.to_string() +
                                                " is already defined in " + display(present->file) +
                                                ", which stays in force; remove one of the two")
                     .error(),
                 false});
            continue;
        }
        put(path, document);
        defined.push_back(document.id);
    }
    if (file.shadowed.empty()) {
        shadow_texts_.erase(path);
    } else {
        shadow_texts_[path] = content;
    }
    std::ranges::sort(defined);
    std::vector<ObjectId> freed;
    // Whether a document that cannot be used was meant to be one of these is unknown, so none of them goes.
    if (!unusable) {
        std::ranges::set_difference(file.objects, defined, std::back_inserter(freed));
        for (const ObjectId& id : freed) drop(id);
    }
    for (const ObjectId& id : freed) file.objects.erase(id);
    file.objects.insert(defined.begin(), defined.end());
    note(path, std::move(rejected));
    promote(freed);
}

void ManifestIndex::put(const std::string& path, const ManifestFile::Document& document) {
    const Json object = normalized(document.id, document.object);
    std::string body = compact(object);
    const std::uint64_t revision = hash64(body);
    Entry& entry = objects_[document.id.type][document.id.key];
    entry.file = path;
    if (entry.revision == revision) return;
    entry.body = std::move(body);
    entry.body.shrink_to_fit();
    entry.revision = revision;
    changed_(document.id);
}

void ManifestIndex::drop(const ObjectId& id) {
    objects_[id.type].erase(id.key);
    changed_(id);
}

void ManifestIndex::remove_file(const std::string& path) {
    const auto it = files_.find(path);
    rejections_.erase(path);
    shadow_texts_.erase(path);
    if (it == files_.end()) return;
    const std::vector<ObjectId> freed(it->second.objects.begin(), it->second.objects.end());
    files_.erase(it);
    for (const ObjectId& id : freed) drop(id);
    promote(freed);
}

// Objects that lost their file come into force from the next one that defines them, in order of the paths.
void ManifestIndex::promote(const std::vector<ObjectId>& freed) {
    for (const ObjectId& id : freed) {
        const auto next =
            std::ranges::find_if(files_, [&](const auto& file) { return file.second.shadowed.contains(id); });
        if (next == files_.end()) continue;
        const std::string content = shadow_texts_[next->first];
        load(std::string(next->first), content);
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

const std::map<ObjectKey, ManifestIndex::Entry>& ManifestIndex::objects(const ResourceType* type) const {
    static const std::map<ObjectKey, Entry> kNone;
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
    paths.reserve(files_.size());
    for (const auto& [path, file] : files_) paths.push_back(path);
    return paths;
}

bool ManifestIndex::defines_anything(const std::string& path) const {
    const auto it = files_.find(path);
    return it != files_.end() && !it->second.objects.empty();
}

}  // namespace axo
