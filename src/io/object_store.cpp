#include "io/object_store.h"

#include "io/dir_store.h"

namespace axo {

Result<std::unique_ptr<ObjectStore>> open_object_store(const std::string& address, EventLoop& loop) {
    constexpr std::string_view kDir = "dir:";
    if (address.starts_with(kDir) && address.size() > kDir.size())
        return open_dir_store(address.substr(kDir.size()), loop);
    if (address.starts_with("kubernetes:")) {
        return fail(Code::kUnimplemented,
                    "object store \"" + address +
                        "\": the kubernetes: store is not built into this version; accepted is dir:/path");
    }
    return fail(Code::kInvalidArgument,
                "object store \"" + address + "\": accepted is dir:/path, a directory of manifests");
}

}  // namespace axo
