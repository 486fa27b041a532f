#include "app/cli/install/kube_api.h"

#include <unistd.h>

#include <filesystem>

#include "io/kubernetes/exec.h"
#include "runtime/task.h"

namespace axo::cli::install {

namespace {

class KubeApi : public Api {
public:
    explicit KubeApi(kubernetes::Access access)
        : client_(loop_, std::move(access), {.qps = 0, .user_agent = "axoneme-cli"}) {}

    [[nodiscard]] std::string server() const override { return client_.server(); }

    [[nodiscard]] std::pair<std::string, int> host_and_port() const override {
        const kubernetes::Server& server = client_.access().servers.front();
        return {server.host, server.port};
    }
    [[nodiscard]] std::vector<std::string> concerns() const override { return client_.concerns(); }

    Result<ApiResponse> call(const std::string& method, const std::string& target, const std::string& body,
                             const std::string& content_type) override {
        auto answer =
            wait(client_.request({.method = method, .target = target, .body = body, .content_type = content_type}));
        if (!answer) return forward_error(std::move(answer).error());
        return ApiResponse{answer->status, std::move(answer->body)};
    }

    Result<Ended> execute(const Exec& exec) override {
        auto outcome = wait(kubernetes::execute(client_, {.name_space = exec.name_space,
                                                          .pod = exec.pod,
                                                          .container = exec.container,
                                                          .command = exec.command,
                                                          .input = exec.input,
                                                          .limit = exec.limit}));
        if (!outcome) return forward_error(std::move(outcome).error());
        return Ended{outcome->exit_status, std::move(outcome->out), std::move(outcome->err)};
    }

private:
    // Runs the loop for as long as the task takes.
    template <class T>
    T wait(Task<T> task) {
        std::optional<T> outcome;
        TaskGroup tasks;
        tasks.spawn(std::move(task), [&](T value) {
            outcome = std::move(value);
            loop_.stop();
        });
        while (!outcome) loop_.run();
        return std::move(*outcome);
    }

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
        .option("--context", options.context, "of the kubeconfig")
        .option("-n,--namespace", options.name_space, "where Axoneme is; else kube-system");
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
    auto found = kubernetes::load_access(access);
    if (!found && access.kubeconfig.empty())
        return fail(Code::kNotFound,
                    "no cluster is known: give --kubeconfig, or set KUBECONFIG; neither is there ~/.kube/config");
    if (!found) return fail(Code::kInvalidArgument, found.error().message);
    return std::make_unique<KubeApi>(std::move(*found));
}

}  // namespace axo::cli::install
