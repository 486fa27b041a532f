#include "app/cli/install/kube_api.h"

#include <CLI/CLI.hpp>
#include <filesystem>

#include "io/kubernetes/client.h"
#include "runtime/task.h"

extern char** environ;

namespace axo::cli::install {

namespace {

class KubeApi : public Api {
public:
    explicit KubeApi(kubernetes::Access access)
        : client_(loop_, std::move(access), {.qps = 0, .user_agent = "axoneme-cli"}) {}

    [[nodiscard]] std::string server() const override { return client_.server(); }

    Result<ApiResponse> call(const std::string& method, const std::string& target, const std::string& body,
                             const std::string& content_type) override {
        std::optional<Result<kubernetes::Response>> answer;
        TaskGroup tasks;
        tasks.spawn(client_.request({.method = method, .target = target, .body = body, .content_type = content_type}),
                    [&](Result<kubernetes::Response> response) {
                        answer = std::move(response);
                        loop_.stop();
                    });
        if (!answer) loop_.run();
        if (!*answer) return forward_error(std::move(*answer).error());
        return ApiResponse{(*answer)->status, std::move((*answer)->body)};
    }

private:
    EventLoop loop_;
    kubernetes::Client client_;
};

std::string from_environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

}  // namespace

void add_kube_options(const Command& command, KubeOptions& options) {
    command.option("--kubeconfig", options.kubeconfig, "the cluster's kubeconfig; else KUBECONFIG, ~/.kube/config")
        .option("--context", options.context, "of the kubeconfig");
    command.app()->add_option("-n,--namespace", options.name_space, "where Axoneme is")->capture_default_str();
}

Result<std::unique_ptr<Api>> open_api(const KubeOptions& options) {
    kubernetes::AccessOptions access{.kubeconfig = options.kubeconfig};
    std::error_code error;
    if (access.kubeconfig.empty()) access.kubeconfig = from_environment("KUBECONFIG");
    const std::string usual = from_environment("HOME") + "/.kube/config";
    if (access.kubeconfig.empty() && std::filesystem::exists(usual, error)) access.kubeconfig = usual;
    access.context = options.context;
    for (const char* name : {"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"})
        access.environment[name] = from_environment(name);
    TRY_ASSIGN(kubernetes::Access found, kubernetes::load_access(access));
    return std::make_unique<KubeApi>(std::move(found));
}

}  // namespace axo::cli::install
