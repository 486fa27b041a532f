// Writes endpoint state files off the control loop, one write per endpoint at a time, the newest content last.
// Thread: the loop's only.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "runtime/controller.h"
#include "runtime/event_loop.h"

namespace axo {

class EndpointStateWriter {
public:
    EndpointStateWriter(EventLoop& loop, ControllerRegistry& registry, std::filesystem::path state_dir);

    using Done = std::function<void(const Status&)>;
    // done runs when this content, or a newer one, is on disk or has failed to get there. Failures are retried.
    void write(EndpointId id, std::string content, Done done = {});
    void remove(EndpointId id);

    // What could not be written, by path: a full disk, mostly.
    [[nodiscard]] std::map<std::string, Error> errors() const;
    // All contents not yet on disk, written now: for the end of the process.
    void write_pending_now();

private:
    struct File {
        std::optional<std::string> content;  // nothing: to be removed
        std::vector<Done> waiting;
        bool running = false;
        bool again = false;
        std::optional<Error> error;
    };
    void start(EndpointId id);
    void finished(EndpointId id, const Status& status);
    Status apply(EndpointId id, const std::optional<std::string>& content) const;

    EventLoop& loop_;
    std::filesystem::path state_dir_;
    std::map<EndpointId, File> files_;  // only those with something to do
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    Controller retry_;
};

}  // namespace axo
