// How long something took. Thread: any.
#pragma once

#include <chrono>

namespace axo {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace axo
