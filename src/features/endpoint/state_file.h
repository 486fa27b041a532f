// <state-dir>/state/<id>/ep_config.json: what an agent needs to take up an endpoint again after its restart.
//
// Written when an endpoint has become ready, so a half-made endpoint leaves no file. A file that does not
// parse costs only that endpoint. Thread: any (functions of their arguments).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "features/endpoint/types.h"

namespace axo {

std::string endpoint_to_state(const EndpointRow& endpoint);
Result<EndpointRow> endpoint_from_state(const std::string& text);

std::filesystem::path endpoint_state_path(const std::filesystem::path& state_dir, EndpointId id);

struct StoredEndpoints {
    std::vector<EndpointRow> endpoints;  // by id
    struct Rejected {
        std::filesystem::path path;
        Error error;
    };
    std::vector<Rejected> rejected;
};
// A missing directory is an empty one.
StoredEndpoints read_endpoint_states(const std::filesystem::path& state_dir);

}  // namespace axo
