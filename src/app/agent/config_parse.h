// How a key's text becomes a field of Config: what the tables of keys are made of. Private to config*.cpp.
#pragma once

#include "app/agent/config_internal.h"

// A field of Config, for the functions below.
#define FIELD(name) [](Config& c) -> auto& { return c.name; }

namespace axo::config_parse {

using Parse = std::function<Status(Config&, const std::string&)>;

// The message of these errors is what would have been accepted.
std::unexpected<Error> not_accepted(const std::string& accepted);
Result<bool> parse_bool(const std::string& text);
Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t low, std::uint64_t high);
// Words between blanks and commas.
std::vector<std::string> split_list(const std::string& text);

// The choices by their names.
Parse one_of(std::vector<std::pair<std::string, std::function<void(Config&)>>> choices, std::string note = {});

template <class Field>
Parse flag(Field field) {
    return [field](Config& config, const std::string& text) -> Status {
        TRY_ASSIGN(field(config), parse_bool(text));
        return {};
    };
}
template <class Field>
Parse number(Field field, std::uint64_t low, std::uint64_t high) {
    return [=](Config& config, const std::string& text) -> Status {
        TRY_ASSIGN(const std::uint64_t value, parse_number(text, low, high));
        field(config) = static_cast<std::remove_reference_t<decltype(field(config))>>(value);
        return {};
    };
}
// 0 keeps the default, as Cilium's map sizes do.
template <class Field>
Parse map_size(Field field) {
    return [=](Config& config, const std::string& text) -> Status {
        TRY_ASSIGN(const std::uint64_t value, parse_number(text, 0, 1U << 24));
        if (value != 0 && value < 128) return not_accepted("0 (default) or a number from 128 to 16777216");
        if (value != 0) field(config) = static_cast<std::uint32_t>(value);
        return {};
    };
}
template <class Field>
Parse text(Field field) {
    return [=](Config& config, const std::string& value) -> Status {
        field(config) = value;
        return {};
    };
}
template <class Field>
Parse list(Field field) {
    return [=](Config& config, const std::string& value) -> Status {
        field(config) = split_list(value);
        return {};
    };
}
template <class Field>
Parse absolute_path(Field field) {
    return [=](Config& config, const std::string& value) -> Status {
        if (!value.starts_with('/')) return not_accepted("an absolute path");
        field(config) = value;
        return {};
    };
}
template <class Field>
Parse seconds(Field field) {
    return [=](Config& config, const std::string& value) -> Status {
        TRY_ASSIGN(const Duration duration, parse_duration(value));
        if (duration < std::chrono::seconds(1)) return not_accepted("a duration of at least 1s, e.g. 1m30s");
        field(config) = std::chrono::duration_cast<std::chrono::seconds>(duration);
        return {};
    };
}
template <class Field>
Parse cidr(Field field, Family family) {
    return [=](Config& config, const std::string& value) -> Status {
        if (value.empty()) return {};
        auto prefix = Prefix::parse_cidr(value);
        if (!prefix || prefix->family() != family) {
            return not_accepted(family == Family::kIpv4 ? "an IPv4 CIDR, e.g. 10.0.0.0/8"
                                                        : "an IPv6 CIDR, e.g. fd00::/104");
        }
        field(config) = *prefix;
        return {};
    };
}
template <class Field>
Parse address(Field field, Family family) {
    return [=](Config& config, const std::string& value) -> Status {
        if (value.empty() || value == "auto") return {};
        auto ip = IpAddress::parse(value);
        if (!ip || ip->family() != family)
            return not_accepted(family == Family::kIpv4 ? "an IPv4 address" : "an IPv6 address");
        field(config) = *ip;
        return {};
    };
}

}  // namespace axo::config_parse
