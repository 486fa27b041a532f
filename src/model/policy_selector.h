// The parts that every policy object is read from: strict members, label selectors, CIDRs, port names.
//
// All of them record errors in the JsonReader they are given. A member that a policy does not have is an error and
// not ignored: "fromEndpoint" with its s forgotten would otherwise silently change who is let in. Thread: any.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/json.h"
#include "model/label_selector.h"

namespace axo {

// Records an error unless the value is an object with members of these names only.
void allow_only(const JsonReader& reader, std::span<const std::string_view> members);
inline void allow_only(const JsonReader& reader, std::initializer_list<std::string_view> members) {
    allow_only(reader, std::span(members.begin(), members.size()));
}

// "[prefix/]name": an optional DNS subdomain, and at most 63 of a-z, A-Z, 0-9, '-', '_' and '.', with a letter or
// digit at both ends.
bool is_label_key(std::string_view key);
// Empty, or written like the name of a key.
bool is_label_value(std::string_view value);

// A key as Cilium's selectors write it. "k8s:app": source k8s; without a source: any; "$host" and "reserved.host"
// mean "reserved:host".
struct SelectorKey {
    std::string_view source;
    std::string_view key;
};
SelectorKey parse_selector_key(std::string_view text);

enum class SelectorKeys {
    kKubernetes,  // of labels as objects carry them
    kCilium,      // with an optional source in front
};
LabelSelector read_policy_selector(const JsonReader& reader, SelectorKeys keys);
std::vector<LabelSelector> read_policy_selectors(const JsonReader& object, std::string_view member, SelectorKeys keys);

struct PolicyCidr {
    Prefix prefix;        // host bits cleared
    std::string written;  // "" unless host bits were set: what was written
    friend bool operator==(const PolicyCidr&, const PolicyCidr&) = default;
};
enum class BareAddress { kRefused, kAccepted };  // "10.0.0.1" for "10.0.0.1/32"
Result<PolicyCidr> parse_policy_cidr(std::string_view text, BareAddress bare);
// A list of strings; absent: none.
std::vector<PolicyCidr> read_policy_cidrs(const JsonReader& object, std::string_view member, BareAddress bare);

// RFC 6335: at most 15 letters, digits and single inner '-', at least one letter.
bool is_port_name(std::string_view name);
// Digits without a leading 0 (or "0" itself), at most 65535; -1 when it is none.
int parse_port_number(std::string_view text);

inline constexpr std::string_view kPortNameRule =
    "a name of at most 15 letters, digits and single inner '-', with at least one letter";

}  // namespace axo
