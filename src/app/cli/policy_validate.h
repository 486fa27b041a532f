// Policies in files, checked without an agent by the code that the agent runs. Pure but for what the caller reads.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "app/cli/output/format.h"
#include "features/policy/translate.h"

namespace axo::cli {

struct PolicyVerdict {
    std::string file;
    int line = 0;        // of the document in it, from 1
    std::string what;    // "CiliumNetworkPolicy default/web"; "" when the document does not say what it is
    bool policy = true;  // other objects are read for what policies refer to
    std::string error;   // "": valid
    std::vector<std::string> warnings;
    std::size_t specs = 0, rules = 0;
};

// files: name and text. CIDR groups, Services and EndpointSlices of all files are there for the policies of all files.
std::vector<PolicyVerdict> validate_policies(const std::vector<std::pair<std::string, std::string>>& files,
                                             policy::TranslateContext context);
std::string policy_validate_text(const std::vector<PolicyVerdict>& verdicts);
Json policy_validate_json(const std::vector<PolicyVerdict>& verdicts);

}  // namespace axo::cli
