// Network namespaces as named mounts under a directory, and running code inside one.
// Thread: any; run_in changes only the calling thread's namespace, and only while it runs.
#pragma once

#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace axo {

// Creates a namespace and bind-mounts it at path (parent directories are made). Existing: success.
Status create_netns(const std::string& path);
Status remove_netns(const std::string& path);
Result<Fd> open_netns(const std::string& path);
// Runs work in the namespace and returns to the old one; a failure to return ends the process, because
// every later system call of this thread would go to the wrong place.
Status run_in_netns(int netns_fd, const std::function<Status()>& work);
// SO_NETNS_COOKIE of the namespace, 0 where the kernel has none.
Result<std::uint64_t> netns_cookie(int netns_fd);

// /proc/sys of the calling thread's namespace: "net.ipv4.conf.eth0.rp_filter" (a "/" in a part keeps dots in names).
Result<std::string> read_sysctl(const std::string& key);
Status write_sysctl(const std::string& key, const std::string& value);

}  // namespace axo
