#include "model/json_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace axo {
namespace {

constexpr int kDepthLimit = 500;
constexpr std::size_t kMostDigits = 18;  // fits every integer type

// In a string, but for quotes: itself in text and value.
bool is_plain(char c) {
    return c >= 0x20 && static_cast<unsigned char>(c) < 0x80 && c != '\\';
}

// Straight into values, several times faster than through nlohmann's lexer. What it does not understand at first sight
// (floating point, huge numbers, errors) is left to nlohmann's parser.
class Parser {
public:
    explicit Parser(std::string_view text) : next_(text.data()), end_(text.data() + text.size()) {}

    // False: not understood.
    bool document(Json& into) {
        if (!value(into, 0)) return false;
        skip_space();
        return next_ == end_;
    }

private:
    void skip_space() {
        while (next_ != end_ && (*next_ == ' ' || *next_ == '\n' || *next_ == '\r' || *next_ == '\t')) ++next_;
    }
    bool take(char wanted) {
        if (next_ == end_ || *next_ != wanted) return false;
        ++next_;
        return true;
    }
    bool word(std::string_view wanted) {
        if (!std::string_view(next_, end_).starts_with(wanted)) return false;
        next_ += wanted.size();
        return true;
    }

    bool value(Json& into, int depth) {
        skip_space();
        if (next_ == end_) return false;
        switch (*next_) {
            case '{': return object(into, depth + 1);
            case '[': return array(into, depth + 1);
            case '"': into = Json::string_t(); return string(into.get_ref<Json::string_t&>());
            case 't': into = true; return word("true");
            case 'f': into = false; return word("false");
            case 'n': into = nullptr; return word("null");
            default: return number(into);
        }
    }

    bool object(Json& into, int depth) {
        if (depth > kDepthLimit) return false;
        ++next_;
        into = Json::object();
        auto& members = into.get_ref<Json::object_t&>();
        if (skip_space(); take('}')) return true;
        do {
            std::string key;
            skip_space();
            if (!string(key)) return false;
            skip_space();
            if (!take(':')) return false;
            // What a program wrote is often in order.
            if (!value(members.try_emplace(members.end(), std::move(key))->second, depth)) return false;
            skip_space();
        } while (take(','));
        return take('}');
    }

    bool array(Json& into, int depth) {
        if (depth > kDepthLimit) return false;
        ++next_;
        into = Json::array();
        auto& items = into.get_ref<Json::array_t&>();
        if (skip_space(); take(']')) return true;
        do {
            if (!value(items.emplace_back(), depth)) return false;
            skip_space();
        } while (take(','));
        return take(']');
    }

    // ASCII without escapes, in one piece. The rest: what nlohmann's parser makes of the token.
    bool string(std::string& into) {
        const char* const quote = next_;
        if (!take('"')) return false;
        bool plain = true;
        for (; next_ != end_ && *next_ != '"'; ++next_) {
            if (is_plain(*next_)) continue;
            plain = false;
            if (*next_ == '\\' && ++next_ == end_) return false;
        }
        if (!take('"')) return false;
        if (plain) {
            into.assign(quote + 1, next_ - 1);
            return true;
        }
        Json decoded = Json::parse(quote, next_, nullptr, false);
        if (!decoded.is_string()) return false;
        into = std::move(decoded.get_ref<Json::string_t&>());
        return true;
    }

    bool number(Json& into) {
        const char* const first = next_;
        const bool negative = take('-');
        const char* const digits = next_;
        while (next_ != end_ && *next_ >= '0' && *next_ <= '9') ++next_;
        const auto count = static_cast<std::size_t>(next_ - digits);
        if (count == 0 || count > kMostDigits || (count > 1 && *digits == '0')) return false;
        if (next_ != end_ && (*next_ == '.' || *next_ == 'e' || *next_ == 'E')) return false;
        if (negative) {
            std::int64_t value = 0;
            std::from_chars(first, next_, value);
            into = value;
        } else {
            std::uint64_t value = 0;
            std::from_chars(first, next_, value);
            into = value;
        }
        return true;
    }

    const char* next_;
    const char* end_;
};

// The same way back. nlohmann's printer decodes every byte of a string; nearly all are ASCII without escapes.
class Printer {
public:
    explicit Printer(std::string& out) : out_(out) {}

    void value(const Json& value) {
        switch (value.type()) {
            case Json::value_t::object: object(value.get_ref<const Json::object_t&>()); break;
            case Json::value_t::array: array(value.get_ref<const Json::array_t&>()); break;
            case Json::value_t::string: string(value.get_ref<const Json::string_t&>()); break;
            case Json::value_t::boolean: out_ += value.get<bool>() ? "true" : "false"; break;
            case Json::value_t::number_integer: number(value.get<std::int64_t>()); break;
            case Json::value_t::number_unsigned: number(value.get<std::uint64_t>()); break;
            default: out_ += dumped(value, -1);
        }
    }

    static std::string dumped(const Json& value, int indent) {
        return value.dump(indent, ' ', false, Json::error_handler_t::replace);
    }

private:
    void object(const Json::object_t& members) {
        char before = '{';
        for (const auto& [key, member] : members) {
            out_ += std::exchange(before, ',');
            string(key);
            out_ += ':';
            value(member);
        }
        out_ += members.empty() ? "{}" : "}";
    }

    void array(const Json::array_t& items) {
        char before = '[';
        for (const Json& item : items) {
            out_ += std::exchange(before, ',');
            value(item);
        }
        out_ += items.empty() ? "[]" : "]";
    }

    void string(const std::string& text) {
        const bool plain = std::ranges::all_of(text, [](char c) { return is_plain(c) && c != '"'; });
        if (!plain) {
            out_ += dumped(text, -1);
            return;
        }
        out_ += '"';
        out_ += text;
        out_ += '"';
    }

    template <class Integer>
    void number(Integer value) {
        std::array<char, 24> digits;
        out_.append(digits.data(), std::to_chars(digits.begin(), digits.end(), value).ptr);
    }

    std::string& out_;
};

bool is_too_deep(std::string_view text) {
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') ++i;
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > kDepthLimit) return true;
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    return false;
}

}  // namespace

Result<Json> parse_json(std::string_view text) {
    Json value;
    if (Parser(text).document(value)) return value;
    if (is_too_deep(text))
        return fail(Code::kInvalidArgument, "line 1: nested deeper than " + std::to_string(kDepthLimit) + " levels");
    try {
        return Json::parse(text);
    } catch (const Json::exception& error) {
        // "[json.exception.parse_error.101] parse error at line 3, column 5: …"
        std::string_view message = error.what();
        message.remove_prefix(message.find("] ") + 2);
        if (const auto at = message.find("line "); at != std::string_view::npos) message.remove_prefix(at);
        return fail(Code::kInvalidArgument, std::string(message));
    }
}

std::string json_text(const Json& value, int indent) {
    if (indent >= 0) return Printer::dumped(value, indent);
    std::string text;
    Printer(text).value(value);
    return text;
}

}  // namespace axo
