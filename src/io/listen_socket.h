// Listening sockets: unix with safe replacement of a stale socket file, and TCP. Non-blocking, close-on-exec.
// Thread: any.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace axo {

// A unix socket's file; removed on destruction unless somebody has replaced it meanwhile.
class SocketFile {
public:
    SocketFile() = default;
    SocketFile(std::string path, dev_t device, ino_t inode) : path_(std::move(path)), device_(device), inode_(inode) {}
    SocketFile(SocketFile&& other) noexcept
        : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}
    SocketFile& operator=(SocketFile&&) = delete;
    ~SocketFile();

private:
    std::string path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

struct UnixListener {
    Fd fd;
    SocketFile file;
};

// kAlreadyExists: "another process is listening on …", or the path is something else than a socket.
Result<UnixListener> open_unix_listener(const std::string& path, unsigned mode);
// Lets the members of a group use a socket whose mode says so; where there is no such group, it stays root's.
Status give_to_group(const std::string& path, const char* group);
Result<Fd> open_tcp_listener(const IpAddress& address, std::uint16_t port);
// 0 when it is not a TCP socket.
std::uint16_t local_port(int fd);

}  // namespace axo
