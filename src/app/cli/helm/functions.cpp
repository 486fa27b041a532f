// Functions of Go's templates, of Sprig and of Helm; arguments and results as documented there
// (masterminds.github.io/sprig, helm.sh/docs/chart_template_guide/function_list).
#include <algorithm>
#include <cmath>
#include <regex>

#include "app/cli/helm/template.h"
#include "base/sha256.h"
#include "model/yaml.h"

namespace axo::cli::helm {

namespace {

using Table = std::map<std::string, Function>;

std::unexpected<Error> wrong(const std::string& what) {
    return fail(Code::kInvalidArgument, what);
}

// Checks the number of arguments; most: 0 means any.
Function counted(std::size_t least, std::size_t most, Function function) {
    return [least, most, function = std::move(function)](const Array& a) -> Result<Value> {
        if (a.size() < least || (most != 0 && a.size() > most))
            return wrong(std::to_string(a.size()) + " arguments; wanted: " + std::to_string(least) +
                         (most == least ? ""
                          : most == 0   ? " or more"
                                        : " to " + std::to_string(most)));
        return function(a);
    };
}

// A function of texts.
Function of_texts(std::size_t count, std::function<Result<Value>(const std::vector<std::string>&)> function) {
    return counted(count, count, [function = std::move(function)](const Array& a) {
        std::vector<std::string> texts;
        for (const Value& value : a) texts.push_back(value.text());
        return function(texts);
    });
}

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

double as_number(const Value& value) {
    if (const auto* integer = value.integer()) return static_cast<double>(*integer);
    if (const auto* real = value.real()) return *real;
    if (const auto* boolean = value.boolean()) return *boolean ? 1 : 0;
    return value.string() != nullptr ? std::strtod(value.string()->c_str(), nullptr) : 0;
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

std::vector<std::string> split(const std::string& separator, const std::string& text) {
    std::vector<std::string> parts;
    std::size_t from = 0;
    for (std::size_t at; (at = text.find(separator, from)) != std::string::npos; from = at + separator.size())
        parts.push_back(text.substr(from, at - from));
    parts.push_back(text.substr(from));
    return parts;
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

Result<bool> semver_matches(std::string constraint, const std::string& version) {
    std::ranges::replace(constraint, ',', ' ');
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

Result<std::regex> expression(const std::string& text) {
    try {
        return std::regex(text);
    } catch (const std::regex_error&) {
        return wrong("\"" + text + "\": not a regular expression");
    }
}

Result<Object*> object_of(const Value& value) {
    if (value.object() == nullptr) return wrong("an object is wanted, not " + value.kind());
    return value.object();
}
Result<Array*> array_of(const Value& value) {
    if (value.array() == nullptr) return wrong("a list is wanted, not " + value.kind());
    return value.array();
}

void add_comparisons(Table& all) {
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
    all["empty"] = all["not"];
    all["semverCompare"] = of_texts(2, [](const auto& t) -> Result<Value> { return semver_matches(t[0], t[1]); });
    all["kindIs"] = counted(2, 2, [](const Array& a) -> Result<Value> { return a[0].text() == a[1].kind(); });
    all["kindOf"] = counted(1, 1, [](const Array& a) -> Result<Value> { return a[0].kind(); });
}

void add_choices(Table& all) {
    all["default"] =
        counted(1, 2, [](const Array& a) -> Result<Value> { return a.size() == 2 && a[1].truth() ? a[1] : a[0]; });
    all["ternary"] = counted(3, 3, [](const Array& a) -> Result<Value> { return a[2].truth() ? a[0] : a[1]; });
    all["coalesce"] = counted(1, 0, [](const Array& a) -> Result<Value> {
        const auto found = std::ranges::find_if(a, &Value::truth);
        return found == a.end() ? Value() : *found;
    });
    all["fail"] = of_texts(1, [](const auto& t) -> Result<Value> { return fail(Code::kFailedPrecondition, t[0]); });
    all["required"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        if (a[1].is_nil() || a[1] == Value("")) return fail(Code::kFailedPrecondition, a[0].text());
        return a[1];
    });
}

void add_texts(Table& all) {
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
    all["squote"] = of_texts(1, [](const auto& t) -> Result<Value> { return "'" + t[0] + "'"; });
    all["lower"] = of_texts(1, [](const auto& t) -> Result<Value> {
        std::string out = t[0];
        std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        return out;
    });
    all["upper"] = of_texts(1, [](const auto& t) -> Result<Value> {
        std::string out = t[0];
        std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        return out;
    });
    all["hasPrefix"] = of_texts(2, [](const auto& t) -> Result<Value> { return t[1].starts_with(t[0]); });
    all["hasSuffix"] = of_texts(2, [](const auto& t) -> Result<Value> { return t[1].ends_with(t[0]); });
    all["contains"] = of_texts(2, [](const auto& t) -> Result<Value> { return t[1].find(t[0]) != std::string::npos; });
    all["trimPrefix"] = of_texts(
        2, [](const auto& t) -> Result<Value> { return t[1].starts_with(t[0]) ? t[1].substr(t[0].size()) : t[1]; });
    all["trimSuffix"] = of_texts(2, [](const auto& t) -> Result<Value> {
        return t[1].ends_with(t[0]) ? t[1].substr(0, t[1].size() - t[0].size()) : t[1];
    });
    all["trimAll"] = of_texts(2, [](const auto& t) -> Result<Value> {
        const auto from = t[1].find_first_not_of(t[0]);
        if (from == std::string::npos) return "";
        return t[1].substr(from, t[1].find_last_not_of(t[0]) + 1 - from);
    });
    all["trim"] = of_texts(1, [all](const auto& t) { return all.at("trimAll")({" \t\r\n", t[0]}); });
    all["replace"] = of_texts(3, [](const auto& t) -> Result<Value> {
        if (t[0].empty()) return t[2];
        std::string out = t[2];
        for (std::size_t at = 0; (at = out.find(t[0], at)) != std::string::npos; at += t[1].size())
            out.replace(at, t[0].size(), t[1]);
        return out;
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

void add_numbers(Table& all) {
    all["int"] =
        counted(1, 1, [](const Array& a) -> Result<Value> { return static_cast<std::int64_t>(as_number(a[0])); });
    all["int64"] = all["int"];
    all["floor"] = counted(1, 1, [](const Array& a) -> Result<Value> { return std::floor(as_number(a[0])); });
    all["add"] = counted(1, 0, [](const Array& a) -> Result<Value> {
        double sum = 0;
        for (const Value& value : a) sum += as_number(value);
        return static_cast<std::int64_t>(sum);
    });
    all["sub"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        return static_cast<std::int64_t>(as_number(a[0]) - as_number(a[1]));
    });
    all["len"] = counted(1, 1, [](const Array& a) -> Result<Value> {
        const std::size_t size = a[0].array() != nullptr    ? a[0].array()->size()
                                 : a[0].object() != nullptr ? a[0].object()->size()
                                                            : a[0].text().size();
        return static_cast<std::int64_t>(size);
    });
}

void add_lists(Table& all) {
    all["list"] = [](const Array& a) -> Result<Value> { return a; };
    all["append"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Array* list, array_of(a[0]));
        Array longer = *list;
        longer.push_back(a[1]);
        return longer;
    });
    all["concat"] = [](const Array& a) -> Result<Value> {
        Array together;
        for (const Value& value : a) {
            TRY_ASSIGN(const Array* list, array_of(value));
            together.insert(together.end(), list->begin(), list->end());
        }
        return together;
    };
    all["first"] = counted(1, 1, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Array* list, array_of(a[0]));
        return list->empty() ? Value() : list->front();
    });
    all["last"] = counted(1, 1, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Array* list, array_of(a[0]));
        return list->empty() ? Value() : list->back();
    });
    all["initial"] = counted(1, 1, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Array* list, array_of(a[0]));
        return Array(list->begin(), list->empty() ? list->end() : list->end() - 1);
    });
    all["has"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        if (a[1].is_nil()) return false;
        TRY_ASSIGN(const Array* list, array_of(a[1]));
        return std::ranges::find(*list, a[0]) != list->end();
    });
    all["sortAlpha"] = counted(1, 1, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Array* list, array_of(a[0]));
        Array sorted;
        for (const Value& value : *list) sorted.emplace_back(value.text());
        std::ranges::sort(sorted, {}, &Value::text);
        return sorted;
    });
    all["join"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        const Array* list = a[1].array();
        if (list == nullptr) return a[1].text();
        std::string out;
        for (std::size_t i = 0; i < list->size(); ++i) out += (i == 0 ? "" : a[0].text()) + (*list)[i].text();
        return out;
    });
    all["splitList"] = of_texts(2, [](const auto& t) -> Result<Value> {
        Array parts;
        for (const std::string& part : split(t[0], t[1])) parts.emplace_back(part);
        return parts;
    });
}

