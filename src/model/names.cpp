#include "model/names.h"

#include <string>

#include "model/json.h"

namespace axo {
namespace {

bool alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// Parts of a subdomain may be longer than 63: Kubernetes limits only the whole.
bool is_part(std::string_view part) {
    if (part.empty() || !alphanumeric(part.front()) || !alphanumeric(part.back())) return false;
    for (const char c : part) {
        if (!alphanumeric(c) && c != '-') return false;
    }
    return true;
}

Status rejected(std::string_view what, std::string_view name, std::string_view rule) {
    const std::string shown = shortened_text(name, 80);
    return fail(Code::kInvalidArgument, std::string(what) + ": \"" + shown + "\"; accepted: " + std::string(rule));
}

}  // namespace

bool is_dns_label(std::string_view name) {
    return name.size() <= 63 && is_part(name);
}

bool is_dns_subdomain(std::string_view name) {
    if (name.size() > 253) return false;
    while (true) {
        const std::size_t dot = name.find('.');
        if (!is_part(name.substr(0, dot))) return false;
        if (dot == std::string_view::npos) return true;
        name.remove_prefix(dot + 1);
    }
}

Status validate_dns_label(std::string_view what, std::string_view name) {
    return is_dns_label(name) ? Status{} : rejected(what, name, kDnsLabelRule);
}
Status validate_dns_subdomain(std::string_view what, std::string_view name) {
    return is_dns_subdomain(name) ? Status{} : rejected(what, name, kDnsSubdomainRule);
}

}  // namespace axo
