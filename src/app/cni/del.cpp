// DEL: the agent forgets the container (now, or when it is back), and the interface pair goes.
// Runtimes repeat a DEL that fails for hours, so it fails only where repeating helps.
#include "app/cni/commands.h"
#include "app/cni/delete_queue.h"
#include "app/cni/pod_interface.h"
#include "base/log.h"
#include "kernel/netlink.h"

namespace axo::cni {
namespace {

const Logger kLog("cilium-cni");

// Nothing: the agent did not answer, or goes down. Otherwise what it said.
std::optional<Outcome<bool>> ask_agent(const Session& session, const std::string& container_id) {
    auto agent = Agent::connect(session.socket_path, std::chrono::milliseconds(0), session.call_timeout);
    if (!agent) return std::nullopt;
    auto removed = agent->remove_container(container_id);
    if (removed) return *removed;
    const CallError& failure = removed.error();
    if (failure.status == 0 || failure.status == 503) return std::nullopt;
    if (failure.status == 400) {
        // Refused for what it says; no repetition would change that.
        kLog.warn("The agent refused to delete the endpoint",
                  {{"error", failure.error.message}, {"details", failure.error.details}});
        return false;
    }
    CniError error = failure.error;
    error.code = ErrorCode::kTryAgainLater;
    return std::unexpected(std::move(error));
}

// A pair from before this plugin's naming, or renamed since: only what carries our mark is touched.
void remove_marked_pod_interface(const Request& request) {
    if (request.netns.empty()) return;
    auto pod = PodNamespace::open(request.netns);
    if (!pod) return;
    auto netlink = Netlink::open_in(request.netns);
    if (!netlink) return;
    const auto link = netlink->link(request.attachment.ifname);
    if (!link || link->alternative_name != alternative_name(request.attachment.ifname)) return;
    if (auto removed = netlink->remove_link(request.attachment.ifname); !removed)
        kLog.warn("Unable to delete the pod's interface", {removed.error()});
}

Done remove_interface(const Request& request) {
    auto host = Netlink::open();
    if (!host) return refuse(ErrorCode::kIo, "netlink on the node", host.error());
    // Removing either end removes both, and the node's needs no look into the pod's namespace, which may be gone.
    const std::string name = request.attachment.host_interface();
    if (host->link(name)) {
        if (auto removed = host->remove_link(name); !removed)
            return refuse(ErrorCode::kIo, "removing interface " + name, removed.error());
        return {};
    }
    remove_marked_pod_interface(request);
    return {};
}

}  // namespace

Outcome<bool> remove_or_queue(const Session& session, const std::string& container_id) {
    Session quick = session;
    quick.call_timeout = session.delete_patience;
    if (auto answer = ask_agent(quick, container_id)) return *answer;
    kLog.warn("The agent does not answer, taking the delete queue", {{"socket", session.socket_path}});
    auto queue = DeleteQueue::lock(session.run_directory(), session.queue_patience);
    if (!queue) return refuse(ErrorCode::kTryAgainLater, "delete queue", queue.error());
    // While we waited for the lock the agent may have finished starting, and will not look at the queue again.
    if (auto answer = ask_agent(quick, container_id)) return *answer;
    const std::string content = removal_request(container_id);
    if (auto added = queue->add(content); !added)
        return refuse(ErrorCode::kTryAgainLater, "delete queue", added.error());
    kLog.info("Wrote queued deletion file", {{"path", queue->path_of(content)}});
    return false;
}

Outcome<std::string> run_del(const Session& session) {
    const Request& request = session.request;
    const auto removed = remove_or_queue(session, request.attachment.container_id);
    // An endpoint's interface is the agent's to remove: that takes the kernel tens of milliseconds, for which nobody
    // has to wait, because without its endpoint it carries nothing. Where the agent knows of none, it is removed here.
    if (removed && *removed) return std::string();
    const Done interface = remove_interface(request);
    if (!removed) return std::unexpected(removed.error());
    if (!interface) return std::unexpected(interface.error());
    return std::string();
}

}  // namespace axo::cni
