// `axoneme sandbox …`: clusters of network namespaces on this machine.
// Thread: main's, before any other thread exists (the commands fork).
#pragma once

namespace CLI {
class App;
}

namespace axo {

// Adds the command to `app`. When parsing has chosen one of its subcommands, that has run and its exit status stands in
// exit_status: 0, or 1 with the error on standard error. `sandbox exec` does not return when it succeeds.
void add_sandbox_commands(CLI::App& app, int& exit_status);

}  // namespace axo
