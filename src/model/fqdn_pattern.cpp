#include "model/fqdn_pattern.h"

#include <algorithm>
#include <cctype>

#include "base/glob.h"

namespace axo {

namespace {

constexpr std::size_t kMaxLength = 255;

std::vector<std::string> labels_of(std::string_view text) {
    if (text.ends_with('.')) text.remove_suffix(1);
    std::vector<std::string> labels;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find('.', begin), text.size());
        std::string& label = labels.emplace_back(text.substr(begin, end - begin));
        std::ranges::transform(label, label.begin(),
                               [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        begin = end + 1;
    }
    return labels;
}

bool label_matches(std::string_view pattern, std::string_view label) {
    return matches_glob(pattern, label, [](char) { return true; });
}

}  // namespace

Result<FqdnPattern> FqdnPattern::parse(std::string_view text) {
    const bool fits = !text.empty() && text.size() <= kMaxLength && std::ranges::all_of(text, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '*';
    });
    if (!fits)
        return fail(Code::kInvalidArgument,
                    "\"" + std::string(text) + "\": accepted: letters, digits, '-', '_', '.' and '*', at most 255");
    FqdnPattern pattern;
    pattern.labels_ = labels_of(text);
    const std::string& first = pattern.labels_.front();
    pattern.every_ = pattern.labels_.size() == 1 && first == "*";
    if (pattern.labels_.size() > 1 && first.size() > 1 && first.find_first_not_of('*') == std::string::npos) {
        pattern.below_ = true;
        pattern.labels_.erase(pattern.labels_.begin());
    }
    return pattern;
}

bool FqdnPattern::matches(std::string_view name) const {
    if (every_) return true;
    const std::vector<std::string> labels = labels_of(name);
    if (below_ ? labels.size() <= labels_.size() : labels.size() != labels_.size()) return false;
    return std::equal(labels_.rbegin(), labels_.rend(), labels.rbegin(), label_matches);
}

}  // namespace axo
