// Patterns in which '*' stands for any number of characters. Pure. Thread: any.
#pragma once

#include <string_view>

namespace axo {

// within(char): whether '*' may stand for it. There is one point to return to, so that many stars take no exponential
// time.
template <class Within>
bool matches_glob(std::string_view pattern, std::string_view text, Within within) {
    std::size_t p = 0, t = 0, star = std::string_view::npos, from = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            from = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos && within(text[from])) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    return pattern.substr(p).find_first_not_of('*') == std::string_view::npos;
}

}  // namespace axo
