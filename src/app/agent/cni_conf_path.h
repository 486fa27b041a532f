// What write-cni-conf-when-ready means: a directory, or a file's path. Thread: any.
#pragma once

#include <filesystem>

namespace axo {

// The file. "/etc/cni/net.d" is a directory, although it looks as if it had an extension.
inline std::filesystem::path cni_conf_path(const std::filesystem::path& configured) {
    const std::string extension = configured.extension();
    const bool file = extension == ".conf" || extension == ".conflist" || extension == ".json";
    return file ? configured : configured / "05-cilium.conflist";
}

}  // namespace axo
