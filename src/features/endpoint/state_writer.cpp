#include "features/endpoint/state_writer.h"

#include "base/file.h"
#include "base/log.h"
#include "features/endpoint/state_file.h"

namespace axo {

namespace {

Status apply_file(const std::filesystem::path& path, const std::optional<std::string>& content) {
    if (content) {
        TRY(make_directories(path.parent_path()));
        return write_atomic(path, *content, 0600);
    }
    std::error_code error;
    std::filesystem::remove_all(path.parent_path(), error);
    if (error) return fail_errno("remove " + path.parent_path().string(), error.value());
    return {};
}

}  // namespace

EndpointStateWriter::EndpointStateWriter(EventLoop& loop, ControllerRegistry& registry, std::filesystem::path state_dir)
    : loop_(loop), state_dir_(std::move(state_dir)), retry_(loop, registry, "endpoint-state", [this]() -> Status {
          std::optional<Error> first;
          for (auto& [id, file] : files_) {
              if (!file.error) continue;
              if (!first) first = file.error;
              if (!file.running) start(id);
          }
          if (first) return forward_error(*first);
          return {};
      }) {}

void EndpointStateWriter::write(EndpointId id, std::string content, Done done) {
    File& file = files_[id];
    file.content = std::move(content);
    if (done) file.waiting.push_back(std::move(done));
    if (file.running) {
        file.again = true;
    } else {
        start(id);
    }
}

void EndpointStateWriter::remove(EndpointId id) {
    File& file = files_[id];
    file.content.reset();
    if (file.running) {
        file.again = true;
    } else {
        start(id);
    }
}

void EndpointStateWriter::start(EndpointId id) {
    File& file = files_[id];
    file.running = true;
    file.again = false;
    loop_.run_blocking(
        [path = endpoint_state_path(state_dir_, id), content = file.content] { return apply_file(path, content); },
        [this, id, alive = std::weak_ptr<bool>(alive_)](const Status& status) {
            if (!alive.expired()) finished(id, status);
        });
}

void EndpointStateWriter::finished(EndpointId id, const Status& status) {
    File& file = files_[id];
    file.running = false;
    if (file.again) {
        start(id);
        return;
    }
    const auto waiting = std::exchange(file.waiting, {});
    if (status) {
        files_.erase(id);
    } else {
        const bool first = !file.error;
        file.error = status.error();
        if (first) {
            Logger("endpoint")
                .warn(
                    "Unable to write endpoint state; the endpoint would be lost by a restart of the agent",
                    {{"endpointID", id.value}, {"path", endpoint_state_path(state_dir_, id).string()}, status.error()});
        }
        retry_.trigger();
    }
    for (const Done& done : waiting) done(status);
}

Status EndpointStateWriter::apply(EndpointId id, const std::optional<std::string>& content) const {
    return apply_file(endpoint_state_path(state_dir_, id), content);
}

void EndpointStateWriter::write_pending_now() {
    for (auto& [id, file] : files_) {
        if (auto done = apply(id, file.content); !done) {
            Logger("endpoint")
                .error("Unable to write endpoint state at the end", {{"endpointID", id.value}, done.error()});
        }
    }
}

std::map<std::string, Error> EndpointStateWriter::errors() const {
    std::map<std::string, Error> all;
    for (const auto& [id, file] : files_) {
        if (file.error) all.emplace(endpoint_state_path(state_dir_, id).string(), *file.error);
    }
    return all;
}

}  // namespace axo
