// Functions of Go's templates, of Sprig and of Helm; arguments and results as documented there
// (masterminds.github.io/sprig, helm.sh/docs/chart_template_guide/function_list).
#include <algorithm>
#include <regex>

#include "app/cli/helm/functions.h"
#include "base/base64.h"
#include "base/sha256.h"
#include "model/yaml.h"

namespace axo::cli::helm {

namespace {

std::string indented(std::size_t width, const std::string& text) {
    const std::string pad(width, ' ');
    std::string out = pad;
    for (const char c : text) {
        out += c;
        if (c == '\n') out += pad;
    }
    return out;
}

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            default: out += c;
        }
    }
    return out + "\"";
}

bool is_number(const Value& value) {
    return value.integer() != nullptr || value.real() != nullptr;
}

bool equal(const Value& a, const Value& b) {
    return is_number(a) && is_number(b) ? as_number(a) == as_number(b) : a == b;
}

Result<bool> less(const Value& a, const Value& b) {
    if (is_number(a) && is_number(b)) return as_number(a) < as_number(b);
    if (a.string() != nullptr && b.string() != nullptr) return *a.string() < *b.string();
    return wrong("cannot compare " + a.kind() + " with " + b.kind());
}

Result<std::string> formatted(const Array& a) {
    std::string out;
    const std::string format = a[0].text();
    std::size_t next = 1;
    for (std::size_t i = 0; i < format.size(); ++i) {
        if (format[i] != '%') {
            out += format[i];
            continue;
        }
        const char verb = ++i < format.size() ? format[i] : 0;
        if (verb == '%') {
            out += '%';
            continue;
        }
        if (next == a.size()) return wrong("\"" + format + "\" wants more arguments");
        const Value& value = a[next++];
        switch (verb) {
            case 's':
            case 'v': out += value.text(); break;
            case 'd': out += std::to_string(static_cast<std::int64_t>(as_number(value))); break;
            case 'q': out += quoted(value.text()); break;
            default: return wrong("\"" + format + "\": accepted: %s, %v, %d, %q");
        }
    }
    return out;
}

// "v1.30.0-rc.1+x" -> 1, 30, 0, "rc.1"
struct Semver {
    int parts[3] = {0, 0, 0};
    std::string pre;
    static Semver parse(std::string text) {
        Semver version;
        if (text.starts_with('v')) text.erase(0, 1);
        text = text.substr(0, text.find('+'));
        if (const auto dash = text.find('-'); dash != std::string::npos) {
            version.pre = text.substr(dash + 1);
            text.resize(dash);
        }
        std::sscanf(text.c_str(), "%d.%d.%d", &version.parts[0], &version.parts[1], &version.parts[2]);
        return version;
    }
    [[nodiscard]] int compare(const Semver& other) const {
        for (int i = 0; i < 3; ++i) {
            if (parts[i] != other.parts[i]) return parts[i] < other.parts[i] ? -1 : 1;
        }
        if (pre == other.pre) return 0;
        // Without a pre-release it is the later one.
        if (pre.empty() || other.pre.empty()) return pre.empty() ? 1 : -1;
        return pre < other.pre ? -1 : 1;
    }
};

Result<std::regex> expression(const std::string& text) {
    try {
        return std::regex(text);
    } catch (const std::regex_error&) {
        return wrong("\"" + text + "\": not a regular expression");
    }
}

void add_comparisons(Functions& all) {
    all["eq"] = counted(2, 0, [](const Array& a) -> Result<Value> {
        return std::any_of(a.begin() + 1, a.end(), [&a](const Value& other) { return equal(a[0], other); });
    });
    all["ne"] = counted(2, 2, [](const Array& a) -> Result<Value> { return !equal(a[0], a[1]); });
    all["lt"] = counted(2, 2, [](const Array& a) -> Result<Value> { return less(a[0], a[1]); });
    all["gt"] = counted(2, 2, [](const Array& a) -> Result<Value> { return less(a[1], a[0]); });
    all["le"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const bool more, less(a[1], a[0]));
        return !more;
    });
    all["ge"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const bool below, less(a[0], a[1]));
        return !below;
    });
    all["not"] = counted(1, 1, [](const Array& a) -> Result<Value> { return !a[0].truth(); });
    all["semverCompare"] = of_texts(2, [](const auto& t) -> Result<Value> { return semver_matches(t[0], t[1]); });
    all["kindIs"] = counted(2, 2, [](const Array& a) -> Result<Value> { return a[0].text() == a[1].kind(); });
}

void add_choices(Functions& all) {
    all["default"] =
        counted(1, 2, [](const Array& a) -> Result<Value> { return a.size() == 2 && a[1].truth() ? a[1] : a[0]; });
    all["ternary"] = counted(3, 3, [](const Array& a) -> Result<Value> { return a[2].truth() ? a[0] : a[1]; });
    all["fail"] = of_texts(1, [](const auto& t) -> Result<Value> { return fail(Code::kFailedPrecondition, t[0]); });
}

