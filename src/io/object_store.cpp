#include "io/object_store.h"

#include <unistd.h>

#include "io/dir_store.h"
#include "io/kubernetes/store.h"

namespace axo {
namespace {

constexpr std::string_view kDir = "dir:", kKubernetes = "kubernetes:";

std::map<std::string, std::string> environment() {
    std::map<std::string, std::string> all;
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string text(*entry);
        const std::size_t equals = text.find('=');
        if (equals != std::string::npos) all.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return all;
}

}  // namespace

Result<kubernetes::Access> kubernetes::find_access(std::string_view address, const KubernetesFlags& flags) {
    AccessOptions options{.kubeconfig = flags.kubeconfig, .servers = flags.servers, .environment = environment()};
    if (address.size() > kKubernetes.size()) options.kubeconfig = address.substr(kKubernetes.size());
    return load_access(options);
}

Result<std::unique_ptr<ObjectStore>> open_object_store(const std::string& address, EventLoop& loop,
                                                       const KubernetesFlags& flags) {
    if (address.starts_with(kDir) && address.size() > kDir.size())
        return open_dir_store(address.substr(kDir.size()), loop);
    if (address.starts_with(kKubernetes)) {
        TRY_ASSIGN(kubernetes::Access access, kubernetes::find_access(address, flags));
        return kubernetes::make_store(loop, std::move(access),
                                      {.qps = flags.qps, .burst = flags.burst, .user_agent = flags.user_agent});
    }
    return fail(
        Code::kInvalidArgument,
        "object store \"" + address +
            "\": accepted are dir:/path, a directory of manifests, kubernetes: and kubernetes:/path/of/kubeconfig");
}

}  // namespace axo
