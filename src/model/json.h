// Reading Kubernetes-shaped JSON with errors a user can act on, and writing back without loss.
//
// JsonReader walks one object. Absent and null members give the fallback; a member of the wrong kind or
// value records an error, "CiliumNode n1: spec.ipam.podCIDRs[0]: \"10.0.0.0/33\": accepted: …", and gives
// the fallback, so a parser reads straight through and asks for status() once at its end. Only the first
// error is kept. Unknown members are ignored. Thread: any; a reader must not outlive the JSON it reads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace axo {

using Json = nlohmann::json;

class JsonReader {
public:
    // object_name stands at the head of every error: "CiliumNode n1".
    JsonReader(const Json& value, std::string object_name);

    // The member as a reader of its own; absent or null: a reader without a value.
    [[nodiscard]] JsonReader at(std::string_view key) const;
    [[nodiscard]] bool has(std::string_view key) const;
    // Whether this reader stands on a value at all.
    [[nodiscard]] bool present() const { return value_ != nullptr; }
    [[nodiscard]] const Json& json() const;

    std::string string(std::string_view key, std::string_view fallback = {}) const;
    std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max, std::int64_t fallback = 0) const;
    bool boolean(std::string_view key, bool fallback = false) const;
    std::vector<std::string> strings(std::string_view key) const;
    std::map<std::string, std::string> string_map(std::string_view key) const;
    // The empty string counts as absent: Kubernetes' zero value.
    IpAddress address(std::string_view key) const;
    // Host bits must be zero.
    std::vector<Prefix> cidrs(std::string_view key) const;
    // Calls with a reader per element of the array.
    void each(std::string_view key, const std::function<void(const JsonReader&)>& item) const;

    // Records an error about the member `key` of this value; key "" means the value itself.
    void reject(std::string_view key, std::string_view accepted) const;
    void require(std::string_view key, std::string_view accepted) const;

    [[nodiscard]] Status status() const;
    // Of this value from the document's root: "spec.ipam.podCIDRs[0]". Found by searching the document.
    [[nodiscard]] std::string path() const;
    // Of the whole document this reader belongs to; e.g. to improve it once metadata.name is known.
    void set_object_name(std::string name) const;

private:
    struct Document {
        const Json* root;
        std::string object_name;
        std::string error;  // "" while there is none
    };
    JsonReader(const Json* value, const Json* nearest, std::string absent, std::shared_ptr<Document> document)
        : value_(value), nearest_(nearest), absent_(std::move(absent)), document_(std::move(document)) {}
    [[nodiscard]] const Json* find(std::string_view key) const;
    [[nodiscard]] std::string path_of(std::string_view key) const;
    // An error about the member; key "": about this value.
    void record(std::string_view key, const Json* value, std::string_view accepted) const;

    const Json* value_;    // null: absent
    const Json* nearest_;  // the value, or what is there of the way to it
    std::string absent_;   // the rest of the way
    std::shared_ptr<Document> document_;
};

// Checks that `object` is a JSON object of this kind and names it for error messages.
Status require_kind(const JsonReader& reader, std::string_view kind);

// `existing` with the difference between `before` and `after` applied (JSON merge patch): members that
// before and after do not know, or agree on, stay as they are.
Json merge_difference(Json existing, const Json& before, const Json& after);

// `existing`, as somebody else may have written it, brought to what `wanted` says. `wanted` should be made
// by parsing `existing` and changing it: whatever Object models and `wanted` lacks is removed.
template <class Object>
Json updated_json(const Json& existing, const Object& wanted) {
    const auto before = Object::parse(existing);
    return merge_difference(existing, before ? before->to_json() : Json::object(), wanted.to_json());
}

// For to_json functions: sets the member unless the value is empty.
void put_nonempty(Json& object, const char* key, const std::string& value);
void put_nonempty(Json& object, const char* key, const std::map<std::string, std::string>& value);
void put_nonempty(Json& object, const char* key, const std::vector<std::string>& value);
void put_nonempty(Json& object, const char* key, const IpAddress& value);
void put_nonempty(Json& object, const char* key, const std::vector<Prefix>& value);
// Sets the member unless it is null, {} or [].
void put_nonempty(Json& object, const char* key, Json value);

// At most `limit` bytes and an ellipsis, not ending inside a UTF-8 sequence: values quoted in errors.
std::string shortened_text(std::string_view text, std::size_t limit);

}  // namespace axo
