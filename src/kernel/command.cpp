#include "kernel/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.h"

namespace axo {

namespace {

struct Pipe {
    Fd read, write;
};

Result<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
    return Pipe{Fd(ends[0]), Fd(ends[1])};
}

class Actions {
public:
    Actions() { ::posix_spawn_file_actions_init(&actions_); }
    ~Actions() { ::posix_spawn_file_actions_destroy(&actions_); }
    Actions(const Actions&) = delete;
    Actions& operator=(const Actions&) = delete;
    void redirect(int from, int to) { ::posix_spawn_file_actions_adddup2(&actions_, from, to); }
    [[nodiscard]] const posix_spawn_file_actions_t* get() const { return &actions_; }

private:
    posix_spawn_file_actions_t actions_;
};

// Appends what is there; false at the end.
bool read_some(Fd& fd, std::string& text) {
    std::array<char, 16384> buffer;
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0) return errno == EINTR || errno == EAGAIN;
    text.append(buffer.data(), static_cast<std::size_t>(count));
    return count != 0;
}

}  // namespace

Result<CommandOutput> run_command(const std::vector<std::string>& argv, const std::string& input,
                                  std::chrono::milliseconds timeout) {
    TRY_ASSIGN(Pipe in, make_pipe());
    TRY_ASSIGN(Pipe out, make_pipe());
    TRY_ASSIGN(Pipe err, make_pipe());
    ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    Actions actions;
    actions.redirect(in.read.get(), STDIN_FILENO);
    actions.redirect(out.write.get(), STDOUT_FILENO);
    actions.redirect(err.write.get(), STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    pid_t pid = 0;
    const int error = ::posix_spawnp(&pid, argv[0].c_str(), actions.get(), nullptr, arguments.data(), environ);
    if (error == ENOENT) return fail(Code::kNotFound, argv[0] + " is not installed");
    if (error != 0) return fail_errno("starting " + argv[0], error);
    in.read = Fd();
    out.write = Fd();
    err.write = Fd();

    CommandOutput output;
    std::size_t written = 0;
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    bool late = false;
    while (out.read || err.read) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        late = left.count() <= 0;
        if (late) break;
        if (written == input.size()) in.write = Fd();
        std::array<pollfd, 3> fds{pollfd{out.read.get(), POLLIN, 0}, pollfd{err.read.get(), POLLIN, 0},
                                  pollfd{in.write.get(), POLLOUT, 0}};
        if (::poll(fds.data(), fds.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) break;
        if (fds[0].revents != 0 && !read_some(out.read, output.out)) out.read = Fd();
        if (fds[1].revents != 0 && !read_some(err.read, output.err)) err.read = Fd();
        if (fds[2].revents != 0 && in.write) {
            const ssize_t count = ::write(in.write.get(), input.data() + written, input.size() - written);
            // It has closed its input: what it says about that is in its output.
            if (count < 0 && errno != EAGAIN && errno != EINTR) written = input.size();
            if (count > 0) written += static_cast<std::size_t>(count);
        }
    }
    if (late) ::kill(pid, SIGKILL);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (late) {
        return fail(Code::kUnavailable,
                    argv[0] + " did not end within " + std::to_string(timeout.count()) + " ms and was stopped");
    }
    output.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return output;
}

}  // namespace axo
