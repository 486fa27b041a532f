// Texts kept out of the process's memory: in an unlinked temporary file, which the kernel caches and may write out.
//
// Space that is given back is used again, so the file grows to what was kept at most. New texts are gathered before
// they are written. Where no temporary file can be made it is an anonymous one in memory; what cannot be written (a
// full disk) stays in memory. Thread: one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace axo {

class SpillFile {
public:
    // Where a text is. Whoever has it releases it, or gives it to the next put().
    struct Place {
        std::uint64_t offset = 0;
        std::uint32_t size = 0;  // 0: nowhere, the empty text
    };

    // Instead of `old`, in its space if that has the right size. Less than 4 GiB.
    Place put(std::string_view text, Place old);
    Place put(std::string_view text) { return put(text, Place()); }
    void release(Place place);
    [[nodiscard]] Result<std::string> get(Place place) const;

private:
    std::uint64_t append(std::string_view text, std::uint32_t capacity);
    bool overwrite(std::uint64_t offset, std::string_view text);

    Fd file_;
    std::uint64_t written_ = 0;                                 // bytes of the file
    std::string tail_;                                          // what follows them
    std::map<std::uint32_t, std::vector<std::uint64_t>> free_;  // by capacity
};

}  // namespace axo
