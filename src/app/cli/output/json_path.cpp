#include "app/cli/output/json_path.h"

#include <charconv>

namespace axo::cli {
namespace {

using Json = nlohmann::ordered_json;
using Nodes = std::vector<const Json*>;

std::unexpected<Error> bad(std::string_view expression, const std::string& why) {
    return fail(Code::kInvalidArgument, "jsonpath \"" + std::string(expression) + "\": " + why);
}

void collect_named(const Json& node, const std::string& name, Nodes& found) {
    if (node.is_object()) {
        if (const auto it = node.find(name); it != node.end()) found.push_back(&*it);
    }
    if (node.is_structured()) {
        for (const Json& child : node) collect_named(child, name, found);
    }
}

std::string print(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_null()) return "";
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

// One path, walked from a set of nodes.
class Path {
public:
    explicit Path(std::string_view text) : whole_(text), rest_(text) {}

    Result<Nodes> walk(Nodes nodes) {
        while (!rest_.empty()) {
            if (rest_.starts_with("..")) {
                rest_.remove_prefix(2);
                const std::string name = take_name();
                if (name.empty()) return bad(whole_, "a name is expected after \"..\"");
                Nodes found;
                for (const Json* node : nodes) collect_named(*node, name, found);
                nodes = std::move(found);
            } else if (rest_.front() == '.') {
                rest_.remove_prefix(1);
                if (rest_.empty() || rest_.front() == '[') continue;  // {.} and {.[0]}
                const std::string name = take_name();
                if (name.empty()) return bad(whole_, "a name is expected after \".\"");
                nodes = name == "*" ? children(nodes) : member(nodes, name);
            } else if (rest_.front() == '[') {
                const std::size_t close = closing_bracket();
                if (close == std::string_view::npos) return bad(whole_, "\"[\" has no \"]\"");
                const std::string_view inside = trimmed(rest_.substr(1, close - 1));
                rest_.remove_prefix(close + 1);
                TRY_ASSIGN(nodes, subscript(nodes, inside));
            } else {
                // "{range items}" and "{items}" mean the same as with a leading dot.
                const std::string name = take_name();
                if (name.empty()) return bad(whole_, "unexpected \"" + std::string(rest_.substr(0, 1)) + "\"");
                nodes = member(nodes, name);
            }
        }
        return nodes;
    }

private:
    std::string take_name() {
        std::string name;
        while (!rest_.empty() && rest_.front() != '.' && rest_.front() != '[') {
            if (rest_.front() == '\\' && rest_.size() > 1) rest_.remove_prefix(1);
            name += rest_.front();
            rest_.remove_prefix(1);
        }
        return name;
    }

    [[nodiscard]] std::size_t closing_bracket() const {
        char quote = 0;
        int depth = 0;
        for (std::size_t i = 0; i < rest_.size(); ++i) {
            const char c = rest_[i];
            if (quote != 0) {
                if (c == quote) quote = 0;
            } else if (c == '\'' || c == '"') {
                quote = c;
            } else if (c == '[') {
                ++depth;
            } else if (c == ']' && --depth == 0) {
                return i;
            }
        }
        return std::string_view::npos;
    }

    static Nodes member(const Nodes& nodes, const std::string& name) {
        Nodes found;
        for (const Json* node : nodes) {
            if (!node->is_object()) continue;
            if (const auto it = node->find(name); it != node->end()) found.push_back(&*it);
        }
        return found;
    }

    static Nodes children(const Nodes& nodes) {
        Nodes found;
        for (const Json* node : nodes) {
            if (!node->is_structured()) continue;
            for (const Json& child : *node) found.push_back(&child);
        }
        return found;
    }

    Result<Nodes> subscript(const Nodes& nodes, std::string_view inside) {
        if (inside == "*") return children(nodes);
        if (inside.starts_with("?(") && inside.ends_with(")"))
            return filter(nodes, inside.substr(2, inside.size() - 3));
        if (inside.size() >= 2 && (inside.front() == '\'' || inside.front() == '"') &&
            inside.back() == inside.front()) {
            return member(nodes, std::string(inside.substr(1, inside.size() - 2)));
        }
        return slice(nodes, inside);
    }

    // "3", "-1", "1:3", ":2", "1:".
    Result<Nodes> slice(const Nodes& nodes, std::string_view inside) {
        const std::size_t colon = inside.find(':');
        const auto number = [&](std::string_view text) -> Result<long> {
            long value = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            if (error != std::errc() || end != text.data() + text.size()) {
                return bad(whole_, "\"[" + std::string(inside) + "]\" is no index, range, key or filter");
            }
            return value;
        };
        long first = 0;
        std::optional<long> last;
        if (colon == std::string_view::npos) {
            TRY_ASSIGN(first, number(inside));
        } else {
            if (colon != 0) {
                TRY_ASSIGN(first, number(inside.substr(0, colon)));
            }
            if (colon + 1 != inside.size()) {
                TRY_ASSIGN(last, number(inside.substr(colon + 1)));
            }
        }
        Nodes found;
        for (const Json* node : nodes) {
            if (!node->is_array()) continue;
            const long size = static_cast<long>(node->size());
            const long from = first < 0 ? first + size : first;
            long to = from + 1;
            if (colon != std::string_view::npos) to = last ? (*last < 0 ? *last + size : *last) : size;
            for (long i = std::max(from, 0L); i < std::min(to, size); ++i)
                found.push_back(&(*node)[static_cast<std::size_t>(i)]);
        }
        return found;
    }

