// The list of sources that XDP drops at the uplinks (enable-xdp-prefilter), as the API changes it. The maps are the
// list: a restarted agent finds it as it was left. Thread: the loop's only.
#pragma once

#include <cstdint>
#include <vector>

#include "maps/prefilter_map.h"

namespace axo {

class Prefilter {
public:
    struct Families {
        bool ipv4 = true, ipv6 = true;  // that the programs look at
    };
    Prefilter(PrefilterMaps maps, Families families) : maps_(std::move(maps)), families_(families) {}

    // Counts the changes since this agent started, from 1.
    [[nodiscard]] std::int64_t revision() const { return revision_; }
    [[nodiscard]] Result<std::vector<Prefix>> list() const { return maps_.list(); }

    // All of them or none. expected: the revision that the change is based on; 0: whichever it is. kAborted: another
    // one.
    Status add(std::int64_t expected, const std::vector<Prefix>& prefixes);
    // kNotFound: one of them is not on the list.
    Status remove(std::int64_t expected, const std::vector<Prefix>& prefixes);

private:
    [[nodiscard]] Status check_revision(std::int64_t expected) const;

    PrefilterMaps maps_;
    Families families_;
    std::int64_t revision_ = 1;
};

}  // namespace axo
