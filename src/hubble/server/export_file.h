// A file of lines that is rotated: name.ext, and behind it name-2026-01-02T15-04-05.000.ext, newest first, the oldest
// of which goes. Thread: one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace axo::hubble {

struct ExportFileSettings {
    std::string path;  // "stdout": not a file
    std::uint64_t max_bytes = 10U << 20;
    std::size_t max_backups = 5;
    bool compress = false;  // those behind it, with gzip
    friend bool operator==(const ExportFileSettings&, const ExportFileSettings&) = default;
};

class ExportFile {
public:
    explicit ExportFile(ExportFileSettings settings) : settings_(std::move(settings)) {}
    // Whole lines. What cannot be written is not kept.
    Status write(const std::string& lines);
    // What the last rotation could not do besides beginning a new file; "": nothing.
    [[nodiscard]] const std::string& trouble() const { return trouble_; }

private:
    Status open();
    Status rotate();
    [[nodiscard]] Status prune() const;

    ExportFileSettings settings_;
    Fd fd_;
    std::uint64_t size_ = 0;
    std::string trouble_;
};

}  // namespace axo::hubble
