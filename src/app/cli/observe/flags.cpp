#include "app/cli/observe/flags.h"

#include <algorithm>
#include <charconv>

namespace axo::cli {
namespace {

const Flag* find(const std::vector<const FlagSet*>& sets, std::string_view name, char shorthand) {
    for (const FlagSet* set : sets)
        for (const Flag& flag : set->flags())
            if (shorthand != 0 ? flag.shorthand == shorthand : flag.name == name) return &flag;
    return nullptr;
}

Status set_flag(const Flag& flag, const std::string& value) {
    Status set = flag.set(value);
    if (set) return {};
    std::string names = "--" + flag.name;
    if (flag.shorthand != 0) names = std::string("-") + flag.shorthand + ", " + names;
    return fail(Code::kInvalidArgument,
                "invalid argument \"" + value + "\" for \"" + names + "\" flag: " + set.error().message);
}

}  // namespace

std::vector<std::string> split_commas(const std::string& text) {
    std::vector<std::string> parts;
    std::size_t from = 0;
    while (from <= text.size() && !text.empty()) {
        const std::size_t comma = std::min(text.find(',', from), text.size());
        parts.push_back(text.substr(from, comma - from));
        from = comma + 1;
    }
    return parts;
}

Result<bool> parse_bool(const std::string& text) {
    for (const char* yes : {"1", "t", "T", "true", "TRUE", "True"})
        if (text == yes) return true;
    for (const char* no : {"0", "f", "F", "false", "FALSE", "False"})
        if (text == no) return false;
    return fail(Code::kInvalidArgument, "'" + text + "' is neither true nor false");
}

void FlagSet::text(std::string name, char shorthand, std::string& value, std::string help) {
    add({.name = std::move(name),
         .shorthand = shorthand,
         .type = "string",
         .if_bare = "",
         .help = std::move(help),
         .preset = value,
         .set = [&value](const std::string& given) -> Status {
             value = given;
             return {};
         }});
}

void FlagSet::texts(std::string name, std::vector<std::string>& values, std::string help, bool by_commas) {
    add({.name = std::move(name),
         .shorthand = 0,
         .type = "strings",
         .if_bare = "",
         .help = std::move(help),
         .preset = "",
         .set = [&values, by_commas](const std::string& given) -> Status {
             if (!by_commas)
                 values.push_back(given);
             else
                 for (std::string& part : split_commas(given)) values.push_back(std::move(part));
             return {};
         }});
}

void FlagSet::boolean(std::string name, char shorthand, bool& value, std::string help) {
    add({.name = std::move(name),
         .shorthand = shorthand,
         .type = "bool",
         .if_bare = "true",
         .help = std::move(help),
         .preset = value ? "true" : "",
         .set = [&value](const std::string& given) -> Status {
             TRY_ASSIGN(value, parse_bool(given));
             return {};
         }});
}

void FlagSet::number(std::string name, std::uint64_t& value, std::string help) {
    add({.name = std::move(name),
         .shorthand = 0,
         .type = "uint",
         .if_bare = "",
         .help = std::move(help),
         .preset = "",
         .set = [&value](const std::string& given) -> Status {
             const auto read = std::from_chars(given.data(), given.data() + given.size(), value);
             if (read.ec != std::errc() || read.ptr != given.data() + given.size())
                 return fail(Code::kInvalidArgument, "'" + given + "' is not a whole number from 0 to 2^64-1");
             return {};
         }});
}

std::string FlagSet::usage() const {
    std::vector<std::string> left;
    std::size_t width = 0;
    for (const Flag& flag : flags_) {
        std::string text = flag.shorthand != 0 ? std::string("  -") + flag.shorthand + ", " : "      ";
        text += "--" + flag.name;
        if (flag.type != "bool" && flag.if_bare.empty()) text += " " + flag.type;
        width = std::max(width, text.size());
        left.push_back(std::move(text));
    }
    std::string out = title_ + " Flags:\n";
    for (std::size_t i = 0; i < flags_.size(); ++i) {
        out += left[i] + std::string(width - left[i].size() + 3, ' ');
        for (const char c : flags_[i].help) {
            out += c;
            if (c == '\n') out += std::string(width + 3, ' ');
        }
        if (!flags_[i].preset.empty()) out += " (default \"" + flags_[i].preset + "\")";
        out += '\n';
    }
    return out;
}

Result<std::vector<std::string>> parse_flags(const std::vector<const FlagSet*>& sets,
                                             const std::vector<std::string>& arguments) {
    std::vector<std::string> rest;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (argument == "--") {
            rest.insert(rest.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
            break;
        }
        if (argument.size() < 2 || argument.front() != '-') {
            rest.push_back(argument);
            continue;
        }
        if (argument.starts_with("--")) {
            const std::size_t equal = argument.find('=');
            const std::string name = argument.substr(2, equal == std::string::npos ? equal : equal - 2);
            const Flag* flag = find(sets, name, 0);
            if (flag == nullptr) return fail(Code::kInvalidArgument, "unknown flag: --" + name);
            if (equal != std::string::npos) {
                TRY(set_flag(*flag, argument.substr(equal + 1)));
            } else if (!flag->if_bare.empty()) {
                TRY(set_flag(*flag, flag->if_bare));
            } else if (i + 1 < arguments.size()) {
                TRY(set_flag(*flag, arguments[++i]));
            } else {
                return fail(Code::kInvalidArgument, "flag needs an argument: --" + name);
            }
            continue;
        }
        for (std::size_t at = 1; at < argument.size(); ++at) {
            const Flag* flag = find(sets, "", argument[at]);
            if (flag == nullptr)
                return fail(Code::kInvalidArgument,
                            std::string("unknown shorthand flag: '") + argument[at] + "' in " + argument);
            const bool more = at + 1 < argument.size();
            if (more && argument[at + 1] == '=') {
                TRY(set_flag(*flag, argument.substr(at + 2)));
            } else if (!flag->if_bare.empty()) {
                TRY(set_flag(*flag, flag->if_bare));
                continue;
            } else if (more) {
                TRY(set_flag(*flag, argument.substr(at + 1)));
            } else if (i + 1 < arguments.size()) {
                TRY(set_flag(*flag, arguments[++i]));
            } else {
                return fail(Code::kInvalidArgument,
                            std::string("flag needs an argument: '") + argument[at] + "' in " + argument);
            }
            break;
        }
    }
    return rest;
}

}  // namespace axo::cli
