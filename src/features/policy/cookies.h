// Numbers for rules, by which events and flows of the datapath name what decided.
//
// A cookie depends on nothing but the set of names in use: it is the hash of the name; where hashes
// collide, names move up in the order of their hashes and texts. So cookies survive restarts, and do
// not depend on the order in which policies arrive. Pure. Thread: one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

namespace axo::policy {

class CookieTable {
public:
    using Hash = std::uint32_t (*)(std::string_view);
    static std::uint32_t default_hash(std::string_view name);
    explicit CookieTable(Hash hash = default_hash) : hash_(hash) {}

    // Counted: a name is in use until it was released as often as acquired. True if a cookie that another name had
    // before has moved.
    bool acquire(const std::string& name);
    bool release(const std::string& name);

    // 0 if the name is not in use.
    [[nodiscard]] std::uint32_t cookie(const std::string& name) const;
    // Null if no name has the cookie.
    [[nodiscard]] const std::string* name(std::uint32_t cookie) const;
    [[nodiscard]] std::size_t size() const { return names_.size(); }

private:
    struct Entry {
        std::uint32_t uses = 0;
        std::uint32_t cookie = 0;
    };
    [[nodiscard]] std::uint32_t home(std::string_view name) const;
    bool assign_all();

    Hash hash_;
    std::map<std::string, Entry> names_;
    std::unordered_map<std::uint32_t, const std::string*> by_cookie_;
    bool displaced_ = false;  // some name is not at home
};

}  // namespace axo::policy
