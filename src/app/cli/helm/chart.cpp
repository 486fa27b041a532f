#include "app/cli/helm/chart.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

#include "app/cli/helm/functions.h"
#include "base/embedded_text.h"
#include "model/yaml.h"

extern "C" const axo::EmbeddedText axo_chart_begin[], axo_chart_end[];  // cmake/text.cmake

namespace axo::cli::helm {

namespace {

Result<std::string_view> file(const Chart& chart, const std::string& path) {
    const auto found = chart.find(path);
    if (found == chart.end()) return fail(Code::kNotFound, "the chart has no " + path);
    return found->second;
}

// The first such character that no backslash stands before; npos: none.
std::size_t find_bare(std::string_view text, char wanted) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\') {
            ++i;
        } else if (text[i] == wanted) {
            return i;
        }
    }
    return std::string_view::npos;
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        out += text[i];
    }
    return out;
}

Json typed(const std::string& text, bool as_text) {
    if (as_text) return text;
    if (text == "true") return true;
    if (text == "false") return false;
    if (text == "null") return nullptr;
    // A leading zero is no number's: "0123" is a text.
    std::int64_t number = 0;
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, number);
    if (read.ec == std::errc{} && read.ptr == end && (text == "0" || !text.starts_with('0'))) return number;
    return text;
}

Status put(Json& values, std::string_view path, const Json& value) {
    const std::size_t point = find_bare(path, '.');
    std::string_view part = path.substr(0, point);
    std::optional<std::size_t> index;
    if (const auto open = part.find('['); open != std::string_view::npos && part.ends_with(']')) {
        std::size_t number = 0;
        const std::string_view digits = part.substr(open + 1, part.size() - open - 2);
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (read.ec != std::errc{} || read.ptr != digits.data() + digits.size() || number > 1000)
            return fail(Code::kInvalidArgument, "\"" + std::string(part) + "\": accepted: an index from 0 to 1000");
        index = number;
        part = part.substr(0, open);
    }
    if (part.empty()) return fail(Code::kInvalidArgument, "\"" + std::string(path) + "\": a name is missing");
    if (!values.is_object()) values = Json::object();
    Json* place = &values[unescaped(part)];
    if (index) {
        if (!place->is_array()) *place = Json::array();
        while (place->size() <= *index) place->push_back(nullptr);
        place = &(*place)[*index];
    }
    if (point == std::string_view::npos) {
        *place = value;
        return {};
    }
    return put(*place, path.substr(point + 1), value);
}

// null takes a default away.
void apply_over(Object& defaults, const Object& given) {
    for (const auto& [key, value] : given) {
        const auto present = defaults.find(key);
        if (value.is_nil()) {
            defaults.erase(key);
        } else if (value.object() != nullptr && present != defaults.end() && present->second.object() != nullptr) {
            apply_over(*present->second.object(), *value.object());
        } else {
            defaults[key] = value;
        }
    }
}

// Numbers of --set are whole ones, those of files floating, as Helm has them.
Value given_value(const Json& json) {
    if (json.is_number_integer()) return json.get<std::int64_t>();
    if (json.is_object()) {
        Object object;
        for (const auto& [key, item] : json.items()) object.emplace(key, given_value(item));
        return object;
    }
    if (json.is_array()) {
        Array array;
        for (const Json& item : json) array.push_back(given_value(item));
        return array;
    }
    return Value::from_json(json);
}

Value metadata_of(const Json& chart_yaml) {
    Object metadata;
    for (const auto& [key, item] : chart_yaml.items()) {
        std::string upper = key;
        upper[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(upper[0])));
        metadata.emplace(upper, Value::from_json(item));
    }
    return metadata;
}

Value files_of(const Chart& chart) {
    Function get = [&chart](const Array& arguments) -> Result<Value> {
        if (arguments.size() != 1) return fail(Code::kInvalidArgument, "Files.Get: a path is wanted");
        const auto found = chart.find(arguments[0].text());
        return found == chart.end() ? Value("") : Value(std::string(found->second));
    };
    return Object{{"Get", std::move(get)}};
}

Value capabilities_of(const std::string& version) {
    const std::string bare = version.starts_with('v') ? version.substr(1) : version;
    const auto point = bare.find('.');
    const std::string minor =
        point == std::string::npos ? "" : bare.substr(point + 1, bare.find('.', point + 1) - point - 1);
    Function has = [](const Array&) -> Result<Value> { return false; };
    return Object{{"KubeVersion", Object{{"Version", version}, {"Major", bare.substr(0, point)}, {"Minor", minor}}},
                  {"APIVersions", Object{{"Has", std::move(has)}}}};
}

// Before what needs them, as Helm orders the kinds.
int rank(const Json& object) {
    static const std::vector<std::string> order{
        "Namespace",   "ResourceQuota",      "ServiceAccount", "Secret",      "ConfigMap", "CustomResourceDefinition",
        "ClusterRole", "ClusterRoleBinding", "Role",           "RoleBinding", "Service",   "PodDisruptionBudget",
        "DaemonSet",   "Deployment"};
    const auto found = std::ranges::find(order, object.value("kind", std::string()));
    return static_cast<int>(found - order.begin());
}

}  // namespace

const Chart& embedded_chart() {
    static const Chart chart = [] {
        Chart files;
        for (const EmbeddedText* text = axo_chart_begin; text != axo_chart_end; ++text)
            files.emplace(text->name, std::string_view(text->begin, text->end));
        return files;
    }();
    return chart;
}

