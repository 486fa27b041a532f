// A file of manifests as text and as objects: cut into documents without losing what lies between, and put
// together again with one of them changed. Thread: any (values).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/object_store.h"

namespace axo {

struct ObjectId {
    const ResourceType* type = nullptr;  // one of resources::all()
    ObjectKey key;

    [[nodiscard]] std::string to_string() const { return type->kind + " " + key.to_string(); }
    friend auto operator<=>(const ObjectId&, const ObjectId&) = default;
};

// What an object says it is: apiVersion, kind, metadata.name and .namespace, all checked. A namespaced object
// without a namespace is in "default".
Result<ObjectId> identify(const nlohmann::json& object);

class ManifestFile {
public:
    struct Document {
        int line = 1;           // of its first content, from 1
        ObjectId id;            // without type when `problem` is set
        nlohmann::json object;  // as written
        Error problem;          // code and message when the document cannot be used; the message names the line
        bool good = false;
        std::size_t begin = 0;  // its piece of the text, separator lines excluded
        std::size_t end = 0;
    };

    // Never fails: what is wrong is said per document. Documents without content are left out.
    static ManifestFile parse(std::string text, bool is_json);

    [[nodiscard]] const std::vector<Document>& documents() const { return documents_; }
    [[nodiscard]] std::vector<Document>& documents() { return documents_; }
    [[nodiscard]] std::string take_text() && { return std::move(text_); }
    [[nodiscard]] const Document* find(const ObjectId& id) const;
    // The file's text with that document replaced or taken out; empty when nothing is left.
    [[nodiscard]] std::string with(const ObjectId& id, const nlohmann::json& object) const;
    [[nodiscard]] std::string without(const ObjectId& id) const;
    // The text of a file of one object.
    static std::string compose(const nlohmann::json& object, bool is_json);

private:
    std::string text_;
    bool is_json_ = false;
    std::vector<Document> documents_;
};

}  // namespace axo
