// The files of a manifest directory: reading them, and what several processes must agree on when writing.
//
// A write is prepared as a temporary file and published by a rename under a lock on the directory, so that a
// reader sees the old content or the new, and a writer can look once more before it replaces. Thread: any one.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace axo {

class StoreFiles {
public:
    explicit StoreFiles(std::filesystem::path root) : root_(std::move(root)) {}

    // Reads many files one after the other. Finding the directory is a good part of what opening one costs, so that of
    // the last file is kept open: not to be kept itself, for a directory may be moved away and another take its place.
    class Reader {
    public:
        explicit Reader(const StoreFiles& files) : root_(files.root_.native()) {}
        // kNotFound: not there. What is no regular file, or too large, is refused.
        Result<std::string> read(const std::string& path);

    private:
        const std::string& root_;
        std::string directory_;  // of directory_fd_, relative to the root
        Fd directory_fd_;
    };

    // Held while looking at a file and then publishing or removing it; not while preparing. Released with the Fd.
    // kUnavailable when another process keeps it for seconds.
    Result<Fd> lock();

    // Content on its way; removed again unless it has been published.
    class Prepared {
    public:
        explicit Prepared(std::string path) : path_(std::move(path)) {}
        Prepared(Prepared&& other) noexcept : path_(std::exchange(other.path_, {})) {}
        Prepared& operator=(Prepared&&) = delete;
        ~Prepared();

    private:
        friend class StoreFiles;
        std::string path_;
    };
    // durable: the content is on disk before this returns (8 ms and more), so that after a power loss the file is
    // the old one or the new one; otherwise it may then be empty too.
    Result<Prepared> prepare(std::string_view content, mode_t mode, bool durable);

    // Under the lock. `path` is relative to the root; its directories are made.
    Status publish_new(Prepared prepared, const std::string& path);  // kAlreadyExists
    Status replace(Prepared prepared, const std::string& path);
    Status remove(const std::string& path);

private:
    Result<std::filesystem::path> workplace();
    std::filesystem::path root_;
    bool swept_ = false;
};

}  // namespace axo