    // @.a.b OP literal, or @.a.b alone: present.
    Result<Nodes> filter(const Nodes& nodes, std::string_view condition) {
        std::string_view op;
        std::size_t at = std::string_view::npos;
        for (const std::string_view candidate : {"==", "!=", "<=", ">=", "<", ">"}) {
            if (at = condition.find(candidate); at != std::string_view::npos) {
                op = candidate;
                break;
            }
        }
        std::string_view left = trimmed(condition.substr(0, at));
        if (!left.starts_with('@')) return bad(whole_, "a filter starts with @: \"" + std::string(condition) + "\"");
        left.remove_prefix(1);
        Json literal;
        if (!op.empty()) {
            std::string text(trimmed(condition.substr(at + op.size())));
            if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'') {
                literal = text.substr(1, text.size() - 2);
            } else {
                literal = Json::parse(text, nullptr, false);
                if (literal.is_discarded())
                    return bad(whole_, "\"" + text + "\" is neither a number nor a quoted text");
            }
        }
        Nodes found;
        for (const Json* child : children(nodes)) {
            TRY_ASSIGN(const Nodes values, Path(left).walk({child}));
            if (values.empty()) continue;
            const Json& value = *values.front();
            const bool holds = op.empty()   ? true
                               : op == "==" ? value == literal
                               : op == "!=" ? value != literal
                               : op == "<=" ? value <= literal
                               : op == ">=" ? value >= literal
                               : op == "<"  ? value < literal
                                            : value > literal;
            if (holds) found.push_back(child);
        }
        return found;
    }

    std::string_view whole_;
    std::string_view rest_;
};

// The template around the paths.
class Template {
public:
    Template(std::string_view expression, const Json& root) : expression_(expression), root_(root) {}

    Result<std::string> run() {
        std::string out;
        std::size_t at = 0;
        TRY(section(at, root_, false, out));
        return out;
    }

private:
    // Until the end of the text, or of the range it is in; `at` is where it stopped.
    Status section(std::size_t& at, const Json& current, bool in_range, std::string& out) {
        while (at < expression_.size()) {
            const std::size_t open = expression_.find('{', at);
            out += expression_.substr(at, open == std::string_view::npos ? open : open - at);
            if (open == std::string_view::npos) {
                at = expression_.size();
                break;
            }
            TRY_ASSIGN(const std::size_t close, closing_brace(open));
            const std::string_view inside = trimmed(expression_.substr(open + 1, close - open - 1));
            at = close + 1;
            if (inside == "end") {
                if (!in_range) return bad(expression_, "{end} without {range}");
                return {};
            }
            if (inside.starts_with("range ")) {
                TRY(range(at, trimmed(inside.substr(6)), current, out));
            } else if (inside.size() >= 2 && (inside.front() == '"' || inside.front() == '\'') &&
                       inside.back() == inside.front()) {
                TRY_ASSIGN(const std::string literal, unescape(inside));
                out += literal;
            } else {
                TRY_ASSIGN(const Nodes nodes, evaluate(inside, current));
                for (std::size_t i = 0; i < nodes.size(); ++i) out += (i == 0 ? "" : " ") + print(*nodes[i]);
            }
        }
        if (in_range) return bad(expression_, "{range} without {end}");
        return {};
    }

    Status range(std::size_t& at, std::string_view path, const Json& current, std::string& out) {
        TRY_ASSIGN(const Nodes nodes, evaluate(path, current));
        const std::size_t start = at;
        for (const Json* node : nodes) {
            at = start;
            TRY(section(at, *node, true, out));
        }
        if (!nodes.empty()) return {};
        std::string ignored;
        static const Json kNothing;
        return section(at, kNothing, true, ignored);
    }

    Result<Nodes> evaluate(std::string_view path, const Json& current) {
        if (path.starts_with('$')) return Path(path.substr(1)).walk({&root_});
        if (path.starts_with('@')) return Path(path.substr(1)).walk({&current});
        return Path(path).walk({&current});
    }

    Result<std::size_t> closing_brace(std::size_t open) {
        char quote = 0;
        for (std::size_t i = open + 1; i < expression_.size(); ++i) {
            const char c = expression_[i];
            if (quote != 0) {
                if (c == '\\')
                    ++i;
                else if (c == quote)
                    quote = 0;
            } else if (c == '"' || c == '\'') {
                quote = c;
            } else if (c == '}') {
                return i;
            }
        }
        return bad(expression_, "\"{\" has no \"}\"");
    }

    Result<std::string> unescape(std::string_view quoted) {
        std::string out;
        for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
            if (quoted[i] != '\\' || i + 2 >= quoted.size()) {
                out += quoted[i];
                continue;
            }
            switch (quoted[++i]) {
                case 'n': out += '\n'; break;
                case 't': out += '\t'; break;
                case 'r': out += '\r'; break;
                default: out += quoted[i];
            }
        }
        return out;
    }

    std::string_view expression_;
    const Json& root_;
};

}  // namespace

Result<std::string> json_path(std::string_view expression, const nlohmann::ordered_json& document) {
    return Template(expression, document).run();
}

}  // namespace axo::cli
