// Whose datapath lives under a bpf root: a record that keeps a second cluster or node from taking it over.
#pragma once

#include <string>

#include "base/result.h"
#include "maps/paths.h"

namespace axo {

// Whether the root may be claimed: kFailedPrecondition as claim_bpf_root. Changes nothing.
Status check_bpf_root(const BpfPaths& paths, const std::string& owner);
// Claims the root for `owner` ("<cluster>/<node>") in the calling thread's network namespace. kFailedPrecondition while
// another owner's or another namespace's programs are attached; a record nobody stands behind any more is taken over.
Status claim_bpf_root(const BpfPaths& paths, const std::string& owner);

}  // namespace axo