void add_texts(Functions& all) {
    all["toString"] = of_texts(1, [](const auto& t) -> Result<Value> { return t[0]; });
    all["print"] = [](const Array& a) -> Result<Value> {
        std::string out;
        for (const Value& value : a) out += value.text();
        return out;
    };
    all["printf"] = counted(1, 0, [](const Array& a) -> Result<Value> { return formatted(a); });
    all["quote"] = [](const Array& a) -> Result<Value> {
        std::string out;
        for (const Value& value : a) {
            if (!value.is_nil()) out += (out.empty() ? "" : " ") + quoted(value.text());
        }
        return out;
    };
    all["lower"] = of_texts(1, [](const auto& t) -> Result<Value> {
        std::string out = t[0];
        std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        return out;
    });
    all["hasPrefix"] = of_texts(2, [](const auto& t) -> Result<Value> { return t[1].starts_with(t[0]); });
    all["hasSuffix"] = of_texts(2, [](const auto& t) -> Result<Value> { return t[1].ends_with(t[0]); });
    all["trimAll"] = of_texts(2, [](const auto& t) -> Result<Value> {
        const auto from = t[1].find_first_not_of(t[0]);
        if (from == std::string::npos) return "";
        return t[1].substr(from, t[1].find_last_not_of(t[0]) + 1 - from);
    });
    all["trunc"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        const std::string text = a[1].text();
        const auto count = static_cast<std::int64_t>(as_number(a[0]));
        const auto size = static_cast<std::int64_t>(text.size());
        if (count >= 0) return text.substr(0, static_cast<std::size_t>(count));
        return -count >= size ? text : text.substr(static_cast<std::size_t>(size + count));
    });
    all["indent"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        return indented(static_cast<std::size_t>(as_number(a[0])), a[1].text());
    });
    all["nindent"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        return "\n" + indented(static_cast<std::size_t>(as_number(a[0])), a[1].text());
    });
    all["regexMatch"] = of_texts(2, [](const auto& t) -> Result<Value> {
        TRY_ASSIGN(const std::regex wanted, expression(t[0]));
        return std::regex_search(t[1], wanted);
    });
    all["regexFind"] = of_texts(2, [](const auto& t) -> Result<Value> {
        TRY_ASSIGN(const std::regex wanted, expression(t[0]));
        std::smatch match;
        return std::regex_search(t[1], match, wanted) ? match.str() : std::string();
    });
    all["regexReplaceAll"] = of_texts(3, [](const auto& t) -> Result<Value> {
        TRY_ASSIGN(const std::regex wanted, expression(t[0]));
        return std::regex_replace(t[1], wanted, t[2]);
    });
    all["b64enc"] = of_texts(1, [](const auto& t) -> Result<Value> { return base64_encode(t[0]); });
    all["replace"] = of_texts(3, [](const auto& t) -> Result<Value> {
        if (t[0].empty()) return wrong("replace: an empty text cannot be found");
        std::string out;
        for (std::size_t from = 0;; from += t[0].size()) {
            const std::size_t at = t[2].find(t[0], from);
            out.append(t[2], from, at - from);
            if (at == std::string::npos) return out;
            out += t[1];
            from = at;
        }
    });
    all["sha256sum"] = of_texts(1, [](const auto& t) -> Result<Value> { return sha256_hex(t[0]); });
    all["urlParse"] = of_texts(1, [](const auto& t) -> Result<Value> {
        const auto scheme = t[0].find("://");
        if (scheme == std::string::npos) return wrong("\"" + t[0] + "\": not a URL");
        const auto slash = std::min(t[0].find('/', scheme + 3), t[0].size());
        return Object{{"scheme", t[0].substr(0, scheme)},
                      {"host", t[0].substr(scheme + 3, slash - scheme - 3)},
                      {"path", t[0].substr(slash)}};
    });
}

Result<Value> parsed(const Result<Json>& json, bool list) {
    if (!json) return list ? Value(Array{json.error().message}) : Value(Object{{"Error", json.error().message}});
    if (json->is_null()) return list ? Value(Array{}) : Value(Object{});
    return Value::from_json(*json);
}

Result<Json> json_of(const std::string& text) {
    Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) return wrong("not JSON");
    return json;
}

void add_formats(Functions& all) {
    all["toYaml"] = counted(1, 1, [](const Array& a) -> Result<Value> {
        std::string text = to_yaml(a[0].to_json());
        while (text.ends_with('\n')) text.pop_back();
        return text;
    });
    all["toJson"] = counted(1, 1, [](const Array& a) -> Result<Value> { return a[0].to_json().dump(); });
    all["fromYaml"] = of_texts(1, [](const auto& t) { return parsed(parse_yaml(t[0]), false); });
    all["fromYamlArray"] = of_texts(1, [](const auto& t) { return parsed(parse_yaml(t[0]), true); });
    all["fromJson"] = of_texts(1, [](const auto& t) { return parsed(json_of(t[0]), false); });
    all["fromJsonArray"] = of_texts(1, [](const auto& t) { return parsed(json_of(t[0]), true); });
}

}  // namespace

Result<bool> semver_matches(std::string constraint, const std::string& version) {
    std::ranges::replace(constraint, ',', ' ');
    // ">= 1.20" is one part.
    for (std::size_t at = 0; (at = constraint.find_first_of("<>=!", at)) != std::string::npos; ++at) {
        while (at + 1 < constraint.size() && constraint[at + 1] == ' ') constraint.erase(at + 1, 1);
    }
    for (const std::string& part : split(" ", constraint)) {
        const auto digits = part.find_first_of("v0123456789");
        if (digits == std::string::npos) {
            if (part.empty()) continue;
            return wrong("constraint \"" + constraint + "\": not understood");
        }
        const std::string op = part.substr(0, digits);
        const int order = Semver::parse(version).compare(Semver::parse(part.substr(digits)));
        const bool holds = op == "<"    ? order < 0
                           : op == "<=" ? order <= 0
                           : op == ">"  ? order > 0
                           : op == ">=" ? order >= 0
                           : op == "!=" ? order != 0
                                        : order == 0;
        if (!holds) return false;
    }
    return true;
}

Functions plain_functions() {
    Functions all;
    add_comparisons(all);
    add_choices(all);
    add_texts(all);
    add_data_functions(all);
    add_certificate_functions(all);
    add_formats(all);
    return all;
}

}  // namespace axo::cli::helm
