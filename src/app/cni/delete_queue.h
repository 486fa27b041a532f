// Removals for an agent that is down: files in <run directory>/deleteQueue, replayed when it starts.
//
// One file per container, named by the SHA-256 of its content, so queueing twice is queueing once.
// Plugins hold `lockfile` shared while they write; the agent takes it exclusive while it replays.
// Thread: any one at a time; taking the lock blocks.
#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace axo::cni {

class DeleteQueue {
public:
    static constexpr std::size_t kMaxEntries = 256;

    // Waits up to `patience` for an agent that is replaying.
    static Result<DeleteQueue> lock(const std::string& run_directory, std::chrono::milliseconds patience);
    // kResourceExhausted when the queue is full: the runtime comes back later.
    Status add(const std::string& content);
    [[nodiscard]] std::string path_of(const std::string& content) const;

private:
    DeleteQueue(std::string directory, Fd lock) : directory_(std::move(directory)), lock_(std::move(lock)) {}
    std::string directory_;
    Fd lock_;
};

}  // namespace axo::cni
