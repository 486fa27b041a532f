// Whole-file reads and crash-safe writes.
//
// write_atomic survives power loss: temporary file in the same directory, fsync, rename, fsync of
// the directory. A reader sees the old content or the new, never a part. Thread: any.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace axo {

Result<std::string> read_file(const std::filesystem::path& path);
Status write_atomic(const std::filesystem::path& path, std::string_view content, mode_t mode = 0644);
// One write(2), no rename: /proc/sys and cgroup files.
Status write_in_place(const std::filesystem::path& path, std::string_view content);
Status make_directories(const std::filesystem::path& path, mode_t mode = 0755);
// Removing what is not there is success.
Status remove_file(const std::filesystem::path& path);

}  // namespace axo
