// Command line flags after the rules of Go's pflag, which Hubble's users' scripts rely on: --name=value, --name value,
// -n value, -nvalue, -fA; a flag may come again, and the order in which flags stand is kept (--not). Thread: main's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace axo::cli {

struct Flag {
    std::string name;
    char shorthand = 0;
    std::string type;     // "string", "bool", "uint64", "duration", "strings", "filter": what help shows
    std::string if_bare;  // what --name without a value stands for; empty: a value has to follow
    std::string help;
    std::string preset;  // what help shows as the default
    std::function<Status(const std::string&)> set;
};

class FlagSet {
public:
    explicit FlagSet(std::string title) : title_(std::move(title)) {}

    void add(Flag flag) { flags_.push_back(std::move(flag)); }
    void text(std::string name, char shorthand, std::string& value, std::string help);
    void texts(std::string name, std::vector<std::string>& values, std::string help, bool by_commas);
    void boolean(std::string name, char shorthand, bool& value, std::string help);
    void number(std::string name, std::uint64_t& value, std::string help);

    [[nodiscard]] const std::vector<Flag>& flags() const { return flags_; }
    [[nodiscard]] std::string usage() const;

private:
    std::string title_;
    std::vector<Flag> flags_;
};

// "a,b" -> a, b; "" -> none.
std::vector<std::string> split_commas(const std::string& text);
Result<bool> parse_bool(const std::string& text);
// What is no flag, in order. Errors are pflag's: "unknown flag: --x", "flag needs an argument: --last" …
Result<std::vector<std::string>> parse_flags(const std::vector<const FlagSet*>& sets,
                                             const std::vector<std::string>& arguments);

}  // namespace axo::cli
