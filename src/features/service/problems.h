// What is wrong with objects of services at this moment, gathered from several places that look at them, and told as
// one reason for each object. Thread: the loop's only.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>

#include "base/result.h"

namespace axo::service {

class Problems {
public:
    // Which place: the object itself, what it claims, the maps, the host.
    enum class Source : std::uint8_t { kObject, kClaim, kMaps, kHost };
    using Rejected = std::function<void(const std::string& where, const Error&)>;
    using Accepted = std::function<void(const std::string& where)>;

    Problems(Rejected rejected, Accepted accepted) : rejected_(std::move(rejected)), accepted_(std::move(accepted)) {}

    // "": nothing is wrong there any more.
    void set(const std::string& where, Source source, const std::string& text, Code code = Code::kInvalidArgument) {
        if (text.empty() && !texts_.contains(where)) return;
        Texts& texts = texts_[where];
        std::string& entry = texts.at(static_cast<std::size_t>(source));
        if (entry == text) return;
        entry = text;
        const std::string all = joined(texts);
        if (all.empty()) {
            texts_.erase(where);
            if (accepted_) accepted_(where);
        } else if (rejected_) {
            rejected_(where, Error{code, all, 0});
        }
    }
    [[nodiscard]] bool has(const std::string& where, Source source) const {
        const auto found = texts_.find(where);
        return found != texts_.end() && !found->second.at(static_cast<std::size_t>(source)).empty();
    }
    [[nodiscard]] std::map<std::string, std::string> all() const {
        std::map<std::string, std::string> result;
        for (const auto& [where, texts] : texts_) result.emplace(where, joined(texts));
        return result;
    }

private:
    using Texts = std::array<std::string, 4>;
    static std::string joined(const Texts& texts) {
        std::string all;
        for (const std::string& text : texts) {
            if (!text.empty()) all += (all.empty() ? "" : "; ") + text;
        }
        return all;
    }

    Rejected rejected_;
    Accepted accepted_;
    std::map<std::string, Texts> texts_;
};

}  // namespace axo::service
