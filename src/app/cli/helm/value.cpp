#include "app/cli/helm/value.h"

#include <charconv>
#include <cmath>

namespace axo::cli::helm {

namespace {

// As Go prints them: the shortest digits that read back, with an exponent below -4 and from 6 on.
std::string go_number(double value) {
    char buffer[64];
    const auto scientific = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
    const std::string text(buffer, scientific.ptr);
    const int exponent = std::atoi(text.c_str() + text.find('e') + 1);
    if (exponent < -4 || exponent >= 6) return text;
    const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
    return {buffer, fixed.ptr};
}

}  // namespace

Value Value::from_json(const Json& json) {
    switch (json.type()) {
        case Json::value_t::boolean: return json.get<bool>();
        case Json::value_t::number_integer:
        case Json::value_t::number_unsigned:
        case Json::value_t::number_float: return json.get<double>();
        case Json::value_t::string: return json.get<std::string>();
        case Json::value_t::array: {
            Array array;
            for (const Json& item : json) array.push_back(from_json(item));
            return array;
        }
        case Json::value_t::object: {
            Object object;
            for (const auto& [key, item] : json.items()) object.emplace(key, from_json(item));
            return object;
        }
        default: return {};
    }
}

Json Value::to_json() const {
    if (const bool* value = boolean()) return *value;
    if (const std::int64_t* value = integer()) return *value;
    if (const double* value = real()) {
        if (*value == std::floor(*value) && std::abs(*value) < 9e15) return static_cast<std::int64_t>(*value);
        return *value;
    }
    if (const std::string* value = string()) return *value;
    if (const Array* values = array()) {
        Json json = Json::array();
        for (const Value& value : *values) json.push_back(value.to_json());
        return json;
    }
    if (const Object* values = object()) {
        Json json = Json::object();
        for (const auto& [key, value] : *values) json[key] = value.to_json();
        return json;
    }
    return nullptr;
}

Value Value::copy() const {
    if (const Array* values = array()) {
        Array copied;
        for (const Value& value : *values) copied.push_back(value.copy());
        return copied;
    }
    if (const Object* values = object()) {
        Object copied;
        for (const auto& [key, value] : *values) copied.emplace(key, value.copy());
        return copied;
    }
    return *this;
}

bool Value::truth() const {
    if (const bool* value = boolean()) return *value;
    if (const std::int64_t* value = integer()) return *value != 0;
    if (const double* value = real()) return *value != 0;
    if (const std::string* value = string()) return !value->empty();
    if (const Array* values = array()) return !values->empty();
    if (const Object* values = object()) return !values->empty();
    return function() != nullptr;
}

std::string Value::kind() const {
    if (boolean() != nullptr) return "bool";
    if (integer() != nullptr) return "int64";
    if (real() != nullptr) return "float64";
    if (string() != nullptr) return "string";
    if (array() != nullptr) return "slice";
    if (object() != nullptr) return "map";
    return function() != nullptr ? "func" : "invalid";
}

std::string Value::text() const {
    if (const bool* value = boolean()) return *value ? "true" : "false";
    if (const std::int64_t* value = integer()) return std::to_string(*value);
    if (const double* value = real()) return go_number(*value);
    if (const std::string* value = string()) return *value;
    std::string out;
    if (const Array* values = array()) {
        for (const Value& value : *values) out += (out.empty() ? "" : " ") + value.text();
        return "[" + out + "]";
    }
    if (const Object* values = object()) {
        for (const auto& [key, value] : *values) out += (out.empty() ? "" : " ") + key + ":" + value.text();
        return "map[" + out + "]";
    }
    return function() != nullptr ? "func" : "<nil>";
}

bool operator==(const Value& a, const Value& b) {
    if (a.array() != nullptr && b.array() != nullptr) return *a.array() == *b.array();
    if (a.object() != nullptr && b.object() != nullptr) return *a.object() == *b.object();
    return a.data_ == b.data_;
}

}  // namespace axo::cli::helm
