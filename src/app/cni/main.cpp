// axoneme-cni: the CNI plugin, installed as cilium-cni. Answers on standard output, logs to a file.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "app/cni/commands.h"
#include "base/fd.h"
#include "base/log.h"

namespace axo::cni {
namespace {

constexpr std::size_t kMaxInput = std::size_t{16} << 20;
constexpr off_t kMaxLog = off_t{50} << 20;  // then it is renamed to <name>.1

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

Outcome<std::string> read_input() {
    std::string input;
    if (::isatty(STDIN_FILENO) == 1) return input;
    char buffer[16384];
    while (true) {
        const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof(buffer));
        if (n == 0) return input;
        if (n < 0) {
            if (errno == EINTR) continue;
            // VERSION is asked without any input by hand.
            if (errno == EBADF) return input;
            return refuse(ErrorCode::kIo, "reading standard input", fail_errno("read").error());
        }
        input.append(buffer, static_cast<std::size_t>(n));
        if (input.size() > kMaxInput) return refuse(ErrorCode::kDecode, "standard input is longer than 16 MiB");
    }
}

void write_output(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
}

// The logger writes to standard error; from here on that is the log file. When it cannot be opened the
// runtime's log has to do.
void open_log(const Session& session) {
    const NetConf& conf = session.request.conf;
    if (conf.debug) set_log_level(LogLevel::kDebug);
    if (conf.log_format.starts_with("json")) set_log_format(LogFormat::kJson);
    const std::string path = conf.log_file.empty() ? session.run_directory() + "/cilium-cni.log" : conf.log_file;
    Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    if (!file) return;
    struct stat info{};
    if (::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size > kMaxLog) {
        ::rename(path.c_str(), (path + ".1").c_str());
        file.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
        if (!file) return;
    }
    ::dup2(file.get(), STDERR_FILENO);
}

Outcome<std::string> run(const Session& session) {
    switch (session.request.command) {
        case Command::kAdd: return run_add(session);
        case Command::kDel: return run_del(session);
        case Command::kCheck: return run_check(session);
        case Command::kGc: return run_gc(session);
        case Command::kStatus: return run_status(session);
        case Command::kVersion: break;
    }
    return std::string();
}

void log_outcome(const Request& request, const Outcome<std::string>& outcome,
                 std::chrono::steady_clock::time_point start) {
    const Logger log("cilium-cni");
    const auto took =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count();
    const std::string duration = std::to_string(took / 1000) + "." + std::to_string(took / 100 % 10) + "ms";
    const std::string message = "Processed CNI " + std::string(command_name(request.command)) + " request";
    const std::string pod = request.pod.name.empty() ? std::string() : request.pod.name_space + "/" + request.pod.name;
    if (outcome) {
        log.info(message, {{"containerID", request.attachment.container_id},
                           {"ifName", request.attachment.ifname},
                           {"netns", request.netns},
                           {"k8sPod", pod},
                           {"duration", duration}});
    } else {
        log.error(message, {{"containerID", request.attachment.container_id},
                            {"ifName", request.attachment.ifname},
                            {"netns", request.netns},
                            {"k8sPod", pod},
                            {"duration", duration},
                            {"code", static_cast<int>(outcome.error().code)},
                            {"error", outcome.error().message},
                            {"details", outcome.error().details}});
    }
}

int answer(const Outcome<std::string>& outcome, const std::string& version) {
    write_output(outcome ? *outcome : encode_error(outcome.error(), version));
    return outcome ? 0 : 1;
}

int execute() {
    const auto start = std::chrono::steady_clock::now();
    if (environment("CNI_COMMAND").empty()) {
        std::fputs(
            "Axoneme CNI plugin (cilium-cni)\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
            "It is called by a container runtime: CNI_COMMAND is not set.\n",
            stderr);
        return 1;
    }
    const auto input = read_input();
    const std::string version = answer_version(input.value_or(""));
    if (!input) return answer(std::unexpected(input.error()), version);
    Session session;
    if (const std::string socket = environment("CILIUM_SOCK"); !socket.empty()) session.socket_path = socket;
    auto request = parse_request(environment, *input);
    if (!request) return answer(std::unexpected(request.error()), version);
    if (request->command == Command::kVersion) return answer(encode_versions(version), version);
    session.request = std::move(*request);
    open_log(session);
    const auto outcome = run(session);
    log_outcome(session.request, outcome, start);
    return answer(outcome, version);
}

}  // namespace
}  // namespace axo::cni

int main() {
    // A runtime or an agent that closes its end early is an error to report, not a signal to die of.
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return axo::cni::execute();
    } catch (const std::exception& failure) {
        const std::string text = axo::cni::encode_error(
            {axo::cni::ErrorCode::kInternal, std::string("internal error: ") + failure.what(), {}}, "1.1.0");
        (void)!::write(STDOUT_FILENO, text.data(), text.size());
        return 1;
    }
}
