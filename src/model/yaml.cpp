#include "model/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <charconv>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>
#include <vector>

namespace axo {
namespace {

// A document that unfolds to more (nested aliases) is an attack or a mistake.
constexpr std::size_t kNodeLimit = 1'000'000;

bool all_of(std::string_view text, std::string_view accepted) {
    return !text.empty() && text.find_first_not_of(accepted) == std::string_view::npos;
}

std::optional<Json> resolve_integer(std::string_view text) {
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    int base = 10;
    if (text.size() > 2 && (text.starts_with("0x") || text.starts_with("0o"))) {
        base = text[1] == 'x' ? 16 : 8;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text.front() == '0') {
        base = 8;
    }
    if (!all_of(text, base == 16 ? "0123456789abcdefABCDEF" : base == 8 ? "01234567" : "0123456789"))
        return std::nullopt;
    std::uint64_t magnitude = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    if (!negative) return Json(magnitude);
    if (magnitude > std::uint64_t{1} << 63) return std::nullopt;
    return Json(static_cast<std::int64_t>(-magnitude));
}

// [-+]? ( . digits | digits ( . digits* )? ) ( [eE] [-+]? digits )?
bool looks_like_float(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789";
    std::size_t i = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
    const auto digits = [&] {
        const std::size_t start = i;
        while (i < text.size() && kDigits.contains(text[i])) ++i;
        return i - start;
    };
    std::size_t mantissa = digits();
    if (i < text.size() && text[i] == '.') {
        ++i;
        mantissa += digits();
    }
    if (mantissa == 0) return false;
    if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
        ++i;
        if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
        if (digits() == 0) return false;
    }
    return i == text.size();
}

Json resolve_plain(const std::string& text) {
    if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
    if (text == "true" || text == "True" || text == "TRUE") return true;
    if (text == "false" || text == "False" || text == "FALSE") return false;
    if (auto integer = resolve_integer(text)) return std::move(*integer);
    if (looks_like_float(text)) {
        // Digits with a leading zero that are not octal ("089") would lose it: a name, not a number.
        const std::string_view digits = text;
        if (!(digits.size() > 1 && digits.front() == '0' && all_of(digits, "0123456789"))) {
            const double value = std::strtod(text.c_str(), nullptr);
            if (value - value == 0.0) return value;  // finite; JSON has nothing else
        }
    }
    return text;
}

struct YamlError {
    YAML::Mark mark;
    std::string message;
};

// Builds the JSON value of one document from the parser's events.
class Builder : public YAML::EventHandler {
public:
    Json take() { return std::move(root_); }

    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, nullptr, anchor, false); }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto it = anchors_.find(anchor);
        if (it == anchors_.end()) throw YamlError{mark, "alias of a value that contains it"};
        count(mark, it->second.nodes);
        add(mark, it->second.value, 0, false);
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        const bool key = expects_key();
        // "?": plain without a tag; "!": quoted. Keys are strings, however they look.
        if (key || tag == "!" || tag == "tag:yaml.org,2002:str" || tag == "tag:yaml.org,2002:binary") {
            add(mark, value, anchor, key && tag == "?" && value == "<<");
        } else {
            add(mark, resolve_plain(value), anchor, false);
        }
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(mark, Json::array(), anchor);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(mark, Json::object(), anchor);
    }
    void OnMapEnd() override { close(); }

private:
    struct Level {
        Json value;
        YAML::Mark mark;
        YAML::anchor_t anchor = 0;
        std::size_t nodes_before = 0;
        std::optional<std::string> key;  // given, its value outstanding
        bool merging = false;            // that key is <<
        std::vector<Json> merges;        // what explicit members win over, first come first
    };
    struct Anchored {
        Json value;
        std::size_t nodes = 1;
    };

    [[nodiscard]] bool expects_key() const {
        return !levels_.empty() && levels_.back().value.is_object() && !levels_.back().key && !levels_.back().merging;
    }
    void count(const YAML::Mark& mark, std::size_t nodes) {
        nodes_ += nodes;
        if (nodes_ > kNodeLimit) throw YamlError{mark, "more than " + std::to_string(kNodeLimit) + " values"};
    }
    void open(const YAML::Mark& mark, Json value, YAML::anchor_t anchor) {
        if (expects_key()) throw YamlError{mark, "a mapping key must be a scalar"};
        levels_.push_back({std::move(value), mark, anchor, nodes_, std::nullopt, false, {}});
    }
    void close() {
        Level done = std::move(levels_.back());
        levels_.pop_back();
        for (const Json& merge : done.merges) {
            for (const auto& [key, value] : merge.items()) {
                if (!done.value.contains(key)) done.value[key] = value;
            }
        }
        const std::size_t nodes = nodes_ - done.nodes_before + 1;
        if (done.anchor != 0) anchors_[done.anchor] = {done.value, nodes};
        add(done.mark, std::move(done.value), 0, false);
    }
    void add(const YAML::Mark& mark, Json value, YAML::anchor_t anchor, bool merge_key) {
        count(mark, 1);
        if (anchor != 0) anchors_[anchor] = {value, 1};
        if (levels_.empty()) {
            root_ = std::move(value);
            return;
        }
        Level& level = levels_.back();
        if (level.value.is_array()) {
            level.value.push_back(std::move(value));
        } else if (level.merging) {
            level.merging = false;
            merge(mark, level, std::move(value));
        } else if (level.key) {
            level.value[*level.key] = std::move(value);
            level.key.reset();
        } else if (merge_key) {
            level.merging = true;
        } else {
            if (!value.is_string()) value = value.dump();
            auto& key = value.get_ref<std::string&>();
            if (level.value.contains(key)) throw YamlError{mark, "mapping key \"" + key + "\" is given twice"};
            level.key = std::move(key);
        }
    }
    static void merge(const YAML::Mark& mark, Level& level, Json value) {
        if (value.is_object()) value = Json::array({std::move(value)});
        bool good = value.is_array();
        for (const Json& source : value) good = good && source.is_object();
        if (!good) throw YamlError{mark, "<< merges mappings only"};
        for (Json& source : value) level.merges.push_back(std::move(source));
    }

    Json root_;
    std::vector<Level> levels_;
    std::map<YAML::anchor_t, Anchored> anchors_;
    std::size_t nodes_ = 0;
};