void overlay(Json& below, const Json& above) {
    if (!below.is_object() || !above.is_object()) {
        below = above;
        return;
    }
    for (const auto& [key, value] : above.items()) overlay(below[key], value);
}

Status set_value(Json& values, const std::string& assignment, bool as_text) {
    std::string_view rest = assignment;
    while (!rest.empty()) {
        const std::size_t equals = find_bare(rest, '=');
        if (equals == std::string_view::npos)
            return fail(Code::kInvalidArgument, "--set " + assignment + ": accepted: path=value, more after commas");
        const std::string_view path = rest.substr(0, equals);
        rest = rest.substr(equals + 1);
        Json value;
        if (rest.starts_with('{')) {
            const std::size_t close = find_bare(rest, '}');
            if (close == std::string_view::npos)
                return fail(Code::kInvalidArgument, "--set " + assignment + ": '}' is missing");
            value = Json::array();
            std::string_view items = rest.substr(1, close - 1);
            while (!items.empty()) {
                const std::size_t comma = find_bare(items, ',');
                if (comma != 0) value.push_back(typed(unescaped(items.substr(0, comma)), as_text));
                items = comma == std::string_view::npos ? "" : items.substr(comma + 1);
            }
            rest = rest.substr(close + 1);
            if (rest.starts_with(',')) rest.remove_prefix(1);
        } else {
            const std::size_t comma = find_bare(rest, ',');
            value = typed(unescaped(rest.substr(0, comma)), as_text);
            rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
        }
        auto done = put(values, path, value);
        if (!done) return forward_error(std::move(done).error().with_context("--set " + assignment));
    }
    return {};
}

Status set_value_at(Json& values, const std::string& path, const std::string& text) {
    return put(values, path, text);
}

Result<Value> chart_values(const Chart& chart, const Json& given) {
    TRY_ASSIGN(const std::string_view text, file(chart, "values.yaml"));
    TRY_ASSIGN(const Json defaults, parse_yaml(text));
    const Value values = Value::from_json(defaults);
    if (values.object() == nullptr) return fail(Code::kDataLoss, "values.yaml: not an object");
    const Value over = given_value(given.is_null() ? Json::object() : given);
    if (over.object() == nullptr) return fail(Code::kInvalidArgument, "values: an object is wanted");
    apply_over(*values.object(), *over.object());
    values.object()->try_emplace("global", Object{});
    return values;
}

Result<Rendered> render(const Chart& chart, const Release& release, const Json& given, Engine::Lookup lookup) {
    TRY_ASSIGN(const std::string_view chart_yaml, file(chart, "Chart.yaml"));
    TRY_ASSIGN(const Json metadata, parse_yaml(chart_yaml));
    const std::string accepted = metadata.value("kubeVersion", std::string());
    TRY_ASSIGN(const bool fits, semver_matches(accepted, release.kubernetes_version));
    if (!fits)
        return fail(Code::kFailedPrecondition,
                    "Kubernetes " + release.kubernetes_version + ": the chart accepts " + accepted);
    TRY_ASSIGN(const Value values, chart_values(chart, given));
    const std::string name = metadata.value("name", std::string());
    const Value top = Object{{"Values", values},
                             {"Chart", metadata_of(metadata)},
                             {"Files", files_of(chart)},
                             {"Release", Object{{"Name", release.name},
                                                {"Namespace", release.name_space},
                                                {"Service", "Helm"},
                                                {"Revision", std::int64_t{1}},
                                                {"IsInstall", !release.upgrade},
                                                {"IsUpgrade", release.upgrade}}},
                             {"Capabilities", capabilities_of(release.kubernetes_version)}};
    Engine engine(std::move(lookup));
    for (const auto& [path, text] : chart) {
        if (path.starts_with("templates/")) TRY(engine.add(name + "/" + path, text));
    }
    Rendered rendered;
    for (const auto& [path, text] : chart) {
        if (!path.starts_with("templates/") || path.substr(path.rfind('/') + 1).starts_with('_')) continue;
        (*top.object())["Template"] = Object{{"Name", name + "/" + path}, {"BasePath", name + "/templates"}};
        TRY_ASSIGN(std::string out, engine.run(name + "/" + path, top));
        if (path == "templates/NOTES.txt") {
            rendered.notes = std::move(out);
        } else {
            rendered.manifests.emplace(path, std::move(out));
        }
    }
    return rendered;
}

std::vector<std::string> documents(const std::string& text) {
    std::vector<std::string> all(1);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("---")) {
            all.emplace_back();
        } else {
            all.back() += line + "\n";
        }
    }
    return all;
}

std::string manifest_text(const Rendered& rendered) {
    std::string out;
    for (const auto& [path, text] : rendered.manifests) {
        const auto from = text.find_first_not_of(" \t\r\n");
        if (from == std::string::npos) continue;
        out += "---\n# Source: " + path + "\n" + text.substr(from, text.find_last_not_of(" \t\r\n") + 1 - from) + "\n";
    }
    return out;
}

Result<std::vector<Json>> manifest_objects(const Rendered& rendered) {
    std::vector<Json> objects;
    for (const auto& [path, text] : rendered.manifests) {
        for (const std::string& document : documents(text)) {
            auto object = parse_yaml(document);
            if (!object) return forward_error(std::move(object).error().with_context(path));
            if (object->is_object()) objects.push_back(std::move(*object));
        }
    }
    std::ranges::stable_sort(objects, {}, rank);
    return objects;
}

}  // namespace axo::cli::helm
