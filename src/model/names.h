// Names of objects: the rules of RFC 1123 as Kubernetes applies them. The one place where they are.
// A valid name never contains '/', never is "." or ".." and so is safe as a file name. Thread: any.
#pragma once

#include <string_view>

#include "base/result.h"

namespace axo {

// At most 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit: namespaces.
bool is_dns_label(std::string_view name);
// Labels joined by '.', at most 253 in all: what most objects are called.
bool is_dns_subdomain(std::string_view name);

// `what` names the value in the error: "metadata.name".
Status validate_dns_label(std::string_view what, std::string_view name);
Status validate_dns_subdomain(std::string_view what, std::string_view name);

// What the two accept, for error messages composed elsewhere.
inline constexpr std::string_view kDnsLabelRule =
    "1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit";
inline constexpr std::string_view kDnsSubdomainRule =
    "1 to 253 of a-z, 0-9, '-' and '.', every part between dots beginning and ending with a letter or digit";

}  // namespace axo
