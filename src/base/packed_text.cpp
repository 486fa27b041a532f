#include "base/packed_text.h"

#include <zlib.h>

namespace axo {

PackedText::PackedText(std::string_view text) : length_(text.size()) {
    std::string packed(::compressBound(text.size()), '\0');
    uLongf size = packed.size();
    const int done = ::compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                                 reinterpret_cast<const Bytef*>(text.data()), text.size(), Z_BEST_SPEED);
    // A copy, as the buffer is as large as the worst that could have come.
    packed_ = done == Z_OK && size < text.size() ? std::string(packed, 0, size) : std::string(text);
}

std::string PackedText::text() const {
    if (packed_.size() == length_) return packed_;
    std::string text(length_, '\0');
    uLongf size = length_;
    // Fails for want of memory only: nobody else has had the bytes in hand.
    const int done = ::uncompress(reinterpret_cast<Bytef*>(text.data()), &size,
                                  reinterpret_cast<const Bytef*>(packed_.data()), packed_.size());
    if (done != Z_OK) throw std::bad_alloc();
    return text;
}

}  // namespace axo
