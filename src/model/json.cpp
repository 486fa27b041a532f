#include "model/json.h"

#include <utility>

#include "model/json_text.h"

namespace axo {
namespace {

constexpr std::size_t kLongestShownValue = 120;

// Keys that are not plain words would make "a.b" ambiguous.
bool plain_key(std::string_view key) {
    if (key.empty()) return false;
    for (const char c : key) {
        const bool word =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!word) return false;
    }
    return true;
}

void append_key(std::string& path, std::string_view key) {
    if (!plain_key(key)) {
        path.append("[\"").append(key).append("\"]");
    } else {
        if (!path.empty()) path += '.';
        path += key;
    }
}

// Extends `path`, which leads to `from`, to the value; whether it is there.
bool find_path(const Json& from, const Json* value, std::string& path) {
    if (&from == value) return true;
    const std::size_t length = path.size();
    const auto try_path = [&](const Json& child) {
        if (find_path(child, value, path)) return true;
        path.resize(length);
        return false;
    };
    if (from.is_object()) {
        for (const auto& [key, child] : from.get_ref<const Json::object_t&>()) {
            append_key(path, key);
            if (try_path(child)) return true;
        }
    } else if (from.is_array()) {
        for (std::size_t i = 0; i < from.size(); ++i) {
            path.append("[").append(std::to_string(i)).append("]");
            if (try_path(from[i])) return true;
        }
    }
    return false;
}

std::string shown(const Json& value) {
    return shortened_text(json_text(value), kLongestShownValue);
}

Json difference(const Json& before, const Json& after) {
    Json patch = Json::object();
    for (const auto& [key, value] : after.items()) {
        const auto old = before.find(key);
        if (old == before.end()) {
            patch[key] = value;
        } else if (value.is_object() && old->is_object()) {
            Json inner = difference(*old, value);
            if (!inner.empty()) patch[key] = std::move(inner);
        } else if (*old != value) {
            patch[key] = value;
        }
    }
    for (const auto& [key, value] : before.items()) {
        if (after.contains(key)) continue;
        // Members inside an object that only others know must survive, so the known ones are removed one by one.
        patch[key] = value.is_object() ? difference(value, Json::object()) : Json();
    }
    return patch;
}

// Merge patch, and objects that became empty by a removal go away as well.
void apply_patch(Json& target, const Json& patch) {
    for (const auto& [key, value] : patch.items()) {
        if (value.is_null()) {
            target.erase(key);
        } else if (value.is_object() && target.contains(key) && target[key].is_object()) {
            apply_patch(target[key], value);
            if (target[key].empty() && !value.empty()) target.erase(key);
        } else if (value.is_object()) {
            Json fresh = Json::object();
            apply_patch(fresh, value);
            if (!fresh.empty()) target[key] = std::move(fresh);
        } else {
            target[key] = value;
        }
    }
}

}  // namespace

std::string shortened_text(std::string_view text, std::size_t limit) {
    if (text.size() <= limit) return std::string(text);
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
    std::string shorter(text.substr(0, limit));
    shorter += "…";
    return shorter;
}

JsonReader::JsonReader(const Json& value, std::string object_name)
    : value_(&value),
      nearest_(&value),
      document_(
          std::make_shared<Document>(Document{.root = &value, .object_name = std::move(object_name), .error = {}})) {}

const Json& JsonReader::json() const {
    static const Json kNull;
    return value_ != nullptr ? *value_ : kNull;
}

std::string JsonReader::path() const {
    std::string path;
    find_path(*document_->root, nearest_, path);
    if (absent_.empty()) return path;
    return path.empty() || absent_.starts_with('[') ? path + absent_ : path + "." + absent_;
}

std::string JsonReader::path_of(std::string_view key) const {
    std::string path = this->path();
    if (!key.empty()) append_key(path, key);
    return path;
}

void JsonReader::record(std::string_view key, const Json* value, std::string_view accepted) const {
    if (!document_->error.empty()) return;
    std::string text = path_of(key);
    if (!text.empty()) text += ": ";
    text += value == nullptr ? "missing" : shown(*value);
    text += "; accepted: ";
    text += accepted;
    document_->error = std::move(text);
}

const Json* JsonReader::find(std::string_view key) const {
    if (value_ == nullptr || value_->is_null()) return nullptr;
    if (!value_->is_object()) {
        record("", value_, "an object");
        return nullptr;
    }
    const auto found = value_->find(key);
    if (found == value_->end() || found->is_null()) return nullptr;
    return &*found;
}

JsonReader JsonReader::at(std::string_view key) const {
    if (const Json* found = find(key)) return {found, found, {}, document_};
    std::string absent = absent_;
    append_key(absent, key);
    return {nullptr, nearest_, std::move(absent), document_};
}

bool JsonReader::has(std::string_view key) const {
    return find(key) != nullptr;
}

std::string JsonReader::string(std::string_view key, std::string_view fallback) const {
    const Json* found = find(key);
    if (found == nullptr) return std::string(fallback);
    if (!found->is_string()) {
        record(key, found, "a string");
        return std::string(fallback);
    }
    return found->get<std::string>();
}

