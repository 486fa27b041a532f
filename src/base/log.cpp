#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace axo {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::atomic<LogFormat> g_format{LogFormat::kText};

std::string timestamp() {
    const auto now = std::chrono::system_clock::now();
    const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
    const std::time_t seconds = millis / 1000;
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    char date[32] = {};
    std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    char text[48] = {};
    std::snprintf(text, sizeof(text), "%s.%03dZ", date, static_cast<int>(millis % 1000));
    return text;
}

std::string_view level_name(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug: return "debug";
        case LogLevel::kInfo: return "info";
        case LogLevel::kWarn: return "warn";
        case LogLevel::kError: return "error";
    }
    return "info";
}

std::string quote_text(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\t': out += "\\t"; break;
            default:
                if (static_cast<unsigned char>(c) < 0x20) {
                    char escaped[8] = {};
                    std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(c));
                    out += escaped;
                } else {
                    out += c;
                }
        }
    }
    return out + "\"";
}

bool needs_quotes(std::string_view text) {
    return text.empty() || text.find_first_of(" =\"\\\n\t") != std::string_view::npos;
}

}  // namespace

void set_log_level(LogLevel level) {
    g_level = level;
}
void set_log_format(LogFormat format) {
    g_format = format;
}

void Logger::write(LogLevel level, std::string_view message, LogFields fields) const {
    if (level < g_level.load(std::memory_order_relaxed)) return;
    std::string line;
    line.reserve(160);
    if (g_format.load(std::memory_order_relaxed) == LogFormat::kJson) {
        line += "{\"time\":" + quote_text(timestamp()) + ",\"level\":" + quote_text(level_name(level)) +
                ",\"msg\":" + quote_text(message) + ",\"subsys\":" + quote_text(subsystem_);
        for (const LogField& field : fields) line += "," + quote_text(field.key) + ":" + quote_text(field.value);
        line += "}\n";
    } else {
        line += "time=" + timestamp() + " level=";
        line += level_name(level);
        line += " msg=" + quote_text(message) + " subsys=" + subsystem_;
        for (const LogField& field : fields) {
            line += " " + field.key + "=" + (needs_quotes(field.value) ? quote_text(field.value) : field.value);
        }
        line += "\n";
    }
    // One write(2) per line keeps lines of several threads and processes whole.
    (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace axo
