#include "sandbox/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/file.h"

namespace axo::sandbox {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
    Fd read, write;
};

Result<Pipe> make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return fail_errno("pipe2");
    return Pipe{Fd(fds[0]), Fd(fds[1])};
}

void write_all(int fd, std::string_view data) {
    while (!data.empty()) {
        const ssize_t n = ::write(fd, data.data(), data.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;  // the reader has gone; it reports what it got
        data.remove_prefix(static_cast<std::size_t>(n));
    }
}

std::string read_all(int fd) {
    std::string data;
    char buffer[16384];
    for (;;) {
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return data;
        data.append(buffer, static_cast<std::size_t>(n));
    }
}

// How an error crosses a pipe.
std::string pack(const Error& error) {
    return nlohmann::json{
        {"code", static_cast<int>(error.code)}, {"message", error.message}, {"errno", error.sys_errno}}
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Error unpack(const std::string& text, const char* fallback) {
    auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) return {Code::kInternal, fallback, 0};
    return {static_cast<Code>(json.value("code", static_cast<int>(Code::kUnknown))), json.value("message", ""),
            json.value("errno", 0)};
}

int wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    return 128 + (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

// In a child: prepare and exec. What goes wrong is written to error_fd, which exec closes.
[[noreturn]] void become(const Command& command, int error_fd) {
    const Status status = replace_process(command);
    write_all(error_fd, pack(status.error()));
    ::_exit(127);
}

}  // namespace

Result<ProcessId> identify(pid_t pid) {
    TRY_ASSIGN(const std::string stat, read_file("/proc/" + std::to_string(pid) + "/stat"));
    // The name is in parentheses and may hold anything, so fields are counted from its last one: state is field 3.
    const auto end_of_name = stat.rfind(')');
    std::size_t position = end_of_name + 2;
    for (int field = 3; field < 22; ++field) position = stat.find(' ', position) + 1;
    return ProcessId{pid, std::strtoull(stat.c_str() + position, nullptr, 10)};
}

bool is_alive(const ProcessId& process) {
    auto stat = read_file("/proc/" + std::to_string(process.pid) + "/stat");
    if (!stat) return false;
    const char state = stat->at(stat->rfind(')') + 2);
    if (state == 'Z' || state == 'X') return false;
    auto now = identify(process.pid);
    return now && *now == process;
}

Status signal_process(const ProcessId& process, int signal_number) {
    // The pidfd is taken first: if the identity still fits then, the descriptor is that process for good.
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
    if (!pidfd) {
        if (errno == ESRCH) return {};
        return fail_errno("pidfd_open " + std::to_string(process.pid));
    }
    if (!is_alive(process)) return {};
    if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal_number, nullptr, 0) != 0 && errno != ESRCH) {
        return fail_errno("signalling process " + std::to_string(process.pid));
    }
    return {};
}

Status stop_processes(const std::vector<ProcessId>& processes, std::chrono::milliseconds grace) {
    const auto wait_until = [&](Clock::time_point deadline) {
        for (;;) {
            if (std::ranges::none_of(processes, is_alive)) return true;
            if (Clock::now() >= deadline) return false;
            ::poll(nullptr, 0, 5);
        }
    };
    if (grace.count() > 0) {
        for (const auto& process : processes) TRY(signal_process(process, SIGTERM));
        if (wait_until(Clock::now() + grace)) return {};
    }
    for (const auto& process : processes) TRY(signal_process(process, SIGKILL));
    if (wait_until(Clock::now() + std::chrono::seconds(10))) return {};
    for (const auto& process : processes) {
        if (is_alive(process)) {
            return fail(Code::kDeadlineExceeded,
                        "process " + std::to_string(process.pid) + " is still there 10 s after SIGKILL");
        }
    }
    return {};
}

