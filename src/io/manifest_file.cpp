#include "io/manifest_file.h"

#include <algorithm>

#include "io/resources.h"
#include "model/json_text.h"
#include "model/names.h"
#include "model/yaml.h"

namespace axo {
namespace {

using Json = nlohmann::json;

Result<std::string> text_member(const Json& object, const std::string& path, const char* name, bool required) {
    const auto it = object.find(name);
    if (it == object.end() || it->is_null()) {
        if (required) return fail(Code::kInvalidArgument, path + name + " is missing");
        return std::string();
    }
    if (!it->is_string())
        return fail(Code::kInvalidArgument, path + name + ": " + it->dump() + " is not a string; quote it");
    return it->get<std::string>();
}

std::string known_kinds() {
    std::string text;
    for (const ResourceType* type : resources::all())
        text += (text.empty() ? "" : ", ") + type->api_version() + " " + type->kind;
    return text;
}

bool is_separator(std::string_view line) {
    return line.starts_with("---") && (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

bool has_content(std::string_view piece) {
    while (!piece.empty()) {
        const auto end = piece.find('\n');
        const std::string_view line = piece.substr(0, end);
        piece = end == std::string_view::npos ? std::string_view() : piece.substr(end + 1);
        const auto first = line.find_first_not_of(" \t\r");
        // Directives (%YAML 1.2) stand before a separator.
        if (first != std::string_view::npos && line[first] != '#' && !line.starts_with('%') && !line.starts_with("..."))
            return true;
    }
    return false;
}

}  // namespace

Result<ObjectId> identify(const Json& object) {
    if (!object.is_object())
        return fail(Code::kInvalidArgument, "not an object: a mapping with apiVersion, kind and metadata is expected");
    TRY_ASSIGN(const std::string api_version, text_member(object, "", "apiVersion", true));
    TRY_ASSIGN(const std::string kind, text_member(object, "", "kind", true));
    const ResourceType* type = resources::find(api_version, kind);
    if (type == nullptr) {
        return fail(Code::kInvalidArgument, "kind \"" + kind + "\" of apiVersion \"" + api_version +
                                                "\" is unknown; accepted are " + known_kinds());
    }
    const auto metadata = object.find("metadata");
    if (metadata == object.end() || !metadata->is_object())
        return fail(Code::kInvalidArgument, kind + ": metadata is missing or not a mapping");
    ObjectId id{type, {}};
    TRY_ASSIGN(id.key.name, text_member(*metadata, kind + ": metadata.", "name", true));
    TRY_ASSIGN(id.key.name_space, text_member(*metadata, kind + ": metadata.", "namespace", false));
    if (auto valid = validate_dns_subdomain(kind + ": metadata.name", id.key.name); !valid)
        return std::unexpected(valid.error());
    if (!type->namespaced) {
        if (id.key.name_space.empty()) return id;
        return fail(Code::kInvalidArgument, kind + " " + id.key.name + ": metadata.namespace: \"" + id.key.name_space +
                                                "\": the kind has no namespaces; remove it");
    }
    if (id.key.name_space.empty()) id.key.name_space = "default";
    if (auto valid = validate_dns_label(kind + " " + id.key.name + ": metadata.namespace", id.key.name_space); !valid) {
        return std::unexpected(valid.error());
    }
    return id;
}

ManifestFile ManifestFile::parse(std::string text, bool is_json) {
    ManifestFile file;
    file.text_ = std::move(text);
    file.is_json_ = is_json;
    const std::string_view all = file.text_;

    const auto add = [&](std::size_t begin, std::size_t end, int line) {
        const std::string_view piece = all.substr(begin, end - begin);
        if (is_json ? piece.find_first_not_of(" \t\r\n") == std::string_view::npos : !has_content(piece)) return;
        Document document;
        document.begin = begin;
        document.end = end;
        // Comments before the first content belong to the document; its line is where the content is.
        document.line = line;
        auto object = is_json ? parse_json(piece) : parse_yaml(piece, line);
        if (!object) {
            document.problem = std::move(object).error();
        } else if (auto id = identify(*object); !id) {
            document.problem = std::move(id).error().with_context("line " + std::to_string(line));
        } else if (file.find(*id) != nullptr) {
            document.problem = fail(Code::kAlreadyExists, "line " + std::to_string(line) + ": " + id->to_string() +
                                                              " is defined twice in this file; the first is used")
                                   .error();
        } else {
            document.good = true;
            document.id = std::move(*id);
            document.object = std::move(*object);
        }
        file.documents_.push_back(std::move(document));
    };

    if (is_json) {
        add(0, all.size(), 1);
        return file;
    }
    // "---" at the start of a line separates documents wherever it stands: YAML forbids it inside scalars.
    std::size_t begin = 0;
    int begin_line = 1;
    std::size_t position = 0;
    for (int line = 1; position < all.size(); ++line) {
        auto end = all.find('\n', position);
        end = end == std::string_view::npos ? all.size() : end + 1;
        const std::string_view text_of_line = all.substr(position, end - position - (all[end - 1] == '\n' ? 1 : 0));
        if (is_separator(text_of_line)) {
            add(begin, position, begin_line);
            // Content may follow the separator on its line.
            const bool bare = text_of_line.find_first_not_of(" \t\r", 3) == std::string_view::npos ||
                              text_of_line.find_first_not_of(" \t", 3) == text_of_line.find('#', 3);
            begin = bare ? end : position + 3;
            begin_line = bare ? line + 1 : line;
        }
        position = end;
    }
    add(begin, all.size(), begin_line);
    return file;
}

const ManifestFile::Document* ManifestFile::find(const ObjectId& id) const {
    const auto it =
        std::ranges::find_if(documents_, [&](const Document& document) { return document.good && document.id == id; });
    return it == documents_.end() ? nullptr : &*it;
}

std::string ManifestFile::compose(const Json& object, bool is_json) {
    return is_json ? json_text(object, 2) + "\n" : to_yaml(object);
}

std::string ManifestFile::with(const ObjectId& id, const Json& object) const {
    const Document* document = find(id);
    std::string fresh = compose(object, is_json_);
    if (document == nullptr || documents_.size() == 1) return fresh;
    std::string out = text_.substr(0, document->begin);
    if (!out.empty() && out.back() != '\n') out += '\n';
    return out + fresh + text_.substr(document->end);
}

std::string ManifestFile::without(const ObjectId& id) const {
    const Document* document = find(id);
    if (document == nullptr) return text_;
    if (documents_.size() == 1) return {};
    std::string out = text_.substr(0, document->begin);
    const std::string rest = text_.substr(document->end);
    // One separator between two documents; none before the first.
    if (const auto last = out.rfind("---"); last != std::string::npos && (last == 0 || out[last - 1] == '\n')) {
        out.resize(last);
    } else if (rest.starts_with("---")) {
        const auto line_end = rest.find('\n');
        return out + (line_end == std::string::npos ? "" : rest.substr(line_end + 1));
    }
    return out + rest;
}

}  // namespace axo
