// The Kubernetes API as installing needs it: single objects by their manifests, one request at a time.
// Thread: main's; calls block.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/json.h"

namespace axo::cli::install {

using Json = axo::Json;  // not the CLI's, which keeps the order of members

struct ApiResponse {
    int status = 0;
    std::string body;
};

// How requests are sent; tests have a server of paper.
class Api {
public:
    virtual ~Api() = default;
    [[nodiscard]] virtual std::string server() const = 0;
    // An answer of any status is a success.
    virtual Result<ApiResponse> call(const std::string& method, const std::string& target, const std::string& body,
                                     const std::string& content_type) = 0;
};

// "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium". kInvalidArgument: not a kind of the chart.
Result<std::string> object_path(const Json& object);
// "DaemonSet kube-system/cilium"
std::string object_title(const Json& object);

// kNotFound: there is none. Errors name the object and say what the server says.
Result<Json> get_object(Api& api, const Json& object);
// Server-side apply under the field manager "axoneme": made, or changed to this.
Result<Json> apply_object(Api& api, const Json& object);
// With its dependents. Absent: success.
Status delete_object(Api& api, const Json& object);
// Items of a list, page by page.
Result<std::vector<Json>> list_objects(Api& api, const std::string& path, const std::string& label_selector = {});
// "v1.36.0"
Result<std::string> server_version(Api& api);

}  // namespace axo::cli::install
