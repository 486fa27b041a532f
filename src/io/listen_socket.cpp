#include "io/listen_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.h"

namespace axo {
namespace {

constexpr int kBacklog = 256;

Result<sockaddr_un> unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof(address.sun_path)) {
        return fail(Code::kInvalidArgument, "socket path \"" + path + "\": its length must be 1 to " +
                                                std::to_string(sizeof(address.sun_path) - 1) + " bytes");
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

const sockaddr* generic(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

// Removes what a dead process left; refuses when a live one answers.
Status clear_stale(const std::string& path, const sockaddr_un& address) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) {
        if (errno == ENOENT) return {};
        return fail_errno("socket " + path);
    }
    if (!S_ISSOCK(info.st_mode)) {
        return fail(Code::kAlreadyExists,
                    "socket path " + path + " exists and is not a socket; remove it or choose another path");
    }
    const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe) return fail_errno("socket");
    // EAGAIN: its backlog is full, so it lives.
    if (::connect(probe.get(), generic(address), sizeof(address)) == 0 || errno == EAGAIN) {
        return fail(Code::kAlreadyExists, "another process is listening on " + path);
    }
    if (errno != ECONNREFUSED) return fail_errno("probing socket " + path);
    return remove_file(path);
}

}  // namespace

SocketFile::~SocketFile() {
    struct stat info{};
    if (path_.empty() || ::lstat(path_.c_str(), &info) != 0) return;
    if (info.st_dev == device_ && info.st_ino == inode_) ::unlink(path_.c_str());
}

Result<UnixListener> open_unix_listener(const std::string& path, unsigned mode) {
    TRY_ASSIGN(const sockaddr_un address, unix_address(path));
    auto directory = std::filesystem::path(path).parent_path();
    if (directory.empty()) directory = ".";
    TRY(make_directories(directory));
    // Two processes starting at once must not replace each other's fresh socket: from the probe to listen() the
    // directory is locked.
    const Fd lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock) return fail_errno("open " + directory.string());
    while (::flock(lock.get(), LOCK_EX) != 0) {
        if (errno != EINTR) return fail_errno("lock " + directory.string());
    }
    TRY(clear_stale(path, address));
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno("socket");
    if (::bind(fd.get(), generic(address), sizeof(address)) != 0) return fail_errno("bind " + path);
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) return fail_errno("socket " + path);
    SocketFile file(path, info.st_dev, info.st_ino);
    if (::chmod(path.c_str(), mode) != 0) return fail_errno("chmod " + path);
    if (::listen(fd.get(), kBacklog) != 0) return fail_errno("listen " + path);
    return UnixListener{std::move(fd), std::move(file)};
}

Status give_to_group(const std::string& path, const char* group) {
    const ::group* known = ::getgrnam(group);
    if (known == nullptr) return {};
    if (::chown(path.c_str(), static_cast<uid_t>(-1), known->gr_gid) != 0)
        return fail_errno(std::string("group ") + group + " cannot use " + path);
    return {};
}

Result<Fd> open_tcp_listener(const IpAddress& address, std::uint16_t port) {
    const std::string what =
        (address.is_v6() ? "[" + address.to_string() + "]" : address.to_string()) + ":" + std::to_string(port);
    sockaddr_storage storage{};
    socklen_t length = 0;
    if (address.is_v4()) {
        auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, address.bytes().data(), 4);
        length = sizeof(v4);
    } else if (address.is_v6()) {
        auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&v6.sin6_addr, address.bytes().data(), 16);
        length = sizeof(v6);
    } else {
        return fail(Code::kInvalidArgument, "listening address is unset; an IPv4 or IPv6 address is needed");
    }
    Fd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno("socket");
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address.is_v6()) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) return fail_errno("bind " + what);
    if (::listen(fd.get(), kBacklog) != 0) return fail_errno("listen " + what);
    return fd;
}

std::uint16_t local_port(int fd) {
    sockaddr_storage storage{};
    socklen_t length = sizeof(storage);
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return 0;
    if (storage.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
    if (storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
    return 0;
}

}  // namespace axo
