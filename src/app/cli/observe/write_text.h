// Standard output, of text that is to be seen at once. Thread: main's.
#pragma once

#include <cstdio>
#include <string_view>

namespace axo::cli {

// Nobody reading any more (`| head`) is no error.
inline void write_text(std::string_view text) {
    if (!text.empty()) std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

}  // namespace axo::cli
