#include "model/label_filter.h"

#include <optional>
#include <regex>

namespace axo {

struct LabelFilter::Rule {
    bool exclude = false;
    std::string source;  // "": any
    // Plain text is compared as a prefix: std::regex costs microseconds per match, and nearly all rules are plain.
    std::optional<std::string> prefix;
    std::regex expression;

    // Length of the matched part at the start of the key, if it matches there.
    [[nodiscard]] std::optional<std::size_t> match(const Label& label) const {
        if (!source.empty() && source != label.source) return std::nullopt;
        if (prefix) {
            if (!label.key.starts_with(*prefix)) return std::nullopt;
            return prefix->size();
        }
        std::smatch found;
        if (!std::regex_search(label.key, found, expression, std::regex_constants::match_continuous))
            return std::nullopt;
        return static_cast<std::size_t>(found.length(0));
    }
};

namespace {

constexpr std::string_view kDefaultRules[] = {
    "reserved:.*",
    R"(io\.kubernetes\.pod\.namespace)",
    R"(io\.cilium\.k8s\.namespace\.labels)",
    R"(app\.kubernetes\.io)",
    R"(io\.cilium\.k8s\.policy\.cluster)",
    R"(io\.cilium\.k8s\.policy\.serviceaccount)",
    R"(!io\.kubernetes)",
    R"(!kubernetes\.io)",
    R"(!statefulset\.kubernetes\.io/pod-name)",
    R"(!apps\.kubernetes\.io/pod-index)",
    R"(!batch\.kubernetes\.io/job-completion-index)",
    R"(!batch\.kubernetes\.io/controller-uid)",
    R"(!.*beta\.kubernetes\.io)",
    R"(!k8s\.io)",
    "!pod-template-generation",
    "!pod-template-hash",
    "!controller-revision-hash",
    "!controller-uid",
    "!annotation.*",
    "!etcd_node",
    R"(!topology\.kubernetes\.io)",
};

// The text a pattern stands for when it holds no operator of regular expressions but "\.".
std::optional<std::string> plain_text(std::string_view pattern) {
    std::string text;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] == '\\' && i + 1 < pattern.size() && pattern[i + 1] == '.') {
            text += '.';
            ++i;
        } else if (std::string_view(R"(.*+?[](){}^$|\)").find(pattern[i]) != std::string_view::npos) {
            return std::nullopt;
        } else {
            text += pattern[i];
        }
    }
    return text;
}

}  // namespace

Result<LabelFilter> LabelFilter::create(const std::vector<std::string>& user_rules) {
    LabelFilter filter;
    const auto add = [&filter](std::string_view text) -> Status {
        Rule rule;
        std::string_view pattern = text;
        if (const std::size_t colon = pattern.find(':'); colon != std::string_view::npos) {
            rule.source = pattern.substr(0, colon);
            pattern.remove_prefix(colon + 1);
            // "!source:pattern" is not Cilium's form but can mean only one thing.
            if (rule.source.starts_with('!')) {
                rule.exclude = true;
                rule.source.erase(0, 1);
            }
        }
        if (pattern.starts_with('!')) {
            rule.exclude = true;
            pattern.remove_prefix(1);
        }
        if (pattern.empty()) {
            return fail(Code::kInvalidArgument,
                        "labels: \"" + std::string(text) +
                            "\"; accepted: [source:][!]pattern with a pattern that is not empty");
        }
        rule.prefix = plain_text(pattern);
        if (!rule.prefix) {
            try {
                rule.expression = std::regex(std::string(pattern), std::regex::ECMAScript | std::regex::optimize);
            } catch (const std::regex_error& error) {
                return fail(Code::kInvalidArgument,
                            "labels: \"" + std::string(text) + "\": " + error.what() +
                                "; accepted: [source:][!]pattern with a regular expression for the start of the key");
            }
        }
        filter.rules_.push_back(std::make_shared<const Rule>(std::move(rule)));
        return {};
    };
    for (const std::string_view text : kDefaultRules) TRY(add(text));
    for (const std::string& text : user_rules) {
        if (text.empty()) continue;
        TRY(add(text));
        if (!filter.rules_.back()->exclude) filter.inclusive_ = true;
    }
    return filter;
}

bool LabelFilter::counts(const Label& label) const {
    std::size_t included = 0;
    std::size_t excluded = 0;
    for (const auto& rule : rules_) {
        const auto length = rule->match(label);
        if (!length) continue;
        if (!rule->exclude) {
            included = std::max(included, *length);
        } else if (excluded == 0 || *length < excluded) {
            excluded = *length;
        }
    }
    return (!inclusive_ && excluded == 0) || included > excluded;
}

LabelSet LabelFilter::filter(const LabelSet& labels) const {
    LabelSet identity;
    for (const Label& label : labels) {
        if (counts(label)) identity.insert(label);
    }
    return identity;
}

}  // namespace axo
