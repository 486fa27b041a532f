#include "io/spill_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <filesystem>
#include <utility>

namespace axo {
namespace {

constexpr std::uint32_t kSmallest = 128;
constexpr std::size_t kGathered = 64 * 1024;  // before it is written

Fd open_temporary() {
    std::error_code error;
    const auto directory = std::filesystem::temp_directory_path(error);
    if (!error) {
        Fd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
        if (file) return file;
    }
    return Fd(::memfd_create("axoneme-objects", MFD_CLOEXEC));
}

// At most an eighth more than the size, so that few sizes exist.
std::uint32_t capacity_for(std::uint32_t size) {
    const std::uint32_t step = std::max(std::bit_floor(std::max(size, kSmallest)) / 8, kSmallest / 8);
    return (std::max(size, kSmallest) + step - 1) / step * step;
}

bool write_at(const Fd& file, std::uint64_t offset, std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::pwrite(file.get(), text.data(), text.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        offset += static_cast<std::uint64_t>(count);
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

}  // namespace

SpillFile::Place SpillFile::put(std::string_view text, Place old) {
    Place place{.offset = old.offset, .size = static_cast<std::uint32_t>(text.size())};
    const std::uint32_t capacity = capacity_for(place.size);
    if (old.size == 0 || place.size == 0 || capacity_for(old.size) != capacity) {
        release(old);
        if (place.size == 0) return {};
        std::vector<std::uint64_t>& reusable = free_[capacity];
        if (reusable.empty()) {
            place.offset = append(text, capacity);
            return place;
        }
        place.offset = reusable.back();
        reusable.pop_back();
    }
    if (!overwrite(place.offset, text)) place.offset = append(text, capacity);
    return place;
}

std::uint64_t SpillFile::append(std::string_view text, std::uint32_t capacity) {
    const std::uint64_t offset = written_ + tail_.size();
    tail_ += text;
    tail_.append(capacity - text.size(), '\0');
    if (tail_.size() < kGathered) return offset;
    if (!file_) file_ = open_temporary();
    if (write_at(file_, written_, tail_)) {
        written_ += tail_.size();
        tail_ = {};
    }
    return offset;
}

bool SpillFile::overwrite(std::uint64_t offset, std::string_view text) {
    if (offset < written_) return write_at(file_, offset, text);
    tail_.replace(offset - written_, text.size(), text);
    return true;
}

void SpillFile::release(Place place) {
    if (place.size != 0) free_[capacity_for(place.size)].push_back(place.offset);
}

Result<std::string> SpillFile::get(Place place) const {
    if (place.offset >= written_) return tail_.substr(place.offset - written_, place.size);
    std::string text(place.size, '\0');
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t count =
            ::pread(file_.get(), text.data() + done, text.size() - done, static_cast<off_t>(place.offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno("reading the file of texts");
        if (count == 0) return fail(Code::kDataLoss, "the file of texts is too short");
        done += static_cast<std::size_t>(count);
    }
    return text;
}

}  // namespace axo
