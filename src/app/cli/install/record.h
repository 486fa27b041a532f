// What an installation consists of: the ConfigMap axoneme-installation beside it. Thread: main's; calls block.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/cli/install/api.h"

namespace axo::cli::install {

struct Record {
    std::vector<Json> objects;  // references, in the order in which they were made
    Json values = Json::object();
    std::string version;          // the chart's
    bool made_namespace = false;  // there was none before
};

// kDataLoss: there is such a ConfigMap and it is no record.
Result<std::optional<Record>> read_record(Api& api, const std::string& space);
Json record_object(const std::string& space, const Record& record);

}  // namespace axo::cli::install
