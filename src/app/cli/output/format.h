// `-o json|yaml|jsonpath=…`: which form an answer takes, and small text forms shared by commands. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace axo::cli {

using Json = nlohmann::ordered_json;

// "" is the command's own text. Errors name the accepted forms.
struct OutputFormat {
    enum class Kind { kText, kJson, kYaml, kJsonPath };
    Kind kind = Kind::kText;
    std::string path;

    static Result<OutputFormat> parse(const std::string& option);
    [[nodiscard]] bool is_text() const { return kind == Kind::kText; }
    // For every kind but text.
    [[nodiscard]] Result<std::string> print(const Json& value) const;
};

// Lenient reads of the agent's answers: "" / 0 / null where a field is absent or of another type.
const Json& field(const Json& object, std::string_view path);  // "status.networking.mac"
std::string text(const Json& object, std::string_view path);
std::int64_t number(const Json& object, std::string_view path);
bool flag(const Json& object, std::string_view path);
std::vector<std::string> texts(const Json& object, std::string_view path);

std::string join(const std::vector<std::string>& parts, std::string_view separator);
// Seconds since the epoch of an RFC 3339 time; nothing for "" and Go's zero time.
std::optional<std::int64_t> parse_time(const std::string& rfc3339);
// "12s ago" or "never".
std::string time_since(const std::string& rfc3339, std::int64_t now);
// "world" for 2; "" for numbers that are not reserved.
std::string reserved_identity_name(std::int64_t identity);
// "1.5 MiB".
std::string human_bytes(std::uint64_t bytes);

}  // namespace axo::cli