std::unexpected<Error> error_at(const YAML::Mark& mark, const std::string& message, int first_line) {
    return fail(Code::kInvalidArgument, "line " + std::to_string(mark.line + first_line) + ", column " +
                                            std::to_string(mark.column + 1) + ": " + message);
}

// Whether the text, unquoted, would be anything else than this string to a YAML 1.1 or 1.2 parser.
bool needs_quotes(std::string_view text) {
    if (text.empty() || text.back() == ' ' || text.back() == ':') return true;
    const char first = text.front();
    const bool letter = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
    if (!letter && first != '/' && first != '_' && !(first >= '0' && first <= '9')) return true;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c < 0x20 || c > 0x7e) return true;
        if (c == ':' && i + 1 < text.size() && text[i + 1] == ' ') return true;
        if (c == '#' && i > 0 && text[i - 1] == ' ') return true;
    }
    if (letter) {
        std::string lowered(text.substr(0, 6));
        for (char& c : lowered) c = static_cast<char>(c | 0x20);
        for (const std::string_view word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}) {
            if (lowered == word) return true;
        }
        return false;
    }
    // Numbers, dates and YAML 1.1's 190:20:30 and 1_000; an IPv4 address or a CIDR is none of them.
    if (first >= '0' && first <= '9') {
        if (text.find_first_not_of("0123456789abcdefABCDEFoOxX_+-.:TtZz ") != std::string_view::npos) return false;
        return std::count(text.begin(), text.end(), '.') < 2;
    }
    return false;
}

void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\t': out += "\\t"; break;
            case '\r': out += "\\r"; break;
            default:
                if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
                    char escaped[8] = {};
                    std::snprintf(escaped, sizeof(escaped), "\\x%02x",
                                  static_cast<unsigned>(static_cast<unsigned char>(c)));
                    out += escaped;
                } else {
                    out += c;
                }
        }
    }
    out += '"';
}

void append_string(std::string& out, std::string_view text) {
    if (needs_quotes(text)) {
        append_quoted(out, text);
    } else {
        out += text;
    }
}

// The value behind "key:" or "-"; a container that has members goes on the following lines.
void append_value(std::string& out, const Json& value, std::size_t indent);

void append_members(std::string& out, const Json& value, std::size_t indent, bool first_line_indented) {
    for (const auto& [key, member] : value.items()) {
        if (first_line_indented) out.append(indent, ' ');
        first_line_indented = true;
        append_string(out, key);
        out += ':';
        append_value(out, member, indent);
    }
}

void append_items(std::string& out, const Json& value, std::size_t indent, bool first_line_indented) {
    for (const Json& item : value) {
        if (first_line_indented) out.append(indent, ' ');
        first_line_indented = true;
        out += '-';
        if (item.is_object() && !item.empty()) {
            out += ' ';
            append_members(out, item, indent + 2, false);
        } else if (item.is_array() && !item.empty()) {
            out += ' ';
            append_items(out, item, indent + 2, false);
        } else {
            append_value(out, item, indent);
        }
    }
}

void append_value(std::string& out, const Json& value, std::size_t indent) {
    if (value.is_object() && !value.empty()) {
        out += '\n';
        return append_members(out, value, indent + 2, true);
    }
    if (value.is_array() && !value.empty()) {
        out += '\n';
        return append_items(out, value, indent, true);
    }
    out += ' ';
    if (value.is_string()) {
        append_string(out, value.get_ref<const std::string&>());
    } else {
        out += value.dump();  // numbers, true, false, null, {} and []
    }
    out += '\n';
}

}  // namespace

Result<Json> parse_yaml(std::string_view text, int first_line) {
    try {
        std::istringstream stream{std::string(text)};
        YAML::Parser parser(stream);
        Builder builder;
        if (!parser.HandleNextDocument(builder)) return Json(nullptr);
        Json value = builder.take();
        Builder rest;
        if (parser.HandleNextDocument(rest))
            return fail(Code::kInvalidArgument, "more than one document where one was expected");
        return value;
    } catch (const YamlError& error) {
        return error_at(error.mark, error.message, first_line);
    } catch (const YAML::Exception& error) {
        return error_at(error.mark, error.msg, first_line);
    } catch (const std::exception& error) {
        return fail(Code::kInvalidArgument, std::string("not YAML: ") + error.what());
    }
}

std::string to_yaml(const Json& value) {
    std::string out;
    if (value.is_object() && !value.empty()) {
        append_members(out, value, 0, true);
    } else if (value.is_array() && !value.empty()) {
        append_items(out, value, 0, true);
    } else {
        append_value(out, value, 0);
        out.erase(0, 1);
    }
    return out;
}

}  // namespace axo
