// Values of the template language: what YAML and JSON have, and functions. Objects are shared: templates change values
// in place (`set`, `unset`). Thread: main's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "model/json.h"

namespace axo::cli::helm {

using Json = axo::Json;  // not the CLI's, which keeps the order of members
class Value;
using Array = std::vector<Value>;
using Object = std::map<std::string, Value>;
using Function = std::function<Result<Value>(const Array&)>;

class Value {
public:
    Value() = default;
    Value(bool value) : data_(value) {}                                         // NOLINT(google-explicit-constructor)
    Value(std::int64_t value) : data_(value) {}                                 // NOLINT(google-explicit-constructor)
    Value(double value) : data_(value) {}                                       // NOLINT(google-explicit-constructor)
    Value(std::string value) : data_(std::move(value)) {}                       // NOLINT(google-explicit-constructor)
    Value(const char* value) : data_(std::string(value)) {}                     // NOLINT(google-explicit-constructor)
    Value(Array value) : data_(std::make_shared<Array>(std::move(value))) {}    // NOLINT(google-explicit-constructor)
    Value(Object value) : data_(std::make_shared<Object>(std::move(value))) {}  // NOLINT(google-explicit-constructor)
    Value(Function value)
        : data_(std::make_shared<Function>(std::move(value))) {}  // NOLINT(google-explicit-constructor)

    // Numbers of JSON and YAML are floating point, as in Helm.
    static Value from_json(const Json& json);
    // Whole numbers without a point.
    [[nodiscard]] Json to_json() const;
    [[nodiscard]] Value copy() const;

    [[nodiscard]] bool is_nil() const { return std::holds_alternative<std::monostate>(data_); }
    [[nodiscard]] const bool* boolean() const { return std::get_if<bool>(&data_); }
    [[nodiscard]] const std::int64_t* integer() const { return std::get_if<std::int64_t>(&data_); }
    [[nodiscard]] const double* real() const { return std::get_if<double>(&data_); }
    [[nodiscard]] const std::string* string() const { return std::get_if<std::string>(&data_); }
    [[nodiscard]] Array* array() const { return pointer<Array>(); }
    [[nodiscard]] Object* object() const { return pointer<Object>(); }
    [[nodiscard]] Function* function() const { return pointer<Function>(); }

    // Neither false, zero, nil nor empty.
    [[nodiscard]] bool truth() const;
    // As Go calls it: "invalid" for nil, "bool", "int64", "float64", "string", "slice", "map", "func".
    [[nodiscard]] std::string kind() const;
    // As Go's %v: "<nil>" for nil.
    [[nodiscard]] std::string text() const;
    friend bool operator==(const Value& a, const Value& b);

private:
    template <class T>
    [[nodiscard]] T* pointer() const {
        const auto* held = std::get_if<std::shared_ptr<T>>(&data_);
        return held == nullptr ? nullptr : held->get();
    }
    std::variant<std::monostate, bool, std::int64_t, double, std::string, std::shared_ptr<Array>,
                 std::shared_ptr<Object>, std::shared_ptr<Function>>
        data_;
};

}  // namespace axo::cli::helm
