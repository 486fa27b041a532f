#include "datapath/socket_terminator.h"

#include <fcntl.h>
#include <netinet/in.h>

#include <atomic>
#include <filesystem>
#include <optional>

#include "base/log.h"
#include "kernel/netns.h"

namespace axo {
namespace {

constexpr auto kGather = std::chrono::milliseconds(20);

const Logger& log() {
    static const Logger logger("socket-terminator");
    return logger;
}

}  // namespace

struct SocketTerminator::Shared {
    SocketMaps maps;
    Fd node;  // network namespace
    std::atomic<std::uint64_t> ended = 0, failed = 0;

    Shared(SocketMaps own_maps, Fd netns) : maps(std::move(own_maps)), node(std::move(netns)) {}
    Status pass(const std::set<LbAddress>& gone, const std::vector<std::string>& pods) {
        TRY(end_in(node.get(), gone));
        for (const std::string& path : pods) {
            auto netns = open_namespace(path);
            if (!netns) {
                // Most often because its pod went.
                if (netns.error().code != Code::kNotFound) ++failed;
                continue;
            }
            if (const Status status = end_in(netns->get(), gone); !status) {
                ++failed;
                log().warn("Sockets of a backend that went remain", {{"netns", path}, status.error()});
            }
        }
        return {};
    }

private:
    // What was recorded is the path of an agent in a pod, to which the host's folder is mounted; on a plain host the
    // folder itself counts.
    static Result<Fd> open_namespace(const std::filesystem::path& path) {
        auto netns = open_netns(path);
        if (netns || netns.error().code != Code::kNotFound) return netns;
        return open_netns("/var/run/netns" / path.filename());
    }
    Status end_in(int netns, const std::set<LbAddress>& gone) {
        return run_in_netns(netns, [&]() -> Status {
            TRY_ASSIGN(const std::size_t count, maps.end_connections(gone));
            ended += count;
            return {};
        });
    }
};

Result<std::unique_ptr<SocketTerminator>> SocketTerminator::create(EventLoop& loop, SocketMaps maps, Options options) {
    Fd node(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!node) return fail_errno("open /proc/thread-self/ns/net");
    auto shared = std::make_shared<Shared>(std::move(maps), std::move(node));
    return std::unique_ptr<SocketTerminator>(new SocketTerminator(loop, std::move(shared), std::move(options)));
}

SocketTerminator::SocketTerminator(EventLoop& loop, std::shared_ptr<Shared> shared, Options options)
    : loop_(loop), shared_(std::move(shared)), options_(std::move(options)) {}

SocketTerminator::~SocketTerminator() = default;

void SocketTerminator::backend_gone(const LbAddress& backend) {
    if (unsupported_ || (backend.protocol != IPPROTO_UDP && !(backend.protocol == IPPROTO_TCP && options_.tcp))) return;
    gone_.insert(backend);
    if (running_ || gather_) return;
    gather_ = loop_.after(kGather, [this] {
        gather_ = {};
        run_pass();
    });
}

void SocketTerminator::run_pass() {
    running_ = true;
    ++passes_;
    auto pods = options_.pod_namespaces ? options_.pod_namespaces() : std::vector<std::string>{};
    loop_.run_blocking(
        [shared = shared_, gone = std::exchange(gone_, {}), pods = std::move(pods)]() mutable -> Status {
            TRY_ASSIGN(const bool datagrams, shared->maps.may_have_datagrams(gone));
            if (!datagrams) std::erase_if(gone, [](const LbAddress& one) { return one.protocol == IPPROTO_UDP; });
            return gone.empty() ? Status() : shared->pass(gone, pods);
        },
        [this, alive = std::weak_ptr<bool>(alive_)](const Status& outcome) {
            if (alive.expired()) return;
            running_ = false;
            if (!outcome) {
                unsupported_ = outcome.error().code == Code::kUnimplemented;
                log().warn(unsupported_ ? "Sockets of backends that went are left to their timeouts"
                                        : "Sockets of backends that went remain",
                           {outcome.error()});
            }
            if (!gone_.empty() && !unsupported_) run_pass();
        });
}

SocketTerminator::Counts SocketTerminator::counts() const {
    return {passes_, shared_->ended, shared_->failed};
}

}  // namespace axo
