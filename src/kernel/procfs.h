// Where the proc file system is whose sys/ read_sysctl and write_sysctl (kernel/netns.h) use: another than /proc where
// that is mounted read-only, as in a container. To be set before other threads run.
#pragma once

#include <filesystem>

namespace axo {

void set_procfs(const std::filesystem::path& path);

}  // namespace axo