std::int64_t JsonReader::integer(std::string_view key, std::int64_t min, std::int64_t max,
                                 std::int64_t fallback) const {
    const Json* found = find(key);
    if (found == nullptr) return fallback;
    bool good = found->is_number_integer();
    std::int64_t number = fallback;
    if (good && found->is_number_unsigned() && found->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
        good = false;
    } else if (good) {
        number = found->get<std::int64_t>();
        good = number >= min && number <= max;
    }
    if (!good) {
        record(key, found, "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
        return fallback;
    }
    return number;
}

bool JsonReader::boolean(std::string_view key, bool fallback) const {
    const Json* found = find(key);
    if (found == nullptr) return fallback;
    if (!found->is_boolean()) {
        record(key, found, "true or false");
        return fallback;
    }
    return found->get<bool>();
}

void JsonReader::each(std::string_view key, const std::function<void(const JsonReader&)>& item) const {
    const Json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_array()) {
        record(key, found, "a list");
        return;
    }
    for (const Json& element : *found) item(JsonReader(&element, &element, {}, document_));
}

std::vector<std::string> JsonReader::strings(std::string_view key) const {
    std::vector<std::string> all;
    each(key, [&](const JsonReader& item) {
        if (item.json().is_string()) {
            all.push_back(item.json().get<std::string>());
        } else {
            item.reject("", "a string");
        }
    });
    return all;
}

std::map<std::string, std::string> JsonReader::string_map(std::string_view key) const {
    std::map<std::string, std::string> all;
    const Json* found = find(key);
    if (found == nullptr) return all;
    if (!found->is_object()) {
        record(key, found, "an object whose values are strings");
        return all;
    }
    const JsonReader members = at(key);
    for (const auto& [name, value] : found->items()) {
        if (value.is_string()) {
            all.emplace(name, value.get<std::string>());
        } else if (value.is_null()) {
            all.emplace(name, "");
        } else {
            members.reject(name, "a string (in YAML, quote numbers and true/false)");
        }
    }
    return all;
}

IpAddress JsonReader::address(std::string_view key) const {
    const std::string text = string(key);
    if (text.empty()) return {};
    auto parsed = IpAddress::parse(text);
    if (!parsed) {
        reject(key, "an IPv4 or IPv6 address such as 10.0.0.1 or fd00::1");
        return {};
    }
    return *parsed;
}

std::vector<Prefix> JsonReader::cidrs(std::string_view key) const {
    std::vector<Prefix> all;
    each(key, [&](const JsonReader& item) {
        constexpr std::string_view kAccepted = "a CIDR without host bits such as 10.0.1.0/24 or fd00::100/120";
        if (!item.json().is_string()) {
            item.reject("", kAccepted);
            return;
        }
        auto parsed = Prefix::parse_cidr(item.json().get<std::string>());
        if (parsed) {
            all.push_back(*parsed);
        } else {
            item.reject("", kAccepted);
        }
    });
    return all;
}

void JsonReader::reject(std::string_view key, std::string_view accepted) const {
    record(key, key.empty() ? value_ : find(key), accepted);
}

void JsonReader::require(std::string_view key, std::string_view accepted) const {
    if (find(key) == nullptr) record(key, nullptr, accepted);
}

Status JsonReader::status() const {
    if (document_->error.empty()) return {};
    return fail(Code::kInvalidArgument, document_->object_name + ": " + document_->error);
}

void JsonReader::set_object_name(std::string name) const {
    document_->object_name = std::move(name);
}

Status require_kind(const JsonReader& reader, std::string_view kind) {
    if (!reader.json().is_object()) {
        reader.reject("", "an object of kind " + std::string(kind));
        return reader.status();
    }
    const std::string found = reader.string("kind", kind);
    if (found != kind) reader.reject("kind", kind);
    return reader.status();
}

Json merge_difference(Json existing, const Json& before, const Json& after) {
    if (!existing.is_object()) existing = Json::object();
    apply_patch(existing, difference(before, after));
    return existing;
}

void put_nonempty(Json& object, const char* key, const std::string& value) {
    if (!value.empty()) object[key] = value;
}
void put_nonempty(Json& object, const char* key, const std::map<std::string, std::string>& value) {
    if (!value.empty()) object[key] = value;
}
void put_nonempty(Json& object, const char* key, const std::vector<std::string>& value) {
    if (!value.empty()) object[key] = value;
}
void put_nonempty(Json& object, const char* key, const IpAddress& value) {
    if (value) object[key] = value.to_string();
}
void put_nonempty(Json& object, const char* key, const std::vector<Prefix>& value) {
    if (value.empty()) return;
    Json list = Json::array();
    for (const Prefix& prefix : value) list.push_back(prefix.to_string());
    object[key] = std::move(list);
}
void put_nonempty(Json& object, const char* key, Json value) {
    if (value.is_null() || ((value.is_object() || value.is_array()) && value.empty())) return;
    object[key] = std::move(value);
}

}  // namespace axo
