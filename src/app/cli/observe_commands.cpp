// observe and hubble in help and completion: main hands over to run_hubble before these are looked at.
#include "app/cli/commands.h"
#include "app/cli/observe/hubble.h"

namespace axo::cli {

void add_observe_commands(const Command& root) {
    root.command("observe", "Flows of this node or of the cluster (flags: axoneme observe --help)",
                 [] { return run_hubble("axoneme", "localhost:4245", {"observe", "--help"}); });
    root.command("hubble", "Hubble's command line: observe, status, list, watch, config",
                 [] { return run_hubble("axoneme hubble", "localhost:4245", {}); });
}

}  // namespace axo::cli
