#include "app/cni/commands.h"

namespace axo::cni {

std::string Session::run_directory() const {
    const std::size_t slash = socket_path.rfind('/');
    return slash == std::string::npos || slash == 0 ? std::string("/var/run/cilium") : socket_path.substr(0, slash);
}

}  // namespace axo::cni
