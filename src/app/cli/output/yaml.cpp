#include "app/cli/output/yaml.h"

#include <cctype>

namespace axo::cli {
namespace {

using Json = nlohmann::ordered_json;

// Whether a plain scalar would be read back as this very text: everything else is quoted.
bool is_plain(const std::string& text) {
    if (text.empty() || std::isspace(static_cast<unsigned char>(text.front())) != 0 ||
        std::isspace(static_cast<unsigned char>(text.back())) != 0) {
        return false;
    }
    static constexpr std::string_view kLeading = "-?:,[]{}#&*!|>'\"%@`=~<";
    if (kLeading.find(text.front()) != std::string_view::npos) return false;
    if (std::isdigit(static_cast<unsigned char>(text.front())) != 0 || text.front() == '+' || text.front() == '.')
        return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c < 0x20 || c == 0x7f) return false;
        if (c == ':' && (i + 1 == text.size() || text[i + 1] == ' ')) return false;
        if (c == '#' && text[i - 1] == ' ') return false;
    }
    std::string lower(text);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const char* word : {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}) {
        if (lower == word) return false;
    }
    return true;
}

std::string scalar(const Json& value) {
    if (value.is_object()) return "{}";
    if (value.is_array()) return "[]";
    if (!value.is_string()) return value.dump();
    const auto text = value.get<std::string>();
    // A JSON string is a valid double-quoted YAML scalar.
    return is_plain(text) ? text : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool is_block(const Json& value) {
    return value.is_structured() && !value.empty();
}

void write(const Json& value, std::size_t indent, std::string& out);

// What follows "key:" or "-".
void write_child(const Json& child, std::size_t indent, std::string& out) {
    if (is_block(child)) {
        out += "\n";
        write(child, indent, out);
    } else {
        out += " " + scalar(child) + "\n";
    }
}

void write(const Json& value, std::size_t indent, std::string& out) {
    const std::string pad(indent, ' ');
    if (value.is_object()) {
        for (const auto& [key, child] : value.items()) {
            out += pad + scalar(key) + ":";
            // Lists stand at their key's column, as Go's YAML writers put them.
            write_child(child, child.is_array() ? indent : indent + 2, out);
        }
        return;
    }
    for (const Json& child : value) {
        if (!is_block(child)) {
            out += pad + "- " + scalar(child) + "\n";
            continue;
        }
        std::string block;
        write(child, indent + 2, block);
        block.replace(indent, 2, "- ");
        out += block;
    }
}

}  // namespace

std::string to_yaml(const nlohmann::ordered_json& value) {
    if (!is_block(value)) return scalar(value) + "\n";
    std::string out;
    write(value, 0, out);
    return out;
}

}  // namespace axo::cli
