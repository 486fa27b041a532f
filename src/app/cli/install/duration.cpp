#include "app/cli/install/duration.h"

#include <charconv>

namespace axo::cli::install {

Result<std::chrono::seconds> parse_wait_duration(const std::string& flag, const std::string& text) {
    std::chrono::seconds all{0};
    const char* at = text.data();
    const char* const end = at + text.size();
    bool good = at != end;
    while (good && at != end) {
        unsigned number = 0;
        const auto read = std::from_chars(at, end, number);
        const char unit = read.ptr == end ? 's' : *read.ptr;
        good = read.ec == std::errc{} && number <= 1'000'000 && (unit == 's' || unit == 'm' || unit == 'h');
        all += std::chrono::seconds(number) * (unit == 'h' ? 3600 : unit == 'm' ? 60 : 1);
        at = read.ptr == end ? end : read.ptr + 1;
    }
    if (!good) return fail(Code::kInvalidArgument, flag + " \"" + text + "\": accepted: e.g. 90s, 5m or 1m30s");
    return all;
}

}  // namespace axo::cli::install
