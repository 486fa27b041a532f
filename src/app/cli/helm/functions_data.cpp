#include <algorithm>
#include <cmath>

#include "app/cli/helm/functions.h"

namespace axo::cli::helm {

std::unexpected<Error> wrong(const std::string& what) {
    return fail(Code::kInvalidArgument, what);
}

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

Function of_texts(std::size_t count, std::function<Result<Value>(const std::vector<std::string>&)> function) {
    return counted(count, count, [function = std::move(function)](const Array& a) {
        std::vector<std::string> texts;
        for (const Value& value : a) texts.push_back(value.text());
        return function(texts);
    });
}

double as_number(const Value& value) {
    if (const auto* integer = value.integer()) return static_cast<double>(*integer);
    if (const auto* real = value.real()) return *real;
    if (const auto* boolean = value.boolean()) return *boolean ? 1 : 0;
    return value.string() != nullptr ? std::strtod(value.string()->c_str(), nullptr) : 0;
}

std::vector<std::string> split(const std::string& separator, const std::string& text) {
    std::vector<std::string> parts;
    std::size_t from = 0;
    for (std::size_t at; (at = text.find(separator, from)) != std::string::npos; from = at + separator.size())
        parts.push_back(text.substr(from, at - from));
    parts.push_back(text.substr(from));
    return parts;
}

namespace {

Result<Object*> object_of(const Value& value) {
    if (value.object() == nullptr) return wrong("an object is wanted, not " + value.kind());
    return value.object();
}
Result<Array*> array_of(const Value& value) {
    if (value.array() == nullptr) return wrong("a list is wanted, not " + value.kind());
    return value.array();
}

void add_numbers(Functions& all) {
    all["int"] =
        counted(1, 1, [](const Array& a) -> Result<Value> { return static_cast<std::int64_t>(as_number(a[0])); });
    all["int64"] = all["int"];
    all["floor"] = counted(1, 1, [](const Array& a) -> Result<Value> { return std::floor(as_number(a[0])); });
    all["len"] = counted(1, 1, [](const Array& a) -> Result<Value> {
        const std::size_t size = a[0].array() != nullptr    ? a[0].array()->size()
                                 : a[0].object() != nullptr ? a[0].object()->size()
                                                            : a[0].text().size();
        return static_cast<std::int64_t>(size);
    });
}

void add_lists(Functions& all) {
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

void add_objects(Functions& all) {
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

}  // namespace

void add_data_functions(Functions& all) {
    add_numbers(all);
    add_lists(all);
    add_objects(all);
}

}  // namespace axo::cli::helm
