// Standard output, of text that is to be seen at once. Thread: main's.
#pragma once

#include <cstdio>
#include <string_view>

namespace axo::cli {

// False when nobody reads any more (`| head`), which is no error; what goes on for ever has to end then.
inline bool write_text(std::string_view text) {
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

}  // namespace axo::cli
