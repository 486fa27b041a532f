// CNI DELs that came while no agent answered: <state-dir>/deleteQueue/<sha256>.delete, replayed at start.
// Thread: the loop's only.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/result.h"

namespace axo {

struct ReplayReport {
    std::size_t replayed = 0;
    std::size_t malformed = 0;  // removed, with a warning
};
// Takes the queue's lock exclusively, calls remove_container for each entry and removes it. kUnavailable while a
// plugin holds the lock: try again. A missing directory is an empty queue.
Result<ReplayReport> replay_delete_queue(const std::filesystem::path& state_dir,
                                         const std::function<void(const std::string&)>& remove_container);

}  // namespace axo
