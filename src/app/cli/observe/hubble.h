// `axoneme observe`, `axoneme hubble …` and the program called as `hubble`: Hubble's command line. It parses its own
// arguments, as it has to keep the order of flags. Thread: main's.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace axo::cli {

// program: for usage texts ("hubble", "axoneme hubble"); server: where flows come from when nothing says otherwise.
Status run_hubble(const std::string& program, const std::string& server, const std::vector<std::string>& arguments);

}  // namespace axo::cli
