#include "features/policy/cookies.h"

#include <algorithm>
#include <vector>

#include "bpf/api/policy.h"

namespace axo::policy {
namespace {

constexpr std::uint32_t kFirst = POLICY_COOKIE_FIRST;
constexpr std::uint32_t kLast = 0xffffffff;

}  // namespace

std::uint32_t CookieTable::default_hash(std::string_view name) {
    std::uint64_t hash = 1469598103934665603ULL;  // FNV-1a, folded
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdULL;
    return static_cast<std::uint32_t>(hash >> 32);
}

std::uint32_t CookieTable::home(std::string_view name) const {
    return std::max(hash_(name), kFirst);
}

bool CookieTable::acquire(const std::string& name) {
    const auto [at, inserted] = names_.try_emplace(name);
    ++at->second.uses;
    if (!inserted) return false;
    const std::uint32_t wanted = home(name);
    if (displaced_ || by_cookie_.contains(wanted)) return assign_all();
    at->second.cookie = wanted;
    by_cookie_.emplace(wanted, &at->first);
    return false;
}

bool CookieTable::release(const std::string& name) {
    const auto at = names_.find(name);
    if (at == names_.end() || --at->second.uses > 0) return false;
    by_cookie_.erase(at->second.cookie);
    names_.erase(at);
    return displaced_ && assign_all();
}

bool CookieTable::assign_all() {
    std::vector<std::pair<std::uint32_t, const std::string*>> order;
    order.reserve(names_.size());
    for (const auto& [name, entry] : names_) order.emplace_back(home(name), &name);
    std::ranges::stable_sort(order, {}, &std::pair<std::uint32_t, const std::string*>::first);
    by_cookie_.clear();
    displaced_ = false;
    bool moved = false;
    for (const auto& [wanted, name] : order) {
        std::uint32_t cookie = wanted;
        while (by_cookie_.contains(cookie)) cookie = cookie == kLast ? kFirst : cookie + 1;
        displaced_ = displaced_ || cookie != wanted;
        by_cookie_.emplace(cookie, name);
        Entry& entry = names_.find(*name)->second;
        moved = moved || (entry.cookie != 0 && entry.cookie != cookie);
        entry.cookie = cookie;
    }
    return moved;
}

std::uint32_t CookieTable::cookie(const std::string& name) const {
    const auto at = names_.find(name);
    return at == names_.end() ? std::uint32_t{POLICY_COOKIE_NONE} : at->second.cookie;
}

const std::string* CookieTable::name(std::uint32_t cookie) const {
    const auto at = by_cookie_.find(cookie);
    return at == by_cookie_.end() ? nullptr : at->second;
}

}  // namespace axo::policy
