// One small question to all peers at once. Thread: any.
#pragma once

#include <grpcpp/grpcpp.h>
#include <observer/observer.grpc.pb.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "hubble/relay/pool.h"

namespace axo::relay_server {

template <class Response>
struct Answer {
    PeerRef peer;
    bool asked = false;  // else: known to be unreachable
    bool ok = false;
    Response response;

    [[nodiscard]] relay::NodeState state() const {
        return ok ? relay::NODE_CONNECTED : asked ? relay::NODE_ERROR : relay::NODE_UNAVAILABLE;
    }
};
template <class Response>
using Answers = std::vector<Answer<Response>>;

// Of all peers, each once: cluster and name.
inline std::set<std::pair<std::string, std::string>> namespaces_of(
    const Answers<observer::GetNamespacesResponse>& answers) {
    std::set<std::pair<std::string, std::string>> all;
    for (const auto& answer : answers)
        for (const observer::Namespace& ns : answer.response.namespaces()) all.emplace(ns.cluster(), ns.namespace_());
    return all;
}

// ServerStatusResponse or GetNamespacesResponse of each peer; done is called once, when all have answered or `timeout`
// is over.
template <class Response>
void gather(const std::vector<PeerRef>& peers, std::chrono::milliseconds timeout,
            std::function<void(const Answers<Response>&)> done) {
    struct Call {
        grpc::ClientContext context;
        std::unique_ptr<observer::Observer::Stub> stub;
        observer::ServerStatusRequest status_request;
        observer::GetNamespacesRequest namespaces_request;
    };
    struct State {
        std::mutex mutex;
        std::size_t left = 1;  // ourselves, until all are asked
        Answers<Response> answers;
        std::vector<std::unique_ptr<Call>> calls;
        std::function<void(const Answers<Response>&)> done;
        void one_less() {
            {
                const std::lock_guard lock(mutex);
                if (--left != 0) return;
            }
            done(answers);
        }
    };
    auto state = std::make_shared<State>();
    state->done = std::move(done);
    for (const PeerRef& peer : peers) {
        state->answers.push_back({.peer = peer});
        state->answers.back().asked = peer->available();
    }
    const auto until = std::chrono::system_clock::now() + timeout;
    for (Answer<Response>& answer : state->answers) {
        if (!answer.asked) continue;
        auto call = std::make_unique<Call>();
        call->context.set_deadline(until);
        call->stub = observer::Observer::NewStub(answer.peer->channel);
        Call& asked = *call;
        {
            const std::lock_guard lock(state->mutex);
            ++state->left;
            state->calls.push_back(std::move(call));
        }
        auto finished = [state, &answer](const grpc::Status& status) {
            answer.ok = status.ok();
            state->one_less();
        };
        if constexpr (std::is_same_v<Response, observer::ServerStatusResponse>)
            asked.stub->async()->ServerStatus(&asked.context, &asked.status_request, &answer.response,
                                              std::move(finished));
        else
            asked.stub->async()->GetNamespaces(&asked.context, &asked.namespaces_request, &answer.response,
                                               std::move(finished));
    }
    state->one_less();
}

}  // namespace axo::relay_server
