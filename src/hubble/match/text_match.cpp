#include "hubble/match/text_match.h"

#include <algorithm>

#include "base/glob.h"

namespace axo {
namespace {

std::string_view trim(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

std::string dns_name(std::string_view text) {
    if (text.ends_with('.')) text.remove_suffix(1);
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

bool key_char(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_' || c == '/' || c == ':';
}

}  // namespace

NamePrefix NamePrefix::parse(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return {"default", std::string(text)};
    return {std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

bool NamePrefix::matches(std::string_view of_ns, std::string_view of_name) const {
    // Both empty ("/"): anything that has a namespace.
    if (ns.empty() && name.empty()) return !of_ns.empty();
    if (!ns.empty() && ns != of_ns) return false;
    return of_name.starts_with(name) && (!name.empty() || !of_ns.empty());
}

bool matches_pattern(std::string_view pattern, std::string_view text, bool across_slashes) {
    return matches_glob(pattern, text, [across_slashes](char c) { return across_slashes || c != '/'; });
}

bool matches_node(std::string_view pattern, std::string_view cluster_and_node) {
    const std::size_t slash = cluster_and_node.find('/');
    // A node without a cluster is of the default one.
    const std::string_view cluster = slash == std::string_view::npos ? "default" : cluster_and_node.substr(0, slash);
    const std::string_view node =
        slash == std::string_view::npos ? cluster_and_node : cluster_and_node.substr(slash + 1);
    const std::size_t cut = pattern.find('/');
    if (cut == std::string_view::npos) return matches_pattern(pattern, node, true);
    const std::string_view of_cluster = pattern.substr(0, cut), of_node = pattern.substr(cut + 1);
    return (of_cluster.empty() || matches_pattern(of_cluster, cluster, true)) &&
           (of_node.empty() || matches_pattern(of_node, node, true));
}

bool matches_fqdn(std::string_view pattern, std::string_view name) {
    return matches_pattern(dns_name(pattern), dns_name(name), true);
}

Result<LabelText> LabelText::parse(std::string_view text) {
    LabelText out;
    const std::string_view whole = text;
    const auto bad = [&](std::string_view why) {
        return fail(Code::kInvalidArgument, "label selector '" + std::string(whole) + "': " + std::string(why));
    };
    const auto word = [&] {
        text = trim(text);
        std::size_t end = 0;
        while (end < text.size() && key_char(text[end])) ++end;
        const std::string_view taken = text.substr(0, end);
        text = trim(text.substr(end));
        return std::string(taken);
    };
    while (!(text = trim(text)).empty()) {
        Term term;
        if (text.starts_with('!')) {
            text.remove_prefix(1);
            term.negate = term.any_value = true;
        }
        term.key = word();
        if (term.key.empty()) return bad("a key is missing");
        if (!term.any_value) {
            if (text.starts_with("!=")) {
                text.remove_prefix(2);
                term.negate = true;
                term.values = {word()};
            } else if (text.starts_with('=')) {
                text.remove_prefix(text.starts_with("==") ? 2 : 1);
                term.values = {word()};
            } else if (text.starts_with("in ") || text.starts_with("in(") || text.starts_with("notin ") ||
                       text.starts_with("notin(")) {
                term.negate = text.starts_with('n');
                text = trim(text.substr(term.negate ? 5 : 2));
                if (!text.starts_with('(')) return bad("'in' and 'notin' want a list in brackets");
                do {
                    text.remove_prefix(1);
                    term.values.push_back(word());
                } while (text.starts_with(','));
                if (!text.starts_with(')')) return bad("the list is not closed");
                text = trim(text.substr(1));
            } else {
                term.any_value = true;
            }
        }
        out.terms_.push_back(std::move(term));
        if (text.empty()) break;
        if (!text.starts_with(',')) return bad("unexpected '" + std::string(text) + "'");
        text.remove_prefix(1);
        if (trim(text).empty()) return bad("it ends in a comma");
    }
    if (out.terms_.empty()) return bad("it is empty");
    return out;
}

bool LabelText::matches(const std::vector<std::string_view>& labels) const {
    return std::ranges::all_of(terms_, [&](const Term& term) {
        const bool with_source = term.key.find(':') != std::string::npos && !term.key.starts_with("any:");
        const std::string_view wanted =
            term.key.starts_with("any:") ? std::string_view(term.key).substr(4) : std::string_view(term.key);
        const bool found = std::ranges::any_of(labels, [&](std::string_view label) {
            const std::size_t equal = label.find('=');
            std::string_view key = label.substr(0, equal);
            const std::string_view value = equal == std::string_view::npos ? "" : label.substr(equal + 1);
            if (!with_source) {
                if (const std::size_t colon = key.find(':'); colon != std::string_view::npos)
                    key = key.substr(colon + 1);
            }
            return key == wanted && (term.any_value || std::ranges::find(term.values, value) != term.values.end());
        });
        return found != term.negate;
    });
}

}  // namespace axo
