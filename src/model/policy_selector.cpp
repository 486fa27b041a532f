#include "model/policy_selector.h"

#include <algorithm>
#include <charconv>

#include "model/labels.h"
#include "model/names.h"

namespace axo {
namespace {

constexpr std::string_view kKeyRule =
    "a label's key: an optional DNS name and '/', then 1 to 63 letters, digits, '-', '_' and '.', with a letter or "
    "digit at both ends";
constexpr std::string_view kValueRule =
    "a label's value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";

bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// The labels of namespaces stand behind a prefix in an identity's labels, which does not count against their length.
std::string_view without_namespace_prefix(std::string_view key) {
    const std::string_view prefix = label_key::kNamespaceLabels;
    if (key.size() > prefix.size() + 1 && key.starts_with(prefix) && key[prefix.size()] == '.') {
        key.remove_prefix(prefix.size() + 1);
    }
    return key;
}

bool is_selector_key(std::string_view text, SelectorKeys keys) {
    if (keys == SelectorKeys::kKubernetes) return is_label_key(text);
    return is_label_key(without_namespace_prefix(parse_selector_key(text).key));
}

std::string joined(std::span<const std::string_view> names) {
    std::string text;
    for (const std::string_view name : names) {
        if (!text.empty()) text += ", ";
        text += name;
    }
    return text;
}

}  // namespace

void allow_only(const JsonReader& reader, std::span<const std::string_view> members) {
    if (!reader.present()) return;
    if (!reader.json().is_object()) {
        reader.reject("", "an object");
        return;
    }
    for (const auto& [name, value] : reader.json().items()) {
        if (std::ranges::find(members, name) != members.end()) continue;
        if (value.is_null()) {
            reader.reject("", "only the members " + joined(members) + ", not \"" + name +
                                  "\" (a list item that lacks its \"- \"?)");
        } else {
            reader.reject(name, "only the members " + joined(members));
        }
        return;
    }
}

bool is_label_value(std::string_view value) {
    if (value.empty()) return true;
    if (value.size() > 63 || !is_alphanumeric(value.front()) || !is_alphanumeric(value.back())) return false;
    return std::ranges::all_of(value, [](char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_label_key(std::string_view key) {
    const std::size_t slash = key.find('/');
    if (slash != std::string_view::npos) {
        if (!is_dns_subdomain(key.substr(0, slash))) return false;
        key.remove_prefix(slash + 1);
    }
    return !key.empty() && is_label_value(key);
}

SelectorKey parse_selector_key(std::string_view text) {
    constexpr std::string_view kReservedPrefix = "reserved.";
    if (text.starts_with('$')) return {label_source::kReserved, text.substr(1)};
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) {
        if (text.starts_with(kReservedPrefix)) return {label_source::kReserved, text.substr(kReservedPrefix.size())};
        return {label_source::kAny, text};
    }
    if (colon == 0) return {label_source::kAny, text.substr(1)};
    return {text.substr(0, colon), text.substr(colon + 1)};
}

LabelSelector read_policy_selector(const JsonReader& reader, SelectorKeys keys) {
    allow_only(reader, {"matchLabels", "matchExpressions"});
    LabelSelector selector = LabelSelector::read(reader);
    const JsonReader labels = reader.at("matchLabels");
    for (const auto& [key, value] : selector.match_labels) {
        if (!is_selector_key(key, keys)) labels.reject(key, kKeyRule);
        if (!is_label_value(value)) labels.reject(key, kValueRule);
    }
    reader.each("matchExpressions", [&](const JsonReader& item) {
        allow_only(item, {"key", "operator", "values"});
        if (!is_selector_key(item.string("key"), keys)) item.reject("key", kKeyRule);
        for (const std::string& value : item.strings("values")) {
            if (!is_label_value(value)) item.reject("values", kValueRule);
        }
    });
    return selector;
}

std::vector<LabelSelector> read_policy_selectors(const JsonReader& object, std::string_view member, SelectorKeys keys) {
    std::vector<LabelSelector> selectors;
    object.each(member, [&](const JsonReader& item) {
        if (!item.json().is_object()) item.reject("", "an object with matchLabels, matchExpressions or none: {}");
        selectors.push_back(read_policy_selector(item, keys));
    });
    return selectors;
}

Result<PolicyCidr> parse_policy_cidr(std::string_view text, BareAddress bare) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos && bare == BareAddress::kRefused) {
        return fail(Code::kInvalidArgument, "a CIDR has a prefix length");
    }
    if (slash != std::string_view::npos) {
        const std::string_view digits = text.substr(slash + 1);
        const bool plain = !digits.empty() &&
                           std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; }) &&
                           (digits.size() == 1 || digits.front() != '0');
        if (!plain) return fail(Code::kInvalidArgument, "a prefix length is a number");
    }
    TRY_ASSIGN(const IpAddress address, IpAddress::parse(text.substr(0, slash)));
    TRY_ASSIGN(const Prefix prefix, Prefix::parse(text));
    return PolicyCidr{prefix, address == prefix.address() ? std::string() : std::string(text)};
}

std::vector<PolicyCidr> read_policy_cidrs(const JsonReader& object, std::string_view member, BareAddress bare) {
    const std::string_view rule = bare == BareAddress::kAccepted
                                      ? "a CIDR or an address such as 10.0.1.0/24, 10.0.0.1 or fd00::/64"
                                      : "a CIDR such as 10.0.1.0/24 or fd00::/64";
    std::vector<PolicyCidr> cidrs;
    object.each(member, [&](const JsonReader& item) {
        auto cidr = item.json().is_string() ? parse_policy_cidr(item.json().get_ref<const std::string&>(), bare)
                                            : Result<PolicyCidr>(fail(Code::kInvalidArgument, ""));
        if (cidr) {
            cidrs.push_back(std::move(*cidr));
        } else {
            item.reject("", rule);
        }
    });
    return cidrs;
}

bool is_port_name(std::string_view name) {
    if (name.empty() || name.size() > 15 || name.front() == '-' || name.back() == '-') return false;
    bool letter = false;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char c = name[i];
        if (!is_alphanumeric(c) && c != '-') return false;
        if (c == '-' && name[i - 1] == '-') return false;
        letter = letter || (is_alphanumeric(c) && (c < '0' || c > '9'));
    }
    return letter;
}

int parse_port_number(std::string_view text) {
    if (text.empty() || (text.size() > 1 && text.front() == '0')) return -1;
    if (!std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return -1;
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && number <= 65535 ? number : -1;
}

}  // namespace axo
