// What an agent has in netfilter, whatever its settings, and how it goes; for uninstall. Blocks. Thread: any; in its
// network namespace.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace axo::nat {

// "iptables nat CILIUM_POST_nat"
Result<std::vector<std::string>> list_chains();
// With the chains, tables that nobody uses go when they are not among those kept ("ip nat"): iptables makes a table
// when it is looked at. kept: nullptr: all stay.
Status remove_chains(const std::set<std::string>* kept, std::chrono::seconds lock_timeout);
// What `iptables-save -t <table>` printed holds no rules, no chains but the built-in ones and nothing but ACCEPT.
bool is_unused(std::string_view saved);

}  // namespace axo::nat