Status replace_process(const Command& command) {
    if (command.prepare) TRY(command.prepare());
    for (const auto& entry : command.environment) {
        const auto equals = entry.find('=');
        ::setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
    }
    std::vector<char*> argv;
    for (const auto& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    return fail_errno("executing " + command.argv[0]);
}

Result<ProcessId> spawn_detached(const Command& command, const std::string& log_path) {
    const Fd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log) return fail_errno("open " + log_path);
    TRY_ASSIGN(Pipe errors, make_pipe());
    TRY_ASSIGN(Pipe pids, make_pipe());
    const pid_t middle = ::fork();
    if (middle < 0) return fail_errno("fork");
    if (middle == 0) {
        // Forked twice: the daemon's parent is init, which reaps it.
        ::setsid();
        const pid_t pid = ::fork();
        if (pid != 0) {
            write_all(pids.write.get(), std::to_string(pid));
            ::_exit(0);
        }
        const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        ::dup2(null.get(), 0);
        ::dup2(log.get(), 1);
        ::dup2(log.get(), 2);
        become(command, errors.write.get());
    }
    pids.write.reset();
    errors.write.reset();
    const std::string pid_text = read_all(pids.read.get());
    wait_for(middle);
    const std::string error = read_all(errors.read.get());
    if (!error.empty()) return forward_error(unpack(error, "starting a process failed"));
    const auto pid = static_cast<pid_t>(std::strtol(pid_text.c_str(), nullptr, 10));
    if (pid <= 0) return fail(Code::kInternal, "starting " + command.argv[0] + ": fork failed");
    auto process = identify(pid);
    // Gone already: its log tells why, and is_alive of an impossible start time is false.
    return process ? *process : ProcessId{pid, 0};
}

Result<Output> run_captured(const Command& command, const std::string& input, std::chrono::milliseconds limit) {
    TRY_ASSIGN(Pipe in, make_pipe());
    TRY_ASSIGN(Pipe out, make_pipe());
    TRY_ASSIGN(Pipe err, make_pipe());
    TRY_ASSIGN(Pipe errors, make_pipe());
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno("fork");
    if (pid == 0) {
        ::dup2(in.read.get(), 0);
        ::dup2(out.write.get(), 1);
        ::dup2(err.write.get(), 2);
        become(command, errors.write.get());
    }
    in.read.reset();
    out.write.reset();
    err.write.reset();
    errors.write.reset();
    ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    struct sigaction ignore{}, previous{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &previous);

    Output output;
    std::string_view rest = input;
    if (rest.empty()) in.write.reset();
    const auto deadline = Clock::now() + limit;
    bool late = false;
    char buffer[16384];
    while (out.read || err.read) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) {
            late = true;
            ::kill(pid, SIGKILL);
            break;
        }
        pollfd fds[] = {{in.write.get(), POLLOUT, 0}, {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}};
        if (::poll(fds, 3, static_cast<int>(left)) < 0 && errno != EINTR) break;
        if (fds[0].revents != 0) {
            const ssize_t n = ::write(in.write.get(), rest.data(), rest.size());
            if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
            if (rest.empty() || (n < 0 && errno != EAGAIN)) in.write.reset();
        }
        for (auto [index, fd, text] : {std::tuple(1, &out.read, &output.out), std::tuple(2, &err.read, &output.err)}) {
            if (fds[index].revents == 0) continue;
            const ssize_t n = ::read(fd->get(), buffer, sizeof buffer);
            if (n > 0) {
                text->append(buffer, static_cast<std::size_t>(n));
            } else if (n == 0 || errno != EINTR) {
                fd->reset();
            }
        }
    }
    ::sigaction(SIGPIPE, &previous, nullptr);
    output.exit_status = wait_for(pid);
    const std::string error = read_all(errors.read.get());
    if (!error.empty()) return forward_error(unpack(error, "starting a process failed"));
    if (late) {
        return fail(Code::kDeadlineExceeded,
                    command.argv[0] + " did not end within " + std::to_string(limit.count()) + " ms");
    }
    return output;
}

std::vector<Result<std::string>> run_forked_all(const std::vector<std::function<Result<std::string>()>>& works) {
    struct Child {
        pid_t pid = -1;
        Fd results;
    };
    std::vector<Child> children;
    std::vector<Result<std::string>> results;
    for (const auto& work : works) {
        Child child;
        if (auto pipe = make_pipe()) {
            child.pid = ::fork();
            if (child.pid == 0) {
                auto result = work();
                write_all(pipe->write.get(), result ? "+" + *result : "-" + pack(result.error()));
                ::_exit(0);
            }
            child.results = std::move(pipe->read);
        }
        children.push_back(std::move(child));
    }
    for (auto& child : children) {
        if (child.pid < 0) {
            results.push_back(fail_errno("fork"));
            continue;
        }
        const std::string text = read_all(child.results.get());
        const int status = wait_for(child.pid);
        if (text.starts_with('+')) {
            results.emplace_back(text.substr(1));
        } else {
            const std::string died = "a helper process ended with status " + std::to_string(status);
            results.emplace_back(forward_error(unpack(text.empty() ? text : text.substr(1), died.c_str())));
        }
    }
    return results;
}

Result<std::string> run_forked(const std::function<Result<std::string>()>& work) {
    return std::move(run_forked_all({work}).front());
}

}  // namespace axo::sandbox