// Into the first; what it has already stays, or is overwritten.
void merge_into(Object& into, const Object& from, bool overwrite) {
    for (const auto& [key, value] : from) {
        const auto present = into.find(key);
        if (present == into.end()) {
            into.emplace(key, value);
        } else if (present->second.object() != nullptr && value.object() != nullptr) {
            merge_into(*present->second.object(), *value.object(), overwrite);
        } else if (overwrite ? value.truth() : !present->second.truth()) {
            present->second = value;
        }
    }
}

Function merging(bool overwrite) {
    return counted(1, 0, [overwrite](const Array& a) -> Result<Value> {
        TRY_ASSIGN(Object * into, object_of(a[0]));
        for (std::size_t i = 1; i < a.size(); ++i) {
            TRY_ASSIGN(const Object* from, object_of(a[i]));
            merge_into(*into, *from, overwrite);
        }
        return a[0];
    });
}

void add_objects(Table& all) {
    all["dict"] = [](const Array& a) -> Result<Value> {
        Object made;
        for (std::size_t i = 0; i < a.size(); i += 2) made[a[i].text()] = i + 1 < a.size() ? a[i + 1] : Value("");
        return made;
    };
    all["set"] = counted(3, 3, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(Object * object, object_of(a[0]));
        (*object)[a[1].text()] = a[2];
        return a[0];
    });
    all["unset"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(Object * object, object_of(a[0]));
        object->erase(a[1].text());
        return a[0];
    });
    all["get"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Object* object, object_of(a[0]));
        const auto found = object->find(a[1].text());
        return found == object->end() ? Value("") : found->second;
    });
    all["hasKey"] = counted(2, 2, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Object* object, object_of(a[0]));
        return object->contains(a[1].text());
    });
    all["keys"] = counted(1, 0, [](const Array& a) -> Result<Value> {
        Array names;
        for (const Value& value : a) {
            TRY_ASSIGN(const Object* object, object_of(value));
            for (const auto& [key, item] : *object) names.emplace_back(key);
        }
        return names;
    });
    all["omit"] = counted(1, 0, [](const Array& a) -> Result<Value> {
        TRY_ASSIGN(const Object* object, object_of(a[0]));
        Object rest = *object;
        for (std::size_t i = 1; i < a.size(); ++i) rest.erase(a[i].text());
        return rest;
    });
    all["merge"] = merging(false);
    all["mergeOverwrite"] = merging(true);
    all["deepCopy"] = counted(1, 1, [](const Array& a) -> Result<Value> { return a[0].copy(); });
    all["index"] = counted(1, 0, [](const Array& a) -> Result<Value> {
        Value value = a[0];
        for (std::size_t i = 1; i < a.size(); ++i) {
            if (const Object* object = value.object()) {
                const auto found = object->find(a[i].text());
                value = found == object->end() ? Value() : Value(found->second);
            } else if (const Array* list = value.array()) {
                const auto at = static_cast<std::size_t>(as_number(a[i]));
                if (at >= list->size()) return wrong("index " + a[i].text() + " of " + std::to_string(list->size()));
                value = Value((*list)[at]);
            } else {
                return wrong("index of " + value.kind());
            }
        }
        return value;
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

void add_formats(Table& all) {
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

std::map<std::string, Function> plain_functions() {
    Table all;
    add_comparisons(all);
    add_choices(all);
    add_texts(all);
    add_numbers(all);
    add_lists(all);
    add_objects(all);
    add_formats(all);
    return all;
}

}  // namespace axo::cli::helm
