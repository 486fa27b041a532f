// What the policy commands print, from the agent's JSON. Pure.
#pragma once

#include <string>

#include "app/cli/output/format.h"

namespace axo::cli {

// answer of GET /policy: the rules, and a line "Revision: N".
std::string policy_get_text(const Json& policy);
std::string policy_selectors_text(const Json& selectors);
// answer of GET /policy/objects.
std::string policy_list_text(const Json& objects);
// answer of GET /policy/rules.
std::string policy_rules_text(const Json& rules);
// The verdict first, then why; from and to as the user wrote them.
std::string policy_explain_text(const Json& explanation, const std::string& from, const std::string& to);
std::string policy_diff_text(const Json& difference);
// answer of GET /policy/image/{endpoint}; numeric: identities as numbers instead of labels.
std::string policy_image_text(const Json& image, bool numeric);

struct PolicyWait {
    std::size_t endpoints = 0;
    std::size_t ready = 0;  // enforce the revision, or a later one
    std::string failed;     // first endpoint whose policy could not be computed: "endpoint 7: …"
};
// endpoints: answer of GET /endpoint. Endpoints that are going away are not waited for.
PolicyWait policy_progress(const Json& endpoints, std::int64_t revision);

}  // namespace axo::cli
