// Text that is seldom read and stays for long, in little memory: JSON takes a fifth to a third of its size, by zlib's
// deflate. Value type. Thread: any, as a string.
#pragma once

#include <string>
#include <string_view>

namespace axo {

class PackedText {
public:
    PackedText() = default;
    explicit PackedText(std::string_view text);
    [[nodiscard]] std::string text() const;
    [[nodiscard]] bool empty() const { return length_ == 0; }
    // What it takes, in bytes.
    [[nodiscard]] std::size_t packed_size() const { return packed_.size(); }

private:
    std::size_t length_ = 0;  // of the text
    std::string packed_;      // the text itself if it would not become shorter
};

}  // namespace axo
