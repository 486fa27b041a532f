// Hubble's settings: where the server is and how to talk to it, from flags, the environment (HUBBLE_TLS_SERVER_NAME …),
// the config file and the defaults, in this order. Thread: main's.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "app/cli/observe/flags.h"
#include "base/result.h"

namespace axo::cli {

class Settings {
public:
    struct Key {
        std::string_view name, type, preset, help;  // type: string, bool, duration, uint16, strings
        char shorthand = 0;
    };
    // server: the default of --server, which depends on where the program runs.
    explicit Settings(std::string server);
    Settings(const Settings&) = delete;
    Settings& operator=(const Settings&) = delete;

    // --server and its like, and --config, --debug.
    [[nodiscard]] const FlagSet& server_flags() const { return server_flags_; }
    [[nodiscard]] const FlagSet& global_flags() const { return global_flags_; }
    // After parsing flags: reads the config file. One that was asked for has to be there.
    Status load();

    [[nodiscard]] std::string text(std::string_view key) const;
    [[nodiscard]] bool flag(std::string_view key) const;
    [[nodiscard]] std::vector<std::string> list(std::string_view key) const;
    [[nodiscard]] Result<std::chrono::nanoseconds> duration(std::string_view key) const;

    // `config view|get|set|reset`.
    [[nodiscard]] std::string view() const;
    [[nodiscard]] Result<std::string> get(const std::string& key) const;
    // value empty: the key is taken out of the file.
    Status set(const std::string& key, const std::string& value) const;
    Status reset() const;
    [[nodiscard]] std::string config_path() const;

private:
    void add_flag(FlagSet& set, const Key& key);
    [[nodiscard]] static const Key* find(std::string_view key);
    [[nodiscard]] std::string preset(const Key& key) const;
    [[nodiscard]] std::vector<std::string> values(const Key& key) const;

    const std::string server_;
    FlagSet server_flags_{"Server"}, global_flags_{"Global"};
    std::map<std::string, std::vector<std::string>, std::less<>> given_, file_;
};

}  // namespace axo::cli
