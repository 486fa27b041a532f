// Structured logging in Cilium's format:
//   time=2026-01-01T00:00:00.000Z level=info msg="…" subsys=endpoint key=value
//
// A Logger carries its subsystem and goes by value; fields are key/value pairs, never formatted into
// the message, so the same keys can be grepped everywhere. Lines go to standard error. Thread: any.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/result.h"

namespace axo {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

struct LogField {
    std::string key;
    std::string value;

    LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
    LogField(std::string_view k, const char* v) : key(k), value(v) {}
    LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
    template <class Int>
        requires(std::is_integral_v<Int> && !std::is_same_v<Int, bool>)
    LogField(std::string_view k, Int v) : key(k), value(std::to_string(v)) {}
    LogField(const Error& error) : key("error"), value(error.to_string()) {}  // NOLINT(google-explicit-constructor)
};

using LogFields = std::initializer_list<LogField>;

class Logger {
public:
    explicit Logger(std::string_view subsystem) : subsystem_(subsystem) {}
    void debug(std::string_view message, LogFields fields = {}) const { write(LogLevel::kDebug, message, fields); }
    void info(std::string_view message, LogFields fields = {}) const { write(LogLevel::kInfo, message, fields); }
    void warn(std::string_view message, LogFields fields = {}) const { write(LogLevel::kWarn, message, fields); }
    void error(std::string_view message, LogFields fields = {}) const { write(LogLevel::kError, message, fields); }

private:
    void write(LogLevel level, std::string_view message, LogFields fields) const;
    std::string subsystem_;
};

// Process-wide; set once by main from --debug and --log-opt.
void set_log_level(LogLevel level);
enum class LogFormat { kText, kJson };
void set_log_format(LogFormat format);

}  // namespace axo
