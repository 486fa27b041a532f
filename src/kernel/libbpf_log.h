// libbpf's own messages: never printed, captured where an error needs them. Private to src/kernel.
#pragma once

#include <string>

namespace axo {

// While it lives, warnings libbpf prints on this thread are collected; without one they are dropped.
class LibbpfLog {
public:
    LibbpfLog();
    ~LibbpfLog();
    LibbpfLog(const LibbpfLog&) = delete;
    LibbpfLog& operator=(const LibbpfLog&) = delete;
    [[nodiscard]] const std::string& text() const { return text_; }

private:
    std::string text_;
    std::string* outer_;
};

// What of a failed load belongs into an error: the failing program, its reason and the last lines
// of the verifier's log, or libbpf's own words when the verifier was not reached.
std::string summarize_load_log(const std::string& log);

}  // namespace axo
