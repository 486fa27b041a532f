// The Kubernetes API as installing needs it: single objects by their manifests, one request at a time.
// Thread: main's; calls block.
#pragma once

#include <chrono>
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

// A program to be run in a container, and how it ended.
struct Exec {
    std::string name_space, pod, container;
    std::vector<std::string> command;
    std::string input{};                      // without an end: see io/kubernetes/exec.h
    std::chrono::milliseconds limit{30'000};  // of silence
};
struct Ended {
    int exit_status = 0;
    std::string out, err;
};

// How requests are sent; tests have a server of paper.
class Api {
public:
    virtual ~Api() = default;
    [[nodiscard]] virtual std::string server() const = 0;
    // Of the same.
    [[nodiscard]] virtual std::pair<std::string, int> host_and_port() const = 0;
    // What will be a problem with it, and the way out; known once it has answered.
    [[nodiscard]] virtual std::vector<std::string> concerns() const { return {}; }
    // An answer of any status is a success.
    virtual Result<ApiResponse> call(const std::string& method, const std::string& target, const std::string& body,
                                     const std::string& content_type) = 0;
    virtual Result<Ended> execute(const Exec& exec) = 0;
};

// An object without content: whom it is about. space: "" where there is none.
Json reference(const std::string& version, const std::string& kind, const std::string& space, const std::string& name);
Json reference_to(const Json& object);
// "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium". kInvalidArgument: not a kind of the chart.
Result<std::string> object_path(const Json& object);
// What stands there; "": nothing.
std::string text_at(const Json& object, const char* pointer);
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
