// Processes of a sandbox: started detached or captured, known by pid and start time, so that a reused pid is never
// taken for an old process.
//
// Everything here forks: only for single-threaded programs (the CLI, tests). Thread: the program's only.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace axo::sandbox {

struct ProcessId {
    pid_t pid = 0;
    std::uint64_t start_time = 0;  // clock ticks since boot, field 22 of /proc/PID/stat
    friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

Result<ProcessId> identify(pid_t pid);
// A zombie has ended.
bool is_alive(const ProcessId& process);
// A process that has ended is success.
Status signal_process(const ProcessId& process, int signal_number);
// SIGTERM, then SIGKILL after `grace`; returns when the processes have ended.
Status stop_processes(const std::vector<ProcessId>& processes, std::chrono::milliseconds grace);

struct Command {
    std::vector<std::string> argv;
    std::vector<std::string> environment;  // NAME=value, on top of the caller's
    // Runs in the child before exec: enters namespaces. Its error becomes the call's error.
    std::function<Status()> prepare;
};

// Detached from the terminal, in a session of its own, output appended to log_path. A failing prepare or exec is an
// error here.
Result<ProcessId> spawn_detached(const Command& command, const std::string& log_path);

struct Output {
    int exit_status = 0;  // 128 + signal when killed
    std::string out;
    std::string err;
};
// Ends the child when `limit` passes.
Result<Output> run_captured(const Command& command, const std::string& input, std::chrono::milliseconds limit);

// Replaces this process. Returns only on failure.
Status replace_process(const Command& command);

// Runs `work` in a forked child and brings its text or error back; namespaces it enters do not stick to the caller.
Result<std::string> run_forked(const std::function<Result<std::string>()>& work);
// The same, several at once; results in order.
std::vector<Result<std::string>> run_forked_all(const std::vector<std::function<Result<std::string>()>>& works);

}  // namespace axo::sandbox
