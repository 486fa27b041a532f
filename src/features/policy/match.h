// Does a selector take a set of labels or a prefix: the one definition of it, and its words for people.
// Pure. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "features/policy/types.h"
#include "model/labels.h"

namespace axo::policy {

bool matches(const Requirement& requirement, const LabelSet& labels);
bool matches(const LabelQuery& query, const LabelSet& labels);
bool matches(const CidrQuery& query, const Prefix& prefix);
// All labels of one query: the empty one takes every identity, also those that nobody knows yet.
bool selects_everybody(const Selector& selector);

// The prefixes that an identity stands for: its own, or all of a family's addresses for the world identities.
// None for pods and nodes.
std::vector<Prefix> prefixes_of(IdentityId id, const std::optional<Prefix>& cidr);
bool matches(const Selector& selector, const LabelSet& labels, const std::vector<Prefix>& prefixes);

// "app=web", "k8s:env in (dev, test)", "!legacy"; source "any" is not printed.
std::string to_text(const Requirement& requirement);
// Requirements joined by ", "; "everybody" for the empty query.
std::string to_text(const LabelQuery& query);
// "10.0.0.0/8 except 10.1.0.0/16"
std::string to_text(const Selector& selector);
// "TCP/80", "TCP/80-90", "TCP/http", "ICMP type 8", "any port of UDP"
std::string to_text(const PortRange& range);
// "allow ingress from app=web to TCP/80, TCP/443"; long lists are cut with a count of the rest.
std::string to_text(const Rule& rule);

}  // namespace axo::policy
