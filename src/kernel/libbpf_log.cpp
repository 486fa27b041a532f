#include "kernel/libbpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <vector>

namespace axo {
namespace {

thread_local std::string* capture = nullptr;

int collect(libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN || capture == nullptr) return 0;
    va_list again;
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, format, arguments);
    if (length > 0) {
        const std::size_t before = capture->size();
        capture->resize(before + static_cast<std::size_t>(length) + 1);
        std::vsnprintf(capture->data() + before, static_cast<std::size_t>(length) + 1, format, again);
        capture->pop_back();
    }
    va_end(again);
    return length;
}

constexpr std::string_view kBegin = "-- BEGIN PROG LOAD LOG --\n";
constexpr std::string_view kEnd = "-- END PROG LOAD LOG --";

std::string last_lines(std::string_view text, int count) {
    while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    std::size_t start = text.size();
    while (start > 0 && count > 0) {
        const std::size_t newline = text.rfind('\n', start - 1);
        start = newline == std::string_view::npos ? 0 : newline;
        --count;
    }
    if (start < text.size() && text[start] == '\n') ++start;
    return std::string(text.substr(start));
}

}  // namespace

LibbpfLog::LibbpfLog() : outer_(capture) {
    static std::once_flag once;
    std::call_once(once, [] { libbpf_set_print(collect); });
    capture = &text_;
}

LibbpfLog::~LibbpfLog() {
    capture = outer_;
}

std::string summarize_load_log(const std::string& log) {
    constexpr int kVerifierLines = 25;
    constexpr int kOtherLines = 6;
    const std::size_t begin = log.find(kBegin);
    if (begin == std::string::npos) return last_lines(log, kOtherLines);
    // "libbpf: prog 'cil_from_container': BPF program load failed: Permission denied"
    const std::size_t failed = log.rfind("BPF program load failed", begin);
    std::string head;
    if (failed != std::string::npos) {
        const std::size_t line = log.rfind('\n', failed);
        const std::size_t start = line == std::string::npos ? 0 : line + 1;
        head = log.substr(start, log.find('\n', failed) - start) + "\n";
    }
    const std::size_t from = begin + kBegin.size();
    const std::size_t end = log.find(kEnd, from);
    return head +
           last_lines(std::string_view(log).substr(from, end == std::string::npos ? end : end - from), kVerifierLines);
}

}  // namespace axo
