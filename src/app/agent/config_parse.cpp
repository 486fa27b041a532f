#include "app/agent/config_parse.h"

#include <charconv>

namespace axo::config_parse {

std::unexpected<Error> not_accepted(const std::string& accepted) {
    return fail(Code::kInvalidArgument, accepted);
}

Result<bool> parse_bool(const std::string& text) {
    for (const char* yes : {"true", "1", "t", "T", "TRUE", "True"}) {
        if (text == yes) return true;
    }
    for (const char* no : {"false", "0", "f", "F", "FALSE", "False", ""}) {
        if (text == no) return false;
    }
    return not_accepted("true or false");
}

Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t low, std::uint64_t high) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number < low || number > high) {
        return not_accepted("a number from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return number;
}

std::vector<std::string> split_list(const std::string& text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text + " ") {
        if (c == ' ' || c == ',' || c == '\n' || c == '\t') {
            if (!word.empty()) words.push_back(std::exchange(word, {}));
        } else {
            word += c;
        }
    }
    return words;
}

Parse one_of(std::vector<std::pair<std::string, std::function<void(Config&)>>> choices, std::string note) {
    return [choices = std::move(choices), note = std::move(note)](Config& config, const std::string& value) -> Status {
        std::string accepted;
        for (const auto& [name, apply] : choices) {
            if (value == name) {
                apply(config);
                return {};
            }
            accepted += (accepted.empty() ? "" : ", ") + name;
        }
        return not_accepted(accepted + note);
    };
}

}  // namespace axo::config_parse
